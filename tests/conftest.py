"""Shapes in signatures are checked in every test; shared data sets are read where they are at hand."""

import fcntl
import gc
import json
import os
import signal
from pathlib import Path

import cv2
import jaxtyping
import numpy as np
import pytest
from jaxtyping import install_import_hook
from patience import patient
from pytest_timeout import Settings
from pytest_timeout import pytest_timeout_set_timer as plain_timer
from real_cells import write_cells
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

install_import_hook("rayox_model", "beartype.beartype")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CASES = Path(__file__).resolve().parent / "data" / "cases"


CLUSTERS_OF_THEIR_OWN = (
    "tests/cluster/test_local_nodes.py",
    "tests/ray/test_campaign.py",
    "tests/ray/test_readme.py",
    "tests/ray/test_resume.py",
)  # started by the command line


class RayTogether(LoadScopeScheduling):
    """One process has the tests that share a Ray cluster, one those that start their own; others do the rest by file.

    So no more than two clusters start at a time: three on two cores take longer than the 30 seconds that Ray waits.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file in CLUSTERS_OF_THEIR_OWN:
            return "clusters of their own"
        return "ray" if file.startswith("tests/ray/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> RayTogether:
    config.option.loadscopereorder = False  # it would begin with the files of most tests
    return RayTogether(config, log)


def pytest_configure() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would every process that a test starts and interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Settings) -> bool | None:
    """Time-outs are those of an idle machine, and this one may be busy."""
    return plain_timer(item, settings._replace(timeout=patient(settings.timeout)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


def pytest_collection_finish() -> None:
    """What the imports made stays; no later collection of garbage has to walk through it."""
    gc.freeze()


@pytest.fixture(scope="module")
def shapes_unchecked():
    """For properties over thousands of samples: the checks take nine tenths of their time, and others have them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it say so when they skip."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data (real images, official weights and oracles) beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def real_cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """210 photos of blood cells, in the layout of ../shared/data/rbc_wbc and in every clone."""
    folder = tmp_path_factory.mktemp("cells") / "rbc_wbc"
    write_cells(folder)
    return folder


@pytest.fixture(scope="session")
def cases() -> Path:
    """Small data sets that were misread or refused once, a folder each."""
    return CASES


@pytest.fixture(scope="session")
def toy_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained nano of two classes at 64×96 as ONNX; exporting takes long, so one process does it for all."""
    import torch

    from rayox_model.detect.onnx_export import export_onnx
    from rayox_model.nets.yolox import YOLOX

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "toy-onnx" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    with (path.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            torch.manual_seed(3)
            export_onnx(YOLOX("nano", 2), ("dim", "bright"), (64, 96), path)
    return path


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 images of 64 px with one or two bright squares of two classes, as train.json, val.json and images/."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 7)):
        coco: dict[str, list[dict[str, object]]] = {"images": [], "annotations": [], "categories": []}
        coco["categories"] = [{"id": 3, "name": "dim"}, {"id": 5, "name": "bright"}]
        for number in range(count):
            name = f"{split}{number}.png"
            image = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
            for corner in range(1 + number % 2):
                x, y = 2 + 30 * corner + int(rng.integers(0, 6)), 4 + int(rng.integers(0, 30))
                image[y : y + 24, x : x + 24] = (140, 250)[(number + corner) % 2]
                annotation = {"id": len(coco["annotations"]), "image_id": number, "area": 576, "iscrowd": 0}
                annotation |= {"category_id": (3, 5)[(number + corner) % 2], "bbox": [x, y, 24, 24]}
                coco["annotations"].append(annotation)
            cv2.imwrite(str(folder / "images" / name), image)
            coco["images"].append({"id": number, "file_name": name, "height": 64, "width": 64})
        (folder / f"{split}.json").write_text(json.dumps(coco))
    return folder
