"""Exports are for the runtimes that devices have: the oldest operators and format that hold the network."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rayox_model.detect.onnx_lowering import lowered
from rayox_model.detect.runtime import silent_onnxruntime

OLD = ("onnxruntime==1.17.3", "numpy<2")  # of early 2024; it reads formats up to 9, and torch writes 10
PROGRAM = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
numpy.save(sys.argv[3], session.run(None, {"images": numpy.load(sys.argv[2])})[0])
"""


def output(path: Path, images: np.ndarray) -> np.ndarray:
    session = silent_onnxruntime().InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


def form(model: onnx.ModelProto) -> tuple[int, int]:
    """Operator set and format."""
    (operators,) = model.opset_import
    return operators.version, model.ir_version


def test_an_export_has_the_oldest_form(toy_onnx):
    model = onnx.load(toy_onnx)
    assert form(model) == (11, 6)  # as the official exports; read by onnxruntime from 1.0 on
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key for entry in model.metadata_props} == {"classes", "image_size"}
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def one_node(kind: str, operators: int, element: int = TensorProto.FLOAT, inputs: int = 1) -> onnx.ModelProto:
    names = [f"x{number}" for number in range(inputs)]
    given = [helper.make_tensor_value_info(name, element, [2, 3]) for name in names]
    graph = helper.make_graph(
        [helper.make_node(kind, names, ["y"])], "g", given, [helper.make_tensor_value_info("y", element, [2, 3])]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", operators)], ir_version=10)


@pytest.mark.parametrize(
    ("kind", "element", "inputs", "expected"),
    [
        ("Sigmoid", TensorProto.FLOAT, 1, (11, 6)),
        ("Mul", TensorProto.FLOAT, 2, (11, 6)),
        ("HardSwish", TensorProto.FLOAT, 1, (14, 7)),  # from 14 on
        ("BitwiseNot", TensorProto.INT32, 1, (18, 8)),  # from 18 on
    ],
)
def test_a_network_that_needs_more_keeps_the_lowest_that_has_it(kind, element, inputs, expected):
    model = lowered(one_node(kind, 18, element, inputs))
    assert form(model) == expected
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.faults
def test_an_old_runtime_gives_the_same_numbers(toy_onnx, tmp_path):
    """In an environment of its own, made from the package index."""
    python = tmp_path / "old" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "old"], check=True)
    made = subprocess.run([python, "-m", "pip", "install", "--quiet", *OLD], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no package index: {made.stderr.strip().splitlines()[-1]}")
    images = np.random.default_rng(0).uniform(0, 255, (3, 3, 64, 96)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    files = (toy_onnx, tmp_path / "images.npy", tmp_path / "old.npy")
    done = subprocess.run([python, "-c", PROGRAM, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "old.npy"), output(toy_onnx, images), atol=1e-4)
