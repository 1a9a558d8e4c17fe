"""Images as MLflow's server passes them on: bytes, or base64 in every form of its JSON.

This file travels with the packaged model: it needs neither rayox nor torch.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pandas as pd

BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\r\n")


class NotAnImageError(ValueError):
    """What was sent is not an image."""


def images_in(table: Any) -> list[Any]:
    """The column `image`, or a lone column or list of another name or none; lists in its cells one after the other."""
    if isinstance(table, pd.DataFrame):
        table = table["image"] if "image" in table.columns else table.iloc[:, 0]
    elif isinstance(table, dict):
        table = table.get("image", next(iter(table.values()), []))
    return list(flat(table))


def flat(cells: Any) -> Iterator[Any]:
    if isinstance(cells, pd.Series | np.ndarray):
        cells = cells.tolist()
    if isinstance(cells, list | tuple):
        for cell in cells:
            yield from flat(cell)
    else:
        yield cells


def decoded(given: Any) -> np.ndarray:
    """The pixels (BGR) of an encoded image. Raises NotAnImageError, saying what it is instead."""
    content = as_bytes(given)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:
        raise NotAnImageError(f"cannot be decoded ({str(error.err).strip()})") from None
    if image is None:
        begins = (given if isinstance(given, bytes) else content)[:12]
        raise NotAnImageError(f"not an image (it begins with {begins!r})" if content else "empty")
    return np.asarray(image)


def as_bytes(given: Any) -> bytes:
    """Bytes as they are; of text the base64 in it, also URL-safe, wrapped, unpadded, or behind data:…;base64,."""
    if isinstance(given, dict) and "b64" in given:
        given = given["b64"]
    if isinstance(given, np.generic):
        given = given.item()
    if isinstance(given, bytearray | memoryview):
        given = bytes(given)
    if isinstance(given, bytes) and not is_base64(given):
        return given
    if not isinstance(given, str | bytes):
        missing = given is None or given != given  # pandas writes NaN for None
        raise NotAnImageError("missing" if missing else f"not an encoded image but {str(given)[:40]}")
    text = given.decode("ascii") if isinstance(given, bytes) else given
    if text.startswith("data:"):
        text = text.partition(",")[2]
    text = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise NotAnImageError(f"neither bytes nor base64 (it begins with {text[:12]!r})") from None


def is_base64(content: bytes) -> bool:
    """Base64 that somebody passed on as bytes: no encoded image is printable text alone."""
    return len(content) > 0 and all(character in BASE64 for character in content)
