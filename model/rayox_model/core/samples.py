"""Single images with their boxes, in numpy alone: what runs on CPU workers need not import torch.

G boxes and D detections of one image, H and W the height and width in pixels. Images are BGR; boxes are xyxy float32.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64, UInt8


class Detections(NamedTuple):
    """What was found in one image, highest score first; boxes in the frame its maker states."""

    boxes: Float32[np.ndarray, "D 4"]
    scores: Float32[np.ndarray, "D"]
    labels: Int64[np.ndarray, "D"]


class Sample(NamedTuple):
    """One image with its boxes, as augmentation takes and gives it."""

    image: UInt8[np.ndarray, "H W 3"]
    boxes: Float32[np.ndarray, "G 4"]
    labels: Int64[np.ndarray, "G"]


@runtime_checkable
class LabelledImages(Protocol):
    """Random access to a data set's images and their boxes (crowds left out), for augmentation and training."""

    def __len__(self) -> int: ...

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of an image, known without decoding it."""
        ...

    def load(self, index: int) -> Sample:
        """Decode an image; boxes are in its own pixels."""
        ...

    def annotations(self, index: int) -> tuple[Float32[np.ndarray, "G 4"], Int64[np.ndarray, "G"]]:
        """Boxes and labels of an image without decoding it."""
        ...


@runtime_checkable
class ReadTogether(Protocol):
    """What a data set has besides LabelledImages when reading many images at once takes less time than one by one."""

    def holding(self, indices: Iterable[int]) -> LabelledImages:
        """The same with the encoded bytes of some images read now. Raises DataError if one cannot be read."""
        ...
