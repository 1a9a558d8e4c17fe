"""Pictures of what a model finds, for a run's folder and its record."""

from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from rayox_model.detect.detector import TorchDetector
from rayox_model.nets.yolox import YOLOX
from rayox_platform.data.draw import contact_sheet, draw_detections
from rayox_platform.data.images import CocoImages
from rayox_platform.evaluate.evaluation import EvaluationSettings, detect_images

NUM_IMAGES = 24
SCORE_THRESHOLD = 0.3


def draw_examples(network: YOLOX, images: CocoImages, image_size: tuple[int, int], folder: Path) -> None:
    """Draw what a network finds in images spread over a data set: a file for each, and sheet.jpg of all."""
    folder.mkdir(exist_ok=True)
    classes = images.dataset.classes
    indices = np.unique(np.linspace(0, len(images) - 1, NUM_IMAGES).astype(int)).tolist()
    detector = TorchDetector(network, classes, image_size)
    found = detect_images(detector, images, indices, EvaluationSettings(score_threshold=SCORE_THRESHOLD))
    drawn = [draw_detections(images.pixels(index), found[index], classes) for index in indices]
    for index, image in zip(indices, drawn, strict=True):
        cv2.imwrite(str(folder / f"{PurePosixPath(images.dataset.file_names[index]).stem}.jpg"), image)
    cv2.imwrite(str(folder / "sheet.jpg"), contact_sheet(drawn))
