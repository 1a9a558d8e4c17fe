"""Checkpoints of every released format are read forever, to the last number."""

import tarfile
from pathlib import Path

import make_checkpoint
import pytest
import torch
from make_checkpoint import FACTS, golden_state, settings

from rayox_model.checkpoint.snapshot import FORMAT, averaged_weights, read_facts, restore
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import new_state

ARCHIVES = sorted((Path(make_checkpoint.__file__).parent / "checkpoints").glob("format-*.tar.xz"))


def test_every_format_up_to_the_present_one_is_kept():
    assert [path.name for path in ARCHIVES] == [f"format-{number}.tar.xz" for number in range(1, FORMAT + 1)]


@pytest.mark.slow
@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_a_golden_checkpoint_comes_back_whole(archive, tmp_path):
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    facts, wanted = read_facts(folder), golden_state()
    assert (facts.model, facts.classes, facts.image_size) == (FACTS.model, FACTS.classes, FACTS.image_size)
    assert (facts.step, facts.epoch, facts.config, facts.metrics) == (7, 1, FACTS.config, FACTS.metrics)

    state = new_state(YOLOX("nano", 2), settings(), torch.device("cpu"))
    restore(folder, state)
    assert state.step == 7
    assert int(state.ema.n_averaged) == 7
    assert_same(state.model.state_dict(), wanted.model.state_dict())
    assert_same(averaged_weights(folder), wanted.ema.module.state_dict())
    for mine, others in zip(state.optimizer.state.values(), wanted.optimizer.state.values(), strict=True):
        assert_same(mine, others)


def assert_same(mine, others):
    assert mine.keys() == others.keys()
    assert all(torch.equal(mine[name], others[name]) for name in mine)
