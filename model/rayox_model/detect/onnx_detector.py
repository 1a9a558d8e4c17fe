"""A detector over an ONNX file of the layout the official export and `onnx_export` write.

Input [B or 1, 3, H, W] float BGR 0–255; output [B or 1, K, 5 + C]: regression, objectness and classes as
probabilities. The regression is the head's own or, of exports that decode inside (`--decode_in_inference`), boxes in
pixels: which of them, a run on a grey image tells. K anchor points, C classes.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from rayox_model.checkpoint.weights import NamelessClassesError
from rayox_model.core.anchors import anchor_points, check_image_size
from rayox_model.core.coco_classes import COCO_CLASSES
from rayox_model.core.errors import ModelError
from rayox_model.core.samples import Detections
from rayox_model.detect.box_layout import BoxLayout, box_layout
from rayox_model.detect.detector import check_images
from rayox_model.detect.onnx_boxes import detect_in_output
from rayox_model.detect.runtime import silent_onnxruntime

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_EXPORT = "export it undecoded, as `rayox export` and the official export do"
_GREY = 114  # of what a letterboxed image does not cover
_CPU = torch.device("cpu")
_LOAD_ERRORS = (
    *("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf"),
    *("NoModel", "NoSuchFile", "NotImplemented", "RuntimeException"),
)


class OnnxDetector:
    """Runs a session on the CPU; where the file fixes the batch at 1, images go through one by one."""

    def __init__(self, session: "InferenceSession", classes: tuple[str, ...], image_size: tuple[int, int]) -> None:
        self.classes = classes
        self.image_size = image_size
        self._session = session
        self._input = session.get_inputs()[0]
        self._batched = not isinstance(self._input.shape[0], int)
        self.layout: BoxLayout = "raw"

    def detect(
        self, images: UInt8[np.ndarray, "B H W 3"], score_threshold: float, nms_threshold: float
    ) -> list[Detections]:
        check_images(images, self.image_size)
        if len(images) == 0:
            return []
        return [
            Detections(*detect_in_output(output, self.image_size, self.layout, score_threshold, nms_threshold))
            for output in self.run(images)
        ]

    def probe(self, path: Path) -> None:
        """Find out how boxes are given. Raises ModelError where they are given in no known way."""
        grey = np.full((1, *self.image_size, 3), _GREY, np.uint8)
        output = torch.from_numpy(self.run(grey))[0]  # [K, 5 + C]
        layout = box_layout(output[:, :4], anchor_points(*self.image_size, _CPU))
        if not output.isfinite().all():
            raise ModelError(f"{path}: its output for a grey image is not finite", "export the model again")
        if layout is None:
            raise ModelError(
                f"{path}: its boxes are neither YOLOX's regression nor pixels of the image (on a grey image the first "
                f"is {[round(float(value), 3) for value in output[0, :4]]})",
                _EXPORT,
            )
        self.layout = layout

    def run(self, images: UInt8[np.ndarray, "B H W 3"]) -> Float32[np.ndarray, "B K D"]:
        """The file's own output, D = 5 + C, for one image or more."""
        pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)
        parts = [pixels] if self._batched else np.split(pixels, len(pixels))
        outputs = [self._session.run(None, {self._input.name: part})[0] for part in parts]
        return np.concatenate(outputs)


def load_onnx_detector(
    path: Path,
    image_size: tuple[int, int] | None = None,
    classes: tuple[str, ...] | None = None,
    num_threads: int = 0,
) -> OnnxDetector:
    """A detector from an ONNX file; `num_threads` 0 lets onnxruntime take every core.

    Size and classes are read from its input, output and metadata; the arguments serve files that do not say.
    Raises ModelError if the file is missing, not ONNX, of another layout, or says neither size nor classes.
    """
    session = _open_session(path, num_threads)
    metadata = session.get_modelmeta().custom_metadata_map
    size = _image_size(session, metadata, path) or image_size
    if size is None:
        raise ModelError(f"{path}: takes images of any size and names none", "say which image_size to use")
    if image_size is not None and size != image_size:
        raise ModelError(
            f"{path}: takes {size[0]}×{size[1]} pixels, not {image_size[0]}×{image_size[1]}", "leave image_size out"
        )
    check_image_size(*size)
    num_classes = _count_classes(session, size, path)
    detector = OnnxDetector(session, _class_names(num_classes, metadata, classes, path), size)
    detector.probe(path)
    return detector


