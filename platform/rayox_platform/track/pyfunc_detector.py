"""The detector as MLflow loads and serves it.

This file and onnx_boxes.py travel with the model and need neither rayox nor torch.

Input is a table with a column `image` of encoded files (JPEG, PNG …; base64 in JSON). Output has a row an image:
`boxes` are [x1, y1, x2, y2] in the image's own pixels, `scores` and `labels` (class names) stand beside them.
"""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from onnx_boxes import detect_in_output  # type: ignore[import-not-found]  # it travels beside this file

OWN = -1.0  # a score threshold that stands for the model's own
SCORE_THRESHOLD, NMS_THRESHOLD = 0.25, 0.65  # where it has none
FILL = 114  # grey of what the image does not cover


class OnnxDetector(PythonModel):  # type: ignore[misc]
    """An ONNX file of the official layout: raw regression, then objectness and classes as probabilities."""

    def load_context(self, context: PythonModelContext) -> None:
        facts = Path(context.artifacts["detector"])
        self.facts: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else it sends events to its makers from its import on
        import onnxruntime

        self.session = onnxruntime.InferenceSession(context.artifacts["onnx"], providers=["CPUExecutionProvider"])
        self.classes: list[str] = self.facts["classes"]
        self.height, self.width = self.facts["image_size"]
        self.thresholds = self._operating_thresholds()

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """params are score_threshold, by default the model's own of each class, and nms_threshold.

        Raises ValueError for bytes that are no image.
        """
        given = {name: value for name, value in (params or {}).items() if value is not None}
        score = given.get("score_threshold", OWN)
        thresholds = self.thresholds if score == OWN else np.full(len(self.classes), score)
        nms = given.get("nms_threshold", NMS_THRESHOLD)
        return pd.DataFrame([self._detect(content, thresholds, nms) for content in model_input["image"]])

    def _operating_thresholds(self) -> np.ndarray:
        """Of each class; chosen when the model was promoted."""
        operating = self.facts.get("operating")
        if operating is None:
            return np.full(len(self.classes), SCORE_THRESHOLD)
        points = [operating["classes"].get(name, operating["overall"]) for name in self.classes]
        return np.array([point["threshold"] for point in points])

    def _detect(self, content: bytes, thresholds: np.ndarray, nms_threshold: float) -> dict[str, Any]:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
        if image is None:
            raise ValueError(f"not an image (it begins with {content[:12]!r})")
        pixels, ratio = self._letterbox(image)
        output = self.session.run(None, {self.session.get_inputs()[0].name: pixels})[0][0]  # [K, 5 + C]
        boxes, scores, labels = detect_in_output(
            output, (self.height, self.width), self.facts["layout"], thresholds.min(), nms_threshold
        )
        shown = scores >= thresholds[labels]  # no box is suppressed by a worse one, so this may come last
        return {
            "boxes": (boxes[shown] / ratio).astype(float).tolist(),
            "scores": scores[shown].astype(float).tolist(),
            "labels": [self.classes[label] for label in labels[shown]],
        }

    def _letterbox(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        ratio = min(self.height / image.shape[0], self.width / image.shape[1])
        size = max(int(image.shape[1] * ratio), 1), max(int(image.shape[0] * ratio), 1)
        frame = np.full((self.height, self.width, 3), FILL, np.uint8)
        frame[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return frame.transpose(2, 0, 1)[None].astype(np.float32), ratio


set_model(OnnxDetector())
