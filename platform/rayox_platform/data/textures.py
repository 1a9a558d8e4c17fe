"""Two-coloured textures for the embedded data set's backgrounds and fills."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]  # [H, W], 0 to 1: how much of the second colour
Colour = NDArray[np.float32]  # [3], 0 to 255


def _along(rng: np.random.Generator, height: int, width: int) -> Field:
    """Pixels' distance along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    ys = np.arange(height, dtype=np.float32)[:, None]
    xs = np.arange(width, dtype=np.float32)[None, :]
    distance: Field = np.float32(np.cos(angle)) * xs + np.float32(np.sin(angle)) * ys
    return distance


def _gradient(rng: np.random.Generator, height: int, width: int) -> Field:
    distance = _along(rng, height, width)
    return np.asarray((distance - distance.min()) / max(float(np.ptp(distance)), 1.0), np.float32)


def _stripes(rng: np.random.Generator, height: int, width: int) -> Field:
    period = np.float32(np.exp(rng.uniform(np.log(4), np.log(40))))
    wave = np.sin(_along(rng, height, width) * (np.float32(2 * np.pi) / period))
    return np.asarray(np.clip(np.float32(0.5) + wave * np.float32(rng.uniform(0.5, 2.0)), 0, 1), np.float32)


def _checks(rng: np.random.Generator, height: int, width: int) -> Field:
    period = rng.integers(4, 24)
    rows, columns = np.arange(height) // period, np.arange(width) // period
    return ((rows[:, None] + columns[None, :]) % 2).astype(np.float32)


def _noise(rng: np.random.Generator, height: int, width: int) -> Field:
    return rng.random((height, width), dtype=np.float32)


def _blobs(rng: np.random.Generator, height: int, width: int) -> Field:
    cell = rng.integers(6, 40)
    coarse = rng.random((height // cell + 3, width // cell + 3), dtype=np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    hardness = np.float32(rng.uniform(1.0, 6.0))
    return np.asarray(np.clip((smooth - np.float32(0.5)) * hardness + np.float32(0.5), 0, 1), np.float32)


_KINDS: tuple[Callable[[np.random.Generator, int, int], Field], ...] = (_gradient, _stripes, _checks, _noise, _blobs)


HUES = 180  # OpenCV's steps of the colour circle


def dull_colour(rng: np.random.Generator) -> Colour:
    """A colour of any brightness and hue with little saturation, for backgrounds and clutter."""
    return _bgr(rng.uniform(0, HUES), rng.uniform(0, 90), rng.uniform(20, 235))


def bright_colour(rng: np.random.Generator, hue: float, spread: float) -> Colour:
    """A saturated colour, its hue normally distributed around the given one, for objects."""
    return _bgr((hue + rng.normal(0, spread)) % HUES, rng.uniform(100, 255), rng.uniform(90, 255))


def _bgr(hue: float, saturation: float, value: float) -> Colour:
    pixel = np.array([[[hue, saturation, value]]]).astype(np.uint8)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0], np.float32)


def texture(rng: np.random.Generator, height: int, width: int, colour: Colour, spread: float) -> NDArray[np.uint8]:
    """A uint8 [H, W, 3] patch of a random kind between `colour` ± `spread` a channel on either side."""
    offset = rng.uniform(-spread, spread, 3).astype(np.float32)
    field = _KINDS[rng.integers(len(_KINDS))](rng, height, width)
    mixed = (colour - offset) + field[:, :, None] * (2 * offset)
    return np.clip(mixed, 0, 255).astype(np.uint8)
