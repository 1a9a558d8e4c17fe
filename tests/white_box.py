"""Images with a white box, and a detector that finds it: the right answer of a prediction is known."""

import json
from pathlib import Path

import cv2
import numpy as np

from rayox_model.core.samples import Detections

WHITE_BOX = (20, 12, 40, 28)  # x, y, width, height in every image painted here


class WhiteBoxDetector:
    """Finds the white rectangle of an image."""

    classes = ("cell", "square")
    image_size = (64, 96)

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.thresholds: list[tuple[float, float]] = []

    def detect(self, images: np.ndarray, score_threshold: float, nms_threshold: float) -> list[Detections]:
        self.batches.append(len(images))
        self.thresholds.append((score_threshold, nms_threshold))
        return [self._white(image) for image in images]

    def _white(self, image: np.ndarray) -> Detections:
        x, y, width, height = cv2.boundingRect((image[:, :, 0] > 200).astype(np.uint8))
        found = int(width > 0)
        box = np.array([[x, y, x + width, y + height]], np.float32)[:found]
        return Detections(box, np.full(found, 0.9, np.float32), np.ones(found, np.int64))


def paint(path: Path, height: int = 64, width: int = 96) -> Path:
    """An image with the white box; of half or twice the detector's size it is found exactly."""
    image = np.zeros((height, width, 3), np.uint8)
    x, y, box_width, box_height = WHITE_BOX
    image[y : y + box_height, x : x + box_width] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    return path


def results(folder: Path) -> list[dict]:
    return json.loads((folder / "results.json").read_text())
