"""File names as two arrays: a data set goes to every worker, and 118,000 strings would be made anew in each."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
from jaxtyping import Int64, UInt8


class FileNames(Sequence[str]):
    """A read-only sequence of strings that pickles as arrays, which Ray ships without a copy.

    Name i is the UTF-8 text from offsets[i] to offsets[i + 1]; lone surrogates, which JSON can hold, are kept.
    """

    def __init__(self, text: UInt8[np.ndarray, "T"], offsets: Int64[np.ndarray, "M+1"]) -> None:
        self.text, self.offsets = text, offsets

    @staticmethod
    def of(names: Iterable[str]) -> "FileNames":
        encoded = [name.encode("utf-8", "surrogatepass") for name in names]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return FileNames(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[one] for one in range(*index.indices(len(self))))
        place = range(len(self))[index]  # counts from the end if negative, raises IndexError
        return self.text[self.offsets[place] : self.offsets[place + 1]].tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        text, ends = self.text.tobytes(), self.offsets.tolist()
        for start, end in pairwise(ends):
            yield text[start:end].decode("utf-8", "surrogatepass")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and not isinstance(other, str) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))
