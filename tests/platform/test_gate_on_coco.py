"""The gate on real images: the published nano is champion of COCO; who may follow it?"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from promotions import another_network

from rayox_model.core.errors import GateError
from rayox_platform.config.tree import Config
from rayox_platform.promote.gate_settings import read_gate
from rayox_platform.promote.judge import Asked
from rayox_platform.promote.promote import Promoted, promote

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

GATE = "floors: {AP: 0.2}\nlineage: []\nleaks: ignore\nchange: {resamples: 100, margin: 0.02}\n"


def shuffled_classes(source: Path, path: Path) -> Path:
    """The same network that calls every class by another's name."""
    model = onnx.load(source)
    output = model.graph.output[0]
    order = np.concatenate([np.arange(5), 5 + np.random.default_rng(0).permutation(80)])
    model.graph.initializer.append(helper.make_tensor("order", TensorProto.INT64, [85], order))
    name = output.name
    for node in model.graph.node:
        node.output[:] = ["straight" if one == name else one for one in node.output]
    model.graph.node.append(helper.make_node("Gather", ["straight", "order"], [name], axis=2))
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def champion(shared_data, tmp_path_factory):
    """A way to promote to `coco`, of which the published nano is champion."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "gate.yaml").write_text(GATE)
    data = shared_data / "coco_dev"
    val = {"annotations": str(data / "annotations/instances_val2017.json"), "images": str(data / "val2017")}
    config = Config.model_validate({"data": {"val": val}})

    def run(model: Path, pages: list[str] | None = None) -> Promoted:
        asked = Asked(str(model), "coco", read_gate(folder / "gate.yaml"))
        keep = (lambda _, page: None) if pages is None else (lambda _, page: pages.append(page))
        return promote(asked, config, folder / "state", keep, lambda _: lambda *_: None)

    first = run(shared_data / "weights" / "yolox_nano.onnx")
    assert first.version is not None
    return run


def said(promoted: Promoted) -> dict[str, object]:
    difference = promoted.verdict.as_json()["difference"]
    assert isinstance(difference, dict)
    return difference


def test_shuffled_class_outputs_are_refused(champion, shared_data, tmp_path):
    pages: list[str] = []
    with pytest.raises(GateError, match=r"change: AP 0\.0.* against 0\.31.*: worse") as raised:
        champion(shuffled_classes(shared_data / "weights/yolox_nano.onnx", tmp_path / "model.onnx"), pages)
    assert "floors: AP" in raised.value.message
    assert "classes: " in raised.value.message
    assert pages[0].count("data:image/jpeg;base64,") == 12


def test_an_equal_one_passes_and_one_better_by_noise_is_not_called_better(champion, shared_data, tmp_path):
    published = shared_data / "weights/yolox_nano.onnx"
    equal = champion(published)
    assert equal.version is not None
    assert (said(equal)["value"], said(equal)["says"]) == (0.0, "not worse")
    near = [another_network(published, tmp_path / f"{scale}" / "model.onnx", scale) for scale in (1.001, 0.999)]
    ends = [champion(one) for one in near]
    higher = [said(end) for end in ends if float(str(said(end)["value"])) > 0]
    assert higher, "neither is above the champion: take other scales"
    assert all(one["says"] == "not worse" for one in higher)
