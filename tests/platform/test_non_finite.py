"""A step whose loss is not finite: which images made it, and the file that gives the loss again."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from rayox_model.augment.augment_settings import Augment
from rayox_model.core.collate import unpack
from rayox_model.core.errors import ModelError
from rayox_model.core.pack import pack
from rayox_model.nets.yolox import YOLOX
from rayox_model.replay import kept_step, replay
from rayox_model.train.engine import NonFiniteError, new_state, train
from rayox_platform.config import Config
from rayox_platform.data.look import step_samples
from rayox_platform.data.resolve import resolve_split
from rayox_platform.runs.home import FolderHome
from rayox_platform.train.from_config import engine_settings, for_workers
from rayox_platform.train.non_finite import explained, step_images
from rayox_platform.train.stream_blocks import stream_plan

SIZE = (64, 64)


@pytest.fixture
def images(toy_data, tmp_path):
    return resolve_split(str(toy_data / "train.json"), str(toy_data / "images"), tmp_path)[1]


@pytest.fixture
def config():
    train = {
        "epochs": 3,
        "batch_size": 4,
        "closing_epochs": 2,
        "warmup_epochs": 0,
        "multi_scale": 0,
        "precision": "fp32",
    }
    return Config.model_validate(
        {"image_size": 64, "data": {"lanes": 4}, "model": {"size": "nano"}, "train": train | {"accumulate": 2}}
    )


class OnlyThese:
    """A data set in which every image but some is out of reach."""

    def __init__(self, images, indices):
        self._images, self._indices = images, indices
        self.size, self.annotations = images.size, images.annotations

    def __len__(self):
        return len(self._images)

    def load(self, index):
        assert index in self._indices
        return self._images.load(index)


@pytest.mark.parametrize("partners", ["dataset", "window"])
def test_the_images_named_are_all_that_a_step_is_made_of(images, config, partners):
    plan, augment = stream_plan(config, len(images)), Augment(partners=partners, mosaic_scale=(0.5, 1.0))
    told = step_images(images, plan, 1, 0, 1, augment, SIZE)
    shown = list(step_samples(images, plan, 1, augment, SIZE))
    assert len(told) == len(shown) == 4
    ids = images.dataset.image_ids
    for line, one in zip(told, shown, strict=True):
        assert line.startswith(f"image {ids[one.image]} ({images.dataset.file_names[one.image]})")
    assert any(") with image " in line for line in told)
    if partners == "dataset":  # from a window of partners others are decoded for other samples
        named = {index for index, name in enumerate(images.dataset.file_names) if any(f"({name})" in t for t in told)}
        again = list(step_samples(OnlyThese(images, named), replace(plan, window_steps=1), 1, augment, SIZE))
        assert all(np.array_equal(a.sample.image, b.sample.image) for a, b in zip(shown, again, strict=True))


def test_a_worker_names_the_images_of_its_own_lanes(images, config):
    plan, rest = stream_plan(config, len(images)), (Augment(mosaic_prob=0.0), SIZE)
    whole = step_images(images, plan, 2, 0, 1, *rest)
    assert step_images(images, plan, 2, 0, 2, *rest) == whole[0::2]
    assert step_images(images, plan, 2, 1, 2, *rest) == whole[1::2]


@pytest.mark.slow
def test_the_failure_is_kept_and_computed_again(images, config, tmp_path):
    plan = stream_plan(config, len(images))
    settings = engine_settings(config, plan, "cpu")
    shown = list(step_samples(images, plan, 0, Augment(mosaic_prob=0.0), SIZE))
    batch = unpack(
        pack([one.sample for one in shown], config.train.batch_size, SIZE, 120)._asdict(), epoch=1
    )  # with the L1 loss
    last = int(batch.targets.image_index[-1])
    batch.targets.boxes[-1, [0, 2]] = batch.targets.boxes[-1, [2, 0]]
    torch.manual_seed(0)
    state = new_state(YOLOX("nano", 2), settings, torch.device("cpu"))
    with pytest.raises(NonFiniteError) as caught:
        list(train(state, [batch, batch], settings, torch.device("cpu")))

    made_of = step_images(images, plan, 0, 0, 1, Augment(mosaic_prob=0.0), SIZE)
    error = explained(caught.value, state, settings, made_of, 0, FolderHome(tmp_path / "mine"))
    path = tmp_path / "mine" / "non_finite" / "step-00000000-rank-0.safetensors"
    assert "the loss of step 0 (epoch 1) is not finite: total nan, iou " in error.message
    assert all(f"  {one}" in error.message.splitlines() for one in made_of)
    assert str(path) in error.message
    assert "rayox data show --run mine --step 0" in error.hint

    kept = kept_step(path)
    assert kept.settings == settings
    assert torch.equal(kept.batch.images, batch.images)
    terms = replay(kept)
    assert [bool(torch.isfinite(one.total)) for one in terms] == [image != last for image in range(4)]
    sums = sum(one.iou for one in terms) / sum(one.num_positives for one in terms)
    assert float(sums) == pytest.approx(float(caught.value.report.losses.iou), rel=1e-5)
    said = subprocess.run([sys.executable, "-m", "rayox_model.replay", path], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert [line[0] for line in said.stdout.splitlines()[1:]] == ["!" if i == last else " " for i in range(4)]


def test_another_file_is_refused(tmp_path):
    (tmp_path / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"other\.safetensors: not a saved step"):
        kept_step(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("workers", "divide_by"), [(1, "worker_positives"), (2, "worker_positives"), (3, "all_positives")]
)
def test_unequal_shares_are_divided_by_the_positives_of_all(images, config, workers, divide_by):
    plan = stream_plan(config, len(images))
    assert for_workers(engine_settings(config, plan, "cpu"), plan, workers).loss.divide_by == divide_by
