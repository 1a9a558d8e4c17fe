"""Images from files: any usual kind comes out as BGR uint8, whatever is not an image as a DataError.

Orientation: a photo is taken as viewers show it (its EXIF orientation applied) if that has the annotated height and
width, else as its pixels are stored if those have; where both do (squares, half turns) viewers and the official
YOLOX loader agree on the first.
"""

import io
from pathlib import Path, PurePath

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from rayox_model.errors import DataError
from rayox_model.samples import Sample

from .coco import CocoDataset
from .reduced import decode_reduced

_ORIENTATION_TAG = 0x0112
_PILLOW_REFUSES = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


class FolderImages:
    """A COCO data set's images in a folder: the LabelledImages that training and evaluation read."""

    def __init__(self, dataset: CocoDataset, folder: Path | str) -> None:
        """Sizes the COCO file leaves out are read from the images' headers here.

        Raises DataError if there is no such folder or a file name leads out of it.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder of images", "Give the folder the file names start from.")
        for name in dataset.file_names:
            _refuse_outside(name, dataset.source)
        self.dataset = _with_header_sizes(dataset, self.folder)

    def __len__(self) -> int:
        return len(self.dataset)

    def size(self, index: int) -> tuple[int, int]:
        return int(self.dataset.heights[index]), int(self.dataset.widths[index])

    def annotations(self, index: int) -> tuple[Float32[np.ndarray, "G 4"], Int64[np.ndarray, "G"]]:
        return self.dataset.training_annotations(index)

    def path(self, index: int) -> Path:
        return self.folder / self.dataset.file_names[index]

    def pixels(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """Decode an image. Raises DataError if it is missing, no image, or not of the annotated size."""
        path, size = self.path(index), self.size(index)
        content = _read_bytes(path)
        shown = decode_image(content, str(path))
        if shown.shape[:2] == size:
            return shown
        stored = decode_image(content, str(path), oriented=False)
        if stored.shape[:2] == size:
            return stored
        raise DataError(
            f"{path}: the image is {shown.shape[1]} × {shown.shape[0]} (width × height), "
            f"but {self.dataset.source} says {size[1]} × {size[0]} for image {self.dataset.image_ids[index]}",
            "The boxes were drawn on another version of the image: find that, or correct the annotations.",
        )

    def load(self, index: int) -> Sample:
        return Sample(self.pixels(index), *self.annotations(index))

    def load_reduced(self, index: int, factor: int) -> UInt8[np.ndarray, "_ _ 3"]:
        """An image at 1/factor (2, 4 or 8) of its size, sides rounded up, or whole if it can only be decoded so."""
        reduced = decode_reduced(_read_bytes(self.path(index)), self.size(index), factor)
        return self.pixels(index) if reduced is None else reduced


def read_image(path: Path | str) -> UInt8[np.ndarray, "H W 3"]:
    """An image file as viewers show it. Raises DataError if it is missing or no image."""
    return decode_image(_read_bytes(Path(path)), str(path))


def decode_image(content: bytes, where: str, oriented: bool = True) -> UInt8[np.ndarray, "H W 3"]:
    """Decode to BGR uint8: alpha is dropped, 16 bits become 8, grey three equal channels; of several frames the first.

    `oriented` applies the EXIF orientation. Raises DataError naming `where`, also for a JPEG that is cut short,
    which OpenCV alone would fill up with grey.
    """
    flags = cv2.IMREAD_COLOR if oriented else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    except cv2.error as error:
        raise DataError(f"{where}: cannot be decoded ({str(error.err).strip()})", _REPLACE) from None
    if image is None:
        return _decode_with_pillow(content, where, oriented)
    if _may_be_cut_short(content):
        _decode_with_pillow(content, where, oriented)
    return np.asarray(image, np.uint8)


_REPLACE = "Copy or export the file again, or take the image out of the annotations."


def _may_be_cut_short(content: bytes) -> bool:
    """A JPEG without an end marker after its last scan; trailing data of other kinds may look so too."""
    if content[:2] != b"\xff\xd8" or content.endswith(b"\xff\xd9"):  # the common case, without a search
        return False
    return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")


def _decode_with_pillow(content: bytes, where: str, oriented: bool) -> UInt8[np.ndarray, "H W 3"]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            turned = ImageOps.exif_transpose(image) if oriented else image
            rgb = np.asarray(turned.convert("RGB"))
    except _PILLOW_REFUSES as error:
        raise DataError(f"{where}: {_why_not(content, error)}", _REPLACE) from None
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _why_not(content: bytes, error: BaseException) -> str:
    if not content:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return f"not an image (it begins with {content[:12]!r})"
    return f"a broken image ({error})"


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such image", "Check the folder of images and the file names.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})", "Check the file and its permissions.") from None


def _refuse_outside(name: str, source: str) -> None:
    if PurePath(name).is_absolute() or ".." in PurePath(name).parts or "\0" in name:
        raise DataError(
            f"{source}: file_name {name!r} leads out of the folder of images",
            "Write file names relative to that folder.",
        )


def _with_header_sizes(dataset: CocoDataset, folder: Path) -> CocoDataset:
    unknown = np.flatnonzero(dataset.heights == 0)
    if not len(unknown):
        return dataset
    heights, widths = dataset.heights.copy(), dataset.widths.copy()
    for index in unknown:
        heights[index], widths[index] = _header_size(folder / dataset.file_names[index])
    return dataset.with_sizes(heights, widths)


def _header_size(path: Path) -> tuple[int, int]:
    """(height, width) as viewers show the image, without decoding it."""
    content = _read_bytes(path)
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            sideways = image.getexif().get(_ORIENTATION_TAG) in (5, 6, 7, 8)
    except _PILLOW_REFUSES as error:
        raise DataError(f"{path}: {_why_not(content, error)}", _REPLACE) from None
    return (width, height) if sideways else (height, width)
