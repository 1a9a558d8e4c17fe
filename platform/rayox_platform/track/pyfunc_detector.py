"""The detector as MLflow loads and serves it.

This file, onnx_boxes.py and served_images.py travel with the model and need neither rayox nor torch.

Input is a table with a column `image` of encoded files (JPEG, PNG …), as bytes or as base64: in every form of MLflow's
server, also as a data: URL or {"b64": …}. Output has a row an image: `boxes` are [x1, y1, x2, y2] in the image's own
pixels, `scores` and `labels` (class names) stand beside them; `error` says why a row has none, and is null else.
Where no image of a request can be read, that is an error of the request.
"""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext
from onnx_boxes import detect_in_output  # type: ignore[import-not-found]  # it travels beside this file
from served_images import NotAnImageError, decoded, images_in  # type: ignore[import-not-found]

OWN = -1.0  # a score threshold that stands for the model's own
SCORE_THRESHOLD, NMS_THRESHOLD = 0.25, 0.65  # where it has none
COLUMNS = ("boxes", "scores", "labels", "error")
MOST_NAMED = 3  # broken images of one request
FILL = 114  # grey of what the image does not cover


class NoImageError(MlflowException):  # type: ignore[misc]
    """A request without a readable image. Its sentence stays: MLflow's server would put all that was sent before it."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence
        super().__init__(sentence, error_code=INVALID_PARAMETER_VALUE)

    @property
    def message(self) -> str:
        return self._sentence

    @message.setter
    def message(self, other: str) -> None:
        pass


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

        What is not an image is named in its row, and the rest answered; a request without any image is a bad one: the
        server answers 400 with that sentence.
        """
        given = {name: value for name, value in (params or {}).items() if value is not None}
        score = given.get("score_threshold", OWN)
        thresholds = self.thresholds if score == OWN else np.full(len(self.classes), score)
        nms = given.get("nms_threshold", NMS_THRESHOLD)
        rows = []
        for number, image in enumerate(images_in(model_input)):
            try:
                rows.append(self._detect(decoded(image), thresholds, nms) | {"error": None})
            except NotAnImageError as error:
                rows.append({"boxes": [], "scores": [], "labels": [], "error": f"image {number}: {error}"})
        if rows and all(row["error"] for row in rows):
            raise NoImageError("; ".join(row["error"] for row in rows[:MOST_NAMED]))
        # As objects: a column of texts would make NaN of None, which JSON does not have.
        return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in COLUMNS})

    def _operating_thresholds(self) -> np.ndarray:
        """The model's own, one for each class."""
        operating = self.facts.get("operating")
        if not operating:
            return np.full(len(self.classes), SCORE_THRESHOLD)
        points = [operating["classes"].get(name, operating["overall"]) for name in self.classes]
        return np.array([point["threshold"] for point in points])

    def _detect(self, image: np.ndarray, thresholds: np.ndarray, nms_threshold: float) -> dict[str, Any]:
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