def _open_session(path: Path, num_threads: int) -> "InferenceSession":
    if not path.is_file():
        raise ModelError(f"{path}: no such file", "check the path of the model")
    onnxruntime = silent_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3  # errors; they are raised anyway
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except tuple(getattr(onnxruntime.capi.onnxruntime_pybind11_state, name) for name in _LOAD_ERRORS) as error:
        raise ModelError(
            f"{path}: is not an ONNX model onnxruntime can load ({path.stat().st_size} bytes; {type(error).__name__})",
            "it may be cut short: compare its size with the original's and fetch it again",
        ) from error


def _image_size(session: "InferenceSession", metadata: dict[str, str], path: Path) -> tuple[int, int] | None:
    """(height, width) of the input: fixed in its shape, or written beside it."""
    inputs = session.get_inputs()
    is_image = len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].shape[1] == 3
    if not is_image or inputs[0].type != "tensor(float)":
        raise ModelError(f"{path}: is not a YOLOX export, its input is not one [B, 3, H, W] float image", _EXPORT)
    height, width = inputs[0].shape[2:]
    if isinstance(height, int) and isinstance(width, int):
        return height, width
    if "image_size" not in metadata:
        return None
    match _read_metadata(metadata, "image_size", path):
        case [int(height), int(width)]:
            return height, width
        case other:
            raise ModelError(f"{path}: its metadata image_size is not [height, width] but {other!r}", _EXPORT)


def _count_classes(session: "InferenceSession", image_size: tuple[int, int], path: Path) -> int:
    """Outputs of an anchor point beyond its box and objectness; ModelError for another layout."""
    num_anchors = len(anchor_points(*image_size, _CPU).grid)
    shapes = [output.shape for output in session.get_outputs()]
    if len(shapes) == 1 and len(shapes[0]) == 3:
        _, anchors, width = shapes[0]  # a name, or None, where the file leaves an axis open
        if isinstance(width, int) and width > 5 and (anchors == num_anchors or not isinstance(anchors, int)):
            return width - 5
    raise ModelError(
        f"{path}: is not a YOLOX export, its outputs {shapes} are not one [B, {num_anchors}, 5 + classes]",
        _EXPORT,
    )


def _class_names(
    num_classes: int, metadata: dict[str, str], given: tuple[str, ...] | None, path: Path
) -> tuple[str, ...]:
    """Names as given, else as written in the file, else COCO's for 80 outputs."""
    classes = given
    if classes is None and "classes" in metadata:
        classes = tuple(str(name) for name in _read_metadata(metadata, "classes", path))
    elif classes is None and num_classes == len(COCO_CLASSES):
        classes = COCO_CLASSES
    if classes is None:
        raise NamelessClassesError(
            f"{path}: does not say what its {num_classes} classes are called", "name them, in order of its outputs"
        )
    if len(classes) != num_classes:
        raise ModelError(
            f"{path}: has {num_classes} classes, but {len(classes)} names for them", "give one name for each"
        )
    return classes


def _read_metadata(metadata: dict[str, str], name: str, path: Path) -> list[object]:
    try:
        value = json.loads(metadata[name])
    except ValueError as error:
        raise ModelError(f"{path}: its metadata {name} is not JSON: {metadata[name][:80]!r}", _EXPORT) from error
    if not isinstance(value, list):
        raise ModelError(f"{path}: its metadata {name} is not a list: {metadata[name][:80]!r}", _EXPORT)
    return value
