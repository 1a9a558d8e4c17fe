"""The packaged detector behind MLflow's server: every form of JSON, and one bad image among good ones."""

import base64
import json
from typing import Any

import cv2
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc.scoring_server import invocations

from rayox_platform.track.registration import save_pyfunc

ANY_SCORE = {"score_threshold": 0.0}
BAD = base64.b64encode(b"not an image").decode()
WHY = "image 1: not an image (it begins with b'not an image')"


@pytest.fixture(scope="module")
def model(toy_onnx, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "model"
    save_pyfunc(folder, toy_onnx)
    return mlflow.pyfunc.load_model(str(folder))


@pytest.fixture(scope="module")
def picture() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture(scope="module")
def expected(model, picture) -> dict[str, Any]:
    found = model.predict(pd.DataFrame({"image": [picture]}), ANY_SCORE)
    assert len(found["boxes"][0]) > 0
    return json.loads(found.to_json(orient="records"))[0]


def served(model, request: dict[str, Any]) -> list[dict[str, Any]]:
    body = json.dumps(request | {"params": ANY_SCORE})
    answer = invocations(body, "application/json", model, model.metadata.get_input_schema())
    assert answer.status == 200, answer.response
    return json.loads(answer.response, parse_constant=pytest.fail)["predictions"]


FORMS = {
    "dataframe_split": lambda good, bad: {"dataframe_split": {"columns": ["image"], "data": [[good], [bad]]}},
    "dataframe_records": lambda good, bad: {"dataframe_records": [{"image": good}, {"image": bad}]},
    "inputs by column": lambda good, bad: {"inputs": {"image": [good, bad]}},
    "inputs by row": lambda good, bad: {"inputs": [{"image": good}, {"image": bad}]},
    "inputs": lambda good, bad: {"inputs": [good, bad]},
    "instances by row": lambda good, bad: {"instances": [{"image": good}, {"image": bad}]},
    "instances": lambda good, bad: {"instances": [good, bad]},
    "instances of b64": lambda good, bad: {"instances": [{"image": {"b64": good}}, {"image": {"b64": bad}}]},
    "inputs of b64": lambda good, bad: {"inputs": {"image": [{"b64": good}, {"b64": bad}]}},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_answered_and_the_bad_image_named(model, picture, expected, form):
    good, bad = served(model, FORMS[form](base64.b64encode(picture).decode(), BAD))
    assert good["labels"] == expected["labels"]
    np.testing.assert_allclose(good["boxes"], expected["boxes"], atol=1e-4)
    assert good["error"] is None
    assert (bad["boxes"], bad["scores"], bad["labels"], bad["error"]) == ([], [], [], WHY)


@pytest.mark.parametrize(
    "write",
    [
        lambda content: base64.b64encode(content).decode(),
        lambda content: base64.encodebytes(content).decode(),  # with line ends
        lambda content: base64.urlsafe_b64encode(content).decode(),
        lambda content: base64.b64encode(content).decode().rstrip("="),
        lambda content: f"data:image/png;base64,{base64.b64encode(content).decode()}",
    ],
)
def test_every_kind_of_base64(model, picture, expected, write):
    for request in ({"inputs": {"image": [write(picture)]}}, {"instances": [{"image": write(picture)}]}):
        (found,) = served(model, request)
        assert (found["labels"], found["error"]) == (expected["labels"], None)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "empty"),
        ("&&&&", "neither bytes nor base64 (it begins with '&&&&')"),
        (5, "not an encoded image but 5"),
        (None, "missing"),
        (base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(), "not an image (it begins with b'\\x89PNG\\r\\n\\x1a\\n')"),
    ],
)
def test_what_is_no_image_says_what_it_is(model, picture, given, why):
    good, bad = served(model, {"inputs": {"image": [base64.b64encode(picture).decode(), given]}})
    assert good["error"] is None
    assert bad["error"] == f"image 1: {why}"


@pytest.mark.parametrize("kind", [bytes, bytearray, np.bytes_, lambda content: base64.b64encode(content).decode()])
def test_python_gives_bytes_or_text(model, picture, expected, kind):
    found = model.predict(pd.DataFrame({"image": [kind(picture), b"nope"]}), ANY_SCORE)
    assert found["labels"][0] == expected["labels"]
    assert found["error"].tolist() == [None, "image 1: not an image (it begins with b'nope')"]
