"""The real driver without Ray, killed at writes of its ledger: every trial is there once, in MLflow too."""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
import tune_drive
from mlflow import MlflowClient
from tune_toys import campaign

from rayox_platform.runs.journal import open_journal
from rayox_platform.storage.folders import LocalFolder
from rayox_platform.track.tracking import connect
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger import read_state
from rayox_platform.tune.mirror import STATUS, Mirror

CONFIRM = {"top": 1, "seeds": 2}
SETTINGS = {
    "promote": (campaign("promote", trials=4, searcher={"startup": 1}, confirm=CONFIRM), 2),
    "hyperband": (campaign("hyperband", trials=5, searcher={"startup": 1}, confirm=CONFIRM), 3),
    "pbt": (campaign("pbt", trials=4, schedule={"population": 4, "every": 3}, confirm=CONFIRM), 1),
}
SAMPLED, MIRRORED = 10, 1  # kills of each campaign; those whose drivers told MLflow before


def killed(folder: Path, kind: str, kill_at: int, mirrors: bool) -> None:
    """By a SIGKILL, in a process of its own; it has told MLflow of what there is if it mirrors."""
    child = os.fork()
    if not child:
        settings, more = SETTINGS[kind]
        last_words = (lambda: mirrored(folder)) if mirrors else (lambda: None)
        tune_drive.drive(folder, settings, more=more, kill_at=kill_at, last_words=last_words)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def mirrored(folder: Path) -> None:
    state = read_state(open_journal(LocalFolder(folder), "ledger"))
    if state.num_records:
        Mirror(connect(None, folder, "rayox"), "c").bring_up_to_date(state)


def facts(state: State) -> list[tuple]:
    """All that a kill must not change."""
    return [
        (one.number, one.state, dict(one.values), one.seed, one.run, one.of, one.reports, one.kept)
        for one in state.trials
    ]


def check(folder: Path, kind: str, kill_at: int, whole: State, mirrors: bool) -> None:
    settings, more = SETTINGS[kind]
    told: list[str] = []
    state = tune_drive.drive(folder, settings, more=more, tell=told.append)
    assert facts(state) == facts(whole), kill_at
    assert bool(told) == bool(kill_at % 2), "every second kill leaves half a record"
    records = open_journal(LocalFolder(folder), "ledger").read()
    for names in (("finished", "trial"), ("planned", "trial"), ("exploited", "trial", "epoch"), ("confirmed",)):
        found = [tuple(record[name] for name in names[1:]) for record in records if record["kind"] == names[0]]
        assert len(found) == (len(set(found)) if names[1:] else 2), (names, kill_at)
    if mirrors:
        check_mlflow(folder, state)


def check_mlflow(folder: Path, state: State) -> None:
    mirrored(folder)
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("rayox").experiment_id])
    statuses = sorted((run.info.run_name, run.info.status) for run in runs)
    assert statuses == sorted([("c", "FINISHED"), *((one.name, STATUS[one.state]) for one in state.trials)])
    for run in runs:
        trial = next((one for one in state.trials if one.name == run.info.run_name), None)
        assert trial is None or len(client.get_metric_history(run.info.run_id, "AP")) == len(trial.reports)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A state folder with an empty store of MLflow, to be copied: making one takes seconds."""
    folder = tmp_path_factory.mktemp("store") / "state"
    connect(None, folder, "rayox")
    return folder


def kill_all(tmp_path: Path, store: Path, kind: str, sampled: int | None, num_mirrored: int) -> None:
    settings, more = SETTINGS[kind]
    whole = tune_drive.drive(tmp_path / "whole", settings, more=more)
    assert any(trial.phase == "confirm" for trial in whole.trials)
    assert sum(len(trial.exploits) for trial in whole.trials) > 0 or kind != "pbt"
    assert len(whole.search) == settings.budget.trials + (0 if kind == "pbt" else more)
    draw = random.Random(kind)
    every = list(range(1, whole.num_records))
    kills = draw.sample(every, sampled) if sampled else every
    mirrors = set(draw.sample(kills, num_mirrored))
    for at in kills:
        folder = tmp_path / str(at)
        if at in mirrors:
            shutil.copytree(store, folder)
        killed(folder, kind, at, at in mirrors)
    for at in kills:
        check(tmp_path / str(at), kind, at, whole, at in mirrors)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETTINGS)
def test_killed_at_any_write_the_same_trials_are_finished_each_once(tmp_path, store, kind):
    kill_all(tmp_path, store, kind, SAMPLED, MIRRORED)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", SETTINGS)
def test_killed_at_every_write_the_same_trials_are_finished_each_once(tmp_path, store, kind):
    kill_all(tmp_path, store, kind, None, 12)
