"""What a watcher of a campaign reads, fed with its records by hand."""

import threading

import pytest

from rayox.terminal.campaign_panel import CampaignStatus
from rayox.terminal.campaign_watch import watch_campaign
from rayox.terminal.console import Console
from rayox_platform.config.tree import Config
from rayox_platform.runs.run_lock import claimed
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.campaign_home import campaign_home
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.ledger_records import (
    Ended,
    Extended,
    Failed,
    Finished,
    Opened,
    Paused,
    Planned,
    Reported,
    Started,
)

CAMPAIGN = Campaign.model_validate(
    {
        "name": "mine",
        "space": {"assigner.top_k": {"int": [5, 20]}},
        "schedule": {"kind": "promote", "rungs": [1]},
        "budget": {"trials": 3},
        "confirm": {"top": 1, "seeds": 1},
    }
)
CONFIG = Config.model_validate({"train": {"epochs": 3, "closing_epochs": 1, "warmup_epochs": 1}})
OPENED = Opened(campaign=CAMPAIGN.model_dump(mode="json"), config=CONFIG.model_dump(mode="json"), version="0")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def state():
    state = State()
    state.apply(OPENED, 1.0)
    return state


def planned(number: int, phase: str = "search") -> Planned:
    return Planned(trial=number, values={"assigner.top_k": 10}, seed=0, run=f"mine-{number:03d}", phase=phase, of=0)


def trained(state: State, number: int, epochs: list[float]) -> None:
    state.apply(Started(trial=number, until=state.trials[number].epoch + len(epochs)), 2.0)
    for score in epochs:
        state.apply(Reported(trial=number, epoch=state.trials[number].epoch + 1, metrics={"AP": score}), 3.0)


def test_before_its_first_trial_it_says_what_is_being_waited_for(state, clock):
    status = CampaignStatus("mine", clock, stage_since=clock.now - 12)
    assert status.take(state) is None
    assert (status.headline(), status.details()) == ("mine  starting Ray  0:12", "")


def test_how_far_it_is_when_it_ends_and_who_leads(state, clock):
    """Three trials to the first rung and one of them to the end: 5 epochs, and twice 3 to confirm it."""
    status = CampaignStatus("mine", clock)
    state.apply(planned(0), 1.0)
    state.apply(Started(trial=0, until=1), 2.0)
    status.take(state)
    assert status.headline() == "mine  trial 1/3  epoch 0 of about 11"
    assert status.details() == "training: trial 0 (0/1)"
    clock.now += 60
    trained(state, 0, [0.4])
    line = status.take(state)
    assert line.endswith("trial 0  running  epoch 1/3  AP 0.4000  best: trial 0")
    assert status.headline() == "mine  trial 1/3  epoch 1 of about 11  ETA 10:00"
    clock.now += 30
    assert status.headline().endswith("ETA 9:30"), "it goes down between two epochs"
    assert status.done == pytest.approx(1 / 11)
    state.apply(Paused(trial=0, epoch=1, checkpoint="step-1"), 4.0)
    state.apply(planned(1), 4.0)
    trained(state, 1, [0.5])
    assert "trial 1  running  epoch 1/3  AP 0.5000" in status.take(state)
    assert status.details() == "best: trial 1, AP 0.5000 at epoch 1, the base recipe 0.4000  training: trial 1 (1/1)", (
        "after as many epochs"
    )
    trained(state, 1, [0.6, 0.7])
    status.take(state)
    assert "the base recipe" not in status.details(), "which has not been trained as long"


def test_while_it_confirms_the_end_is_known(state, clock):
    status = CampaignStatus("mine", clock)
    for number in range(2):
        state.apply(planned(number), 1.0)
        trained(state, number, [0.4, 0.5, 0.6])
        state.apply(Finished(trial=number), 2.0)
    state.apply(planned(2, "confirm"), 3.0)
    status.take(state)
    assert status.headline() == "mine  confirming the best  epoch 6 of about 12"
    assert status.done == pytest.approx(0.5)


def test_extended_after_a_confirmation_it_searches_again(state, clock):
    status = CampaignStatus("mine", clock)
    for number, phase in enumerate(("search", "search", "search", "confirm")):
        state.apply(planned(number, phase), 1.0)
        trained(state, number, [0.4, 0.5, 0.6])
        state.apply(Finished(trial=number), 2.0)
    state.apply(Extended(budget={"trials": 5}), 3.0)
    state.apply(planned(4), 3.0)
    state.apply(Failed(trial=4, why="out of memory\nat line 2", code="training"), 3.0)
    assert (
        status.take(state)
        .splitlines()[-1]
        .endswith("trial 4  failed  epoch 0/3  out of memory at line 2  best: trial 0")
    )
    assert status.headline().startswith("mine  trial 4/5  epoch 12 of about ")


def test_each_line_is_said_once(state, clock):
    status = CampaignStatus("mine", clock)
    state.apply(planned(0), 1.0)
    trained(state, 0, [0.4])
    assert status.take(state) is not None
    assert status.take(state) is None


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path))
    ledger = Ledger(campaign_home(None, "mine").journal())
    ledger.tell(OPENED)
    ledger.take_over()
    return ledger


def test_it_is_watched_from_its_ledger_until_its_driver_ends(ledger, capsys):
    home, over = campaign_home(None, "mine"), threading.Event()

    def drive() -> None:
        ledger.tell(planned(0))
        ledger.tell(Started(trial=0, until=1))
        ledger.tell(Reported(trial=0, epoch=1, metrics={"AP": 0.4}))
        over.set()

    driving = threading.Timer(0.2, drive)
    driving.start()
    state = watch_campaign(home, Console(), over.is_set)
    driving.join()
    assert state.trials[0].reports == {1: {"AP": 0.4}}
    assert "trial 0  running  epoch 1/3  AP 0.4000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (Ended(status="finished", why="budget.trials 3"), 0, "finished; "),
        (Ended(status="failed", why="the first trials have all failed"), 8, "failed; "),
        (Ended(status="interrupted", why="interrupted"), 130, "interrupted; "),
        (None, 8, "dead; "),
    ],
)
def test_watching_one_that_is_over_says_how_it_ended(rayox, ledger, end, code, said):
    if end:
        ledger.tell(end)
    found = rayox("tune", "watch", "mine", "--json")
    assert found.exit_code == code
    assert found.result["status"] == said.removesuffix("; ")
    assert said in found.err


def test_one_that_is_driven_by_another_process_is_watched(rayox, ledger, tmp_path):
    """Its lock is held by this process, as a driver holds it, and given back while it is watched."""
    holding = threading.Event()

    def hold() -> None:
        with claimed(tmp_path / "campaigns" / "mine", kept="ledger.jsonl"):
            holding.set()
            ledger.tell(planned(0))
            threading.Event().wait(1.5)
            ledger.tell(Ended(status="finished", why="budget.trials 3"))

    driver = threading.Thread(target=hold)
    driver.start()
    holding.wait(10)
    found = rayox("tune", "watch", "mine", "--json")
    driver.join()
    assert (found.exit_code, found.result["status"]) == (0, "finished")
