"""Decoding a JPEG at a half, quarter or eighth of its size, which costs less than the whole of it."""

import io

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

_ORIENTATION_TAG = 0x0112
_FLAGS = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def decode_reduced(content: bytes, size: tuple[int, int], factor: int) -> UInt8[np.ndarray, "h w 3"] | None:
    """A JPEG that is shown at `size` (height, width), at 1/factor (2, 4 or 8) of it, sides rounded up.

    None for what has to be decoded whole: what is not a JPEG, is broken, has another size; and a photo to turn whose
    sides are not multiples of the factor, as its incomplete pixels would come to lie at its left or top.
    """
    orientation = _orientation(content, size)
    if orientation is None or (orientation != 1 and (size[0] % factor or size[1] % factor)):
        return None
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), _FLAGS[factor])
    except cv2.error:
        return None
    if image is None or image.shape[:2] != (-(-size[0] // factor), -(-size[1] // factor)):
        return None
    return np.asarray(image, np.uint8)


def _orientation(content: bytes, size: tuple[int, int]) -> int | None:
    """The EXIF orientation of a whole JPEG that is shown at this size; None of anything else."""
    if not (content.startswith(b"\xff\xd8") and content.endswith(b"\xff\xd9")):
        return None
    try:
        with Image.open(io.BytesIO(content)) as header:
            orientation = header.getexif().get(_ORIENTATION_TAG, 1)
            shown = header.size if orientation in (5, 6, 7, 8) else header.size[::-1]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    return orientation if shown == size and orientation in range(1, 9) else None
