"""Detectors: letterboxed images in, detections out, whatever computes in between.

B images of height H and width W; D detections of one image.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8

from rayox_model.checkpoint.weights import NamelessClassesError, read_pth, transfer
from rayox_model.core.anchors import anchor_points, check_image_size, decode
from rayox_model.core.errors import ModelError
from rayox_model.core.samples import Detections
from rayox_model.detect.nms import non_max_suppression, score_boxes
from rayox_model.nets.yolox import VARIANTS, YOLOX

Precision = Literal["fp32", "bf16", "fp16"]
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@runtime_checkable
class Detector(Protocol):
    """A trained network ready to be used."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in order of the labels it gives."""
        ...

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images it takes."""
        ...

    def detect(
        self, images: UInt8[np.ndarray, "B H W 3"], score_threshold: float, nms_threshold: float
    ) -> list[Detections]:
        """Detections of each image, boxes in pixels of these images; no image gives an empty list.

        Images are BGR and already letterboxed to `image_size`; ModelError if they are of another size.
        """
        ...


class TorchDetector:
    """Runs a YOLOX module, which it puts in evaluation mode and moves to `device`."""

    def __init__(
        self,
        model: YOLOX,
        classes: Sequence[str],
        image_size: tuple[int, int],
        device: torch.device | None = None,
        precision: Precision = "fp32",
    ) -> None:
        check_image_size(*image_size)
        if len(classes) != model.num_classes:
            raise ModelError(f"the network has {model.num_classes} classes, but {len(classes)} names were given")
        self.classes = tuple(classes)
        self.image_size = image_size
        self._device = device or torch.device("cpu")
        self._autocast = _AUTOCAST.get(precision)
        self._model = model.to(self._device).to(memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def detect(
        self, images: UInt8[np.ndarray, "B H W 3"], score_threshold: float, nms_threshold: float
    ) -> list[Detections]:
        check_images(images, self.image_size)
        if len(images) == 0:
            return []
        pixels = torch.tensor(np.ascontiguousarray(images)).to(self._device)  # a copy: Ray's arrays are read-only
        with torch.autocast(self._device.type, self._autocast, enabled=self._autocast is not None):
            predictions = self._model(pixels.permute(0, 3, 1, 2).float())
        anchors = anchor_points(*self.image_size, self._device)
        objectness, class_logits = predictions.objectness.float(), predictions.class_logits.float()
        boxes = decode(predictions.regression, anchors)
        candidates = score_boxes(boxes, objectness.sigmoid(), class_logits.sigmoid())
        return non_max_suppression(candidates, score_threshold, nms_threshold)


def check_images(images: UInt8[np.ndarray, "B H W 3"], image_size: tuple[int, int]) -> None:
    """Raise ModelError unless the images are of the detector's size."""
    height, width = images.shape[1:3]
    if (height, width) != image_size:
        raise ModelError(
            f"the detector takes images of {image_size[0]}×{image_size[1]} pixels, not {height}×{width}",
            "letterbox them to its image_size",
        )


def load_pth_detector(
    path: Path,
    image_size: tuple[int, int] | None = None,
    classes: tuple[str, ...] | None = None,
    device: torch.device | None = None,
    precision: Precision = "fp32",
    tell: Callable[[str], None] | None = None,
) -> TorchDetector:
    """A detector from an official checkpoint; without `image_size`, at the size its variant is published with.

    `tell` hears which of a file's weights were taken, where there was a choice. `classes` names its outputs; files of
    80 are COCO's without. Raises ModelError as `read_pth` does, and when the names are neither known nor given
    (NamelessClassesError).
    """
    weights = read_pth(path, classes)
    if weights.classes is None:
        raise NamelessClassesError(
            f"{path}: does not say what its {weights.num_classes} classes are called",
            "name them, in order of its outputs",
        )
    if tell is not None and weights.taken:
        tell(f"{path}: {weights.taken}")
    model = YOLOX(weights.size, weights.num_classes)
    transfer(weights, model, weights.classes)
    return TorchDetector(model, weights.classes, image_size or VARIANTS[weights.size].image_size, device, precision)
