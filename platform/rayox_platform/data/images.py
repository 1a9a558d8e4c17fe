"""Images from files: any usual kind comes out as BGR uint8, whatever is not an image as a DataError.

Orientation: a photo is taken as viewers show it (its EXIF orientation applied) if that has the annotated height and
width, else as its pixels are stored if those have; where both do (squares, half turns) viewers and the official
YOLOX loader agree on the first.
"""

import io
import warnings
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from rayox_model.core.quarantine import BrokenImage
from rayox_model.core.samples import Sample
from rayox_platform.data.coco import CocoDataset
from rayox_platform.data.reduced import decode_reduced
from rayox_platform.data.source import HeldSource, ImageSource, folder_source, unreadable

Image.init()  # Pillow's formats, now: the first threads that decode would import them side by side

_READ_AT_ONCE = 64
_ORIENTATION_TAG = 0x0112
_PILLOW_REFUSES = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


class CocoImages:
    """A COCO data set's images, wherever they lie: the LabelledImages that training and evaluation read."""

    def __init__(self, dataset: CocoDataset, source: ImageSource) -> None:
        """Sizes the COCO file leaves out are read from the images' headers here. Raises DataError if one cannot be."""
        self.source = source
        self.dataset = _with_header_sizes(dataset, source)

    def __len__(self) -> int:
        return len(self.dataset)

    def size(self, index: int) -> tuple[int, int]:
        return int(self.dataset.heights[index]), int(self.dataset.widths[index])

    def annotations(self, index: int) -> tuple[Float32[np.ndarray, "G 4"], Int64[np.ndarray, "G"]]:
        return self.dataset.training_annotations(index)

    def where(self, index: int) -> str:
        """An image's path or address."""
        return self.source.where(index)

    def pixels(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """Decode an image. Raises DataError if unreadable, BrokenImage if it is not an image or has another size."""
        where, size = self.where(index), self.size(index)
        content = self.source.read(index)
        shown = decode_image(content, where)
        if shown.shape[:2] == size:
            return shown
        stored = decode_image(content, where, oriented=False)
        if stored.shape[:2] == size:
            return stored
        raise BrokenImage(
            f"{where}: the image is {shown.shape[1]} × {shown.shape[0]} (width × height), "
            f"but {self.dataset.source} says {size[1]} × {size[0]} for image {self.dataset.image_ids[index]}",
            "The boxes were drawn on another version of the image: find that, or correct the annotations.",
        )

    def holding(self, indices: Iterable[int]) -> "CocoImages":
        """The same with the encoded bytes of some images read now, together: for a task that knows what it needs."""
        return CocoImages(self.dataset, HeldSource.of(self.source, indices))

    def load(self, index: int) -> Sample:
        return Sample(self.pixels(index), *self.annotations(index))

    def load_reduced(self, index: int, factor: int) -> UInt8[np.ndarray, "_ _ 3"]:
        """An image at 1/factor (2, 4 or 8) of its size, sides rounded up, or whole if it can only be decoded so."""
        reduced = decode_reduced(self.source.read(index), self.size(index), factor)
        return self.pixels(index) if reduced is None else reduced


def folder_images(dataset: CocoDataset, folder: Path | str) -> CocoImages:
    """A data set's images in a folder or bucket. Raises DataError if there is none or a file name leads out of it."""
    return CocoImages(dataset, folder_source(dataset.file_names, folder, dataset.source))


def read_image(path: Path | str) -> UInt8[np.ndarray, "H W 3"]:
    """An image file as viewers show it. Raises DataError if it is missing or not an image."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise unreadable(str(path), error) from None
    return decode_image(content, str(path))


def decode_image(content: bytes, where: str, oriented: bool = True) -> UInt8[np.ndarray, "H W 3"]:
    """Decode to BGR uint8: alpha is dropped, 16 bits become 8, grey three equal channels; of several frames the first.

    `oriented` applies the EXIF orientation. Raises BrokenImage naming `where`, also for a JPEG that is cut short,
    which OpenCV alone would fill up with grey, and before it is decoded for an image of
    more than 178,956,970 pixels, Pillow's limit (half a gigabyte).
    """
    _refuse_huge(content, where)
    flags = cv2.IMREAD_COLOR if oriented else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    except cv2.error as error:
        raise BrokenImage(f"{where}: cannot be decoded ({str(error.err).strip()})", _REPLACE) from None
    if image is None:
        return _decode_with_pillow(content, where, oriented)
    if _may_be_cut_short(content):
        _decode_with_pillow(content, where, oriented)
    return np.asarray(image, np.uint8)


_REPLACE = "Copy or export the file again, or take the image out of the annotations."


def _refuse_huge(content: bytes, where: str) -> None:
    """By the header alone; what Pillow cannot make out is left to the decoders, which refuse 2³⁰ pixels themselves."""
    try:
        _open(content).close()
    except Image.DecompressionBombError as error:
        raise BrokenImage(f"{where}: too many pixels ({error})", _REPLACE) from None
    except (*_PILLOW_REFUSES, MemoryError):
        return


def _open(content: bytes) -> Image.Image:
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of half the limit, of odd tags that do not matter
    return Image.open(io.BytesIO(content))


def _may_be_cut_short(content: bytes) -> bool:
    """A JPEG without an end marker after its last scan; trailing data of other kinds may look so too."""
    if content[:2] != b"\xff\xd8" or content.endswith(b"\xff\xd9"):  # the common case, without a search
        return False
    return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")


def _decode_with_pillow(content: bytes, where: str, oriented: bool) -> UInt8[np.ndarray, "H W 3"]:
    try:
        with _open(content) as image:
            turned = ImageOps.exif_transpose(image) if oriented else image
            rgb = np.asarray(turned.convert("RGB"))
    except _PILLOW_REFUSES as error:
        raise BrokenImage(f"{where}: {_why_not(content, error)}", _REPLACE) from None
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _why_not(content: bytes, error: BaseException) -> str:
    if not content:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return f"not an image (it begins with {content[:12]!r})"
    return f"a broken image ({error})"


def _with_header_sizes(dataset: CocoDataset, source: ImageSource) -> CocoDataset:
    unknown = np.flatnonzero(dataset.heights == 0).tolist()
    if not unknown:
        return dataset
    heights, widths = dataset.heights.copy(), dataset.widths.copy()
    for start in range(0, len(unknown), _READ_AT_ONCE):
        indices = unknown[start : start + _READ_AT_ONCE]
        for index, content in zip(indices, source.read_many(indices), strict=True):
            heights[index], widths[index] = _header_size(content, source.where(index))
    return dataset.with_sizes(heights, widths)


def _header_size(content: bytes, where: str) -> tuple[int, int]:
    """(height, width) as viewers show the image, without decoding it."""
    try:
        with _open(content) as image:
            width, height = image.size
            sideways = image.getexif().get(_ORIENTATION_TAG) in (5, 6, 7, 8)
    except _PILLOW_REFUSES as error:
        raise BrokenImage(f"{where}: {_why_not(content, error)}", _REPLACE) from None
    return (width, height) if sideways else (height, width)
