"""`train` as a campaign's trial uses it: in one process without Ray Train, paused and trained on, forked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_runs import toy_config

from rayox_model.checkpoint.snapshot import averaged_weights, read_facts
from rayox_model.core.errors import ConfigError
from rayox_platform.config import Config
from rayox_platform.resources.demand import Capacity
from rayox_platform.runs.event_kinds import Epoch, RunEvent, Start
from rayox_platform.train.prepare import prepare
from rayox_platform.train.training import Trained, train

pytestmark = pytest.mark.ray

HERE = Capacity(
    workers=1, cpus_per_worker=1, threads_per_worker=1, gpu=False, data_cpus=1, fewest_workers=1, cpus_per_data_task=0.5
)


class Runs:
    """Runs of one worker under a folder, with what they told."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data, folder
        self.events: dict[str, list[RunEvent]] = {}

    def config(self, name: str, **train: object) -> Config:
        return toy_config(self.data, self.folder, name, workers=1, **train)

    def train(self, name: str, *, resume: bool = False, fork: Path | None = None, **options: object) -> Trained:
        until = options.pop("until_epoch", None)
        prepared = prepare(self.config(name, **options), resume=resume)
        tell = self.events.setdefault(name, []).append
        with prepared.home.claim():
            return train(prepared, HERE, tell, until_epoch=until, fork=fork, in_process=True)

    def checkpoint(self, trained: Trained) -> Path:
        return self.folder / trained.name / "checkpoints" / trained.checkpoint

    def steps(self, name: str) -> list[int]:
        return [event.step for event in self.events[name] if isinstance(event, Start)]


@pytest.fixture(scope="module")
def runs(cluster, toy_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one-process")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYOX_STATE", str(folder / "state"))
        yield Runs(toy_data, folder)


@pytest.fixture(scope="module")
def whole(runs):
    return runs.train("whole")


def weights(runs: Runs, trained: Trained) -> dict[str, torch.Tensor]:
    return averaged_weights(runs.checkpoint(trained))


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_one_process_trains_to_the_end_and_tells_its_epochs(runs, whole):
    assert (whole.step, whole.epoch, whole.whole) == (9, 3, True)
    assert set(whole.metrics) >= {"AP", "AP50"}
    assert [event.epoch for event in runs.events["whole"] if isinstance(event, Epoch)] == [1, 2, 3]
    assert not (runs.folder / "whole" / "result.json").exists(), "finishing is the caller's choice"


def test_a_paused_run_that_is_trained_on_ends_with_the_same_weights(runs, whole):
    paused = runs.train("paused", until_epoch=1)
    assert (paused.step, paused.epoch, paused.whole) == (3, 1, False)
    assert set(paused.metrics) >= {"AP"}
    ended = runs.train("paused", resume=True)
    assert runs.steps("paused") == [0, 3]
    assert_equal(weights(runs, ended), weights(runs, whole))


def test_a_fork_takes_its_donors_next_step(runs, whole):
    donor = runs.train("donor", until_epoch=2)
    child = runs.train("child", fork=runs.checkpoint(donor))
    assert runs.steps("child") == [6]
    assert_equal(weights(runs, child), weights(runs, whole))


def test_a_fork_trains_under_settings_of_its_own(runs, whole):
    donor = runs.train("donor2", until_epoch=2)
    child = runs.train("other", fork=runs.checkpoint(donor), weight_decay=0.3)
    assert read_facts(runs.checkpoint(child)).config["train"]["weight_decay"] == 0.3
    state = torch.load(runs.checkpoint(child) / "training.pt", weights_only=True)
    assert max(group["weight_decay"] for group in state["optimizer"]["param_groups"]) == 0.3


@pytest.mark.parametrize(
    ("options", "part"),
    [({"optimizer": "sgd", "momentum": 0.5}, "does not fit"), ({"seed": 5}, "training stream")],
)
def test_a_fork_that_does_not_fit_is_refused(runs, whole, options, part):
    with pytest.raises(ConfigError, match=part):
        runs.train(f"refused-{part[:4]}", fork=runs.checkpoint(whole), **options)


def test_it_stops_only_after_an_epoch_that_it_has(runs):
    with pytest.raises(ConfigError, match="after epoch 4: the run has 3"):
        runs.train("long", until_epoch=4)


def test_one_process_is_one_worker(runs):
    prepared = prepare(runs.config("two"), resume=False)
    with pytest.raises(ConfigError, match="one process trains one worker"):
        train(prepared, replace(HERE, workers=2), in_process=True)


def test_the_run_on_disk_is_an_ordinary_one(runs, whole):
    kinds = [json.loads(line)["kind"] for line in (runs.folder / "whole" / "events.jsonl").read_text().splitlines()]
    assert {"start", "progress", "epoch", "checkpoint"} <= set(kinds)
