"""Random shifts of hue, saturation and brightness.

H and W are the image's height and width.
"""

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from rayox_model.augment.augment_settings import Augment


def draw_hsv_shift(rng: np.random.Generator, settings: Augment) -> Int[np.ndarray, "3"]:
    """Draw whole-number shifts of (hue, saturation, value), each 0 with probability 0.5; all 0 with 1 − hsv_prob."""
    largest = np.array([settings.hue, settings.saturation, settings.value])
    shift = (rng.uniform(-1, 1, 3) * largest).astype(np.int64)
    shift *= rng.integers(2, size=3)
    return shift if rng.random() < settings.hsv_prob else np.zeros_like(shift)


def shift_hsv(image: UInt8[np.ndarray, "H W 3"], shift: Int[np.ndarray, "3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Add to hue (around its circle of 180), saturation and value (cut to 0..255); gives a new image.

    A shift of all zeros leaves the pixels as they are; the official code rounds them to HSV and back.
    """
    if not shift.any():
        return image.copy()
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hue, saturation, value = shift.tolist()
    if hue:
        around = ((np.arange(256) + hue) % 180).astype(np.uint8)
        cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, 0), around), hsv, 0)
    # Both cut to 0..255, at a tenth of a table's time; of negative numbers OpenCV adds slowly.
    if saturation > 0 or value > 0:
        cv2.add(hsv, (0, max(saturation, 0), max(value, 0), 0), dst=hsv)
    if saturation < 0 or value < 0:
        cv2.subtract(hsv, (0, max(-saturation, 0), max(-value, 0), 0), dst=hsv)
    shifted: UInt8[np.ndarray, "H W 3"] = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return shifted
