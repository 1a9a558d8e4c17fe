"""The packaged detector behind MLflow's server: every form of JSON, and one bad image among good ones."""

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import invocations
from mlflow_server import free_port
from patience import wait_until

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


@pytest.mark.slow
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


def test_a_request_without_any_image_is_a_bad_one_in_one_sentence(model):
    with pytest.raises(MlflowException) as refused:
        model.predict(pd.DataFrame({"image": [b"not an image", b""]}))
    assert refused.value.get_http_status_code() == 400
    assert refused.value.message == f"{WHY.replace('image 1', 'image 0')}; image 1: empty"


@pytest.fixture
def server(toy_onnx, tmp_path):
    """The address of what the README starts, as a process that can import neither rayox nor torch."""
    save_pyfunc(tmp_path / "model", toy_onnx)
    for name in ("torch", "rayox", "rayox_model", "rayox_platform"):
        (tmp_path / "hidden" / name).mkdir(parents=True)
        (tmp_path / "hidden" / name / "__init__.py").write_text("raise ImportError('not on this machine')")
    port, bin_folder, log = free_port(), Path(sys.executable).parent, tmp_path / "said"
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path / "hidden"),
        "PATH": f"{bin_folder}:/usr/bin:/bin",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [bin_folder / "mlflow", "models", "serve", "-m", tmp_path / "model", "--env-manager", "local"]
    with log.open("w") as said:
        process = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, stdout=said, stderr=said, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or _answers(address), 90)
        assert process.poll() is None, log.read_text()
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/ping", timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.mark.slow
def test_mlflows_own_server_answers_with_boxes_and_refuses_a_broken_image(server, picture, expected):
    good = {"inputs": [base64.b64encode(picture).decode()], "params": ANY_SCORE}
    (found,) = requests.post(f"{server}/invocations", json=good, timeout=60).json()["predictions"]
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=1e-4)
    bad = requests.post(f"{server}/invocations", json={"inputs": [BAD]}, timeout=60)
    assert (bad.status_code, bad.json()["message"]) == (400, WHY.replace("image 1", "image 0"))
    assert "Traceback" not in bad.text


@pytest.mark.parametrize("kind", [bytes, bytearray, np.bytes_, lambda content: base64.b64encode(content).decode()])
def test_python_gives_bytes_or_text(model, picture, expected, kind):
    found = model.predict(pd.DataFrame({"image": [kind(picture), b"nope"]}), ANY_SCORE)
    assert found["labels"][0] == expected["labels"]
    assert found["error"].tolist() == [None, "image 1: not an image (it begins with b'nope')"]
