"""The detector as MLflow loads and serves it: this file travels with the model and needs neither rayox nor torch.

Input is a table with a column `image` of encoded files (JPEG, PNG …; base64 in JSON). Output has a row an image:
`boxes` are [x1, y1, x2, y2] in the image's own pixels, `scores` and `labels` (class names) stand beside them.
"""

import json
import os
from typing import Any

import cv2
import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

STRIDES = (8, 16, 32)
FILL = 114  # grey of what the image does not cover


class OnnxDetector(PythonModel):  # type: ignore[misc]
    """An ONNX file of the official layout: raw regression, then objectness and classes as probabilities."""

    def load_context(self, context: PythonModelContext) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else it sends events to its makers from its import on
        import onnxruntime

        self.session = onnxruntime.InferenceSession(context.artifacts["onnx"], providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.classes: list[str] = json.loads(metadata["classes"])
        self.height, self.width = json.loads(metadata["image_size"])
        cells = [np.mgrid[: self.height // s, : self.width // s].reshape(2, -1)[::-1].T for s in STRIDES]
        self.grid = np.concatenate(cells).astype(np.float32)  # [K, 2] (x, y)
        self.strides = np.concatenate([np.full((len(c), 1), s) for c, s in zip(cells, STRIDES, strict=True)])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """params are score_threshold and nms_threshold. Raises ValueError for bytes that are no image."""
        thresholds = {"score_threshold": 0.25, "nms_threshold": 0.65} | (params or {})
        return pd.DataFrame([self._detect(content, **thresholds) for content in model_input["image"]])

    def _detect(self, content: bytes, score_threshold: float, nms_threshold: float) -> dict[str, Any]:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
        if image is None:
            raise ValueError(f"not an image (it begins with {content[:12]!r})")
        pixels, ratio = self._letterbox(image)
        output = self.session.run(None, {self.session.get_inputs()[0].name: pixels})[0][0]  # [K, 5 + C]
        centers = (output[:, :2] + self.grid) * self.strides
        sizes = np.exp(output[:, 2:4]) * self.strides
        labels = output[:, 5:].argmax(axis=1)
        scores = output[:, 4] * output[:, 5:].max(axis=1)
        found = np.flatnonzero(scores >= score_threshold)
        corners = (centers - sizes / 2)[found]
        boxes_xywh = np.concatenate([corners, sizes[found]], axis=1)
        best_first = cv2.dnn.NMSBoxesBatched(
            boxes_xywh.tolist(), scores[found].tolist(), labels[found].tolist(), score_threshold, nms_threshold
        )
        kept = np.array(best_first, np.int64).ravel()
        boxes = np.concatenate([corners, corners + sizes[found]], axis=1)[kept] / ratio
        return {
            "boxes": boxes.astype(float).tolist(),
            "scores": scores[found][kept].astype(float).tolist(),
            "labels": [self.classes[label] for label in labels[found][kept]],
        }

    def _letterbox(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        ratio = min(self.height / image.shape[0], self.width / image.shape[1])
        size = max(int(image.shape[1] * ratio), 1), max(int(image.shape[0] * ratio), 1)
        frame = np.full((self.height, self.width, 3), FILL, np.uint8)
        frame[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return frame.transpose(2, 0, 1)[None].astype(np.float32), ratio


set_model(OnnxDetector())
