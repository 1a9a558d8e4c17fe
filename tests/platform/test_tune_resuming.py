"""Going on with a campaign: what was not given again is as it was; what its file or the command line changes is new."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tune_drive import SETTINGS, drive, train
from tune_toys import CONFIG, campaign

from rayox_model.core.errors import ConfigError
from rayox_model.nets.yolox import YOLOX
from rayox_platform.config.tree import Config
from rayox_platform.tune.budget import why_no_more
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.campaign_home import CampaignHome, campaign_home
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.driver import Driver
from rayox_platform.tune.extending import extension
from rayox_platform.tune.ledger import read_state
from rayox_platform.tune.opening import Call, earlier_of, open_ledger, read_data, trial_config
from rayox_platform.tune.resuming import check_same


class Calls:
    """`rayox tune` of one campaign, as far as its ledger is opened."""

    def __init__(self, data: Path) -> None:
        split = {"images": f"{data}/images"}
        sections = {name: split | {"annotations": f"{data}/{name}.json"} for name in ("train", "val")}
        tree = CONFIG.model_dump(mode="json")
        self.config = Config.model_validate(tree | {"data": tree["data"] | sections})
        self.home: CampaignHome = campaign_home(None, "mine")
        self.said: list[str] = []

    def __call__(
        self, settings: Campaign, *given: str, extend: int = 0, resume: bool | None = None, **more: Any
    ) -> State:
        resume, self.said = self.home.is_begun() if resume is None else resume, []
        base, data = trial_config(settings, self.config, self.home.storage), read_data(self.config)
        with self.home.claim():
            state = read_state(self.home.journal())
            if resume and state.num_records:
                check_same(state, settings, base, frozenset(given))
            call = Call(resume, extend, **{"given": frozenset(given), **more})
            return open_ledger(self.home, settings, base, data, call, self.said.append).state

    @property
    def kinds(self) -> list[str]:
        return [record["kind"] for record in self.home.journal().read()]


@pytest.fixture
def tune(toy_data, tmp_path, monkeypatch) -> Calls:
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    return Calls(toy_data)


def test_what_was_given_at_the_beginning_need_not_be_given_again(tune):
    tune(campaign(search="random", trials=8), "search.kind", "budget.trials")
    state = tune(campaign(trials=24))
    assert (state.campaign.search.kind, state.campaign.budget.trials) == ("random", 8)
    assert tune.said == []
    assert "extended" not in tune.kinds
    with pytest.raises(ConfigError, match=r"search\.kind: it began with 'random', now 'tpe' is given"):
        tune(campaign(trials=24), "search.kind")


def test_a_schedule_that_is_not_given_again_keeps_its_evaluations(tune):
    """With rungs at 1 every epoch has to be evaluated, and with the file's schedule none has."""
    tune.config = tune.config.model_copy(update={"train": tune.config.train.model_copy(update={"evaluate_every": 3})})
    assert tune(campaign("promote"), "schedule.kind").config["train"]["evaluate_every"] == 1
    assert tune(campaign("none")).config["train"]["evaluate_every"] == 1


def test_a_setting_of_the_recipe_need_not_be_given_again_either(tune):
    """With its epochs go the phases that shrank with them."""
    recipe = tune.config
    shorter = {"epochs": 6, "closing_epochs": 2, "warmup_epochs": 0.67}
    tune.config = recipe.model_copy(update={"train": recipe.train.model_copy(update=shorter)})
    tune(campaign(), "train.epochs")
    tune.config = recipe
    assert tune(campaign()).epochs == 6
    with pytest.raises(ConfigError, match=r"train\.epochs: it began with 6, now it is 9"):
        tune(campaign(), "train.epochs")
    tune.config = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": 5})})
    with pytest.raises(ConfigError, match=r"train\.seed: it began with 0, now it is 5"):
        tune(campaign())


def test_a_driver_killed_at_its_first_record_has_begun_nothing(tune):
    tune.home.shared.write("ledger.jsonl", b'12345678 0 {"kind": "op')
    assert tune(campaign(search="random"), "search.kind").campaign.search.kind == "random"
    assert tune.kinds == ["opened", "driven"]
    tune.home.shared.write("ledger.jsonl", b'12345678 0 {"kind": "op')
    tune(campaign(), resume=False)
    assert tune.kinds == ["opened", "driven"]
    with pytest.raises(ConfigError, match="there is a campaign mine already"):
        tune(campaign(), resume=False)


def test_the_weights_that_trials_start_from_are_given_each_time(tune, tmp_path):
    """They may lie elsewhere by then, so that they are gone is not told from that they were not given."""
    recipe, path = tune.config, tmp_path / "start.pth"
    torch.save({"model": YOLOX("nano", 2).state_dict()}, path)
    tune.config = recipe.model_copy(update={"model": recipe.model.model_copy(update={"init": str(path)})})
    tune(campaign(), "model.init")
    tune.config = recipe
    with pytest.raises(ConfigError, match=r"model\.init: it began with '.*start\.pth', now it is None"):
        tune(campaign())


def test_edits_of_the_file_are_applied_or_refused(tune):
    tune(campaign(trials=8))
    edited = campaign(trials=9, stop_when={"no_gain_for": 4}, confirm={"top": 2}, concurrency=3)
    state = tune(edited)
    assert state.campaign.budget.trials == 9
    assert state.campaign.stop_when.no_gain_for == 4
    assert (state.campaign.confirm.top, state.campaign.concurrency) == (2, 3)
    assert "budget.trials: 9 from here on, as its file says; it was 8" in tune.said
    assert len(tune.said) == 4
    assert tune(edited).campaign == state.campaign
    assert (tune.said, tune.kinds.count("extended")) == ([], 1)
    with pytest.raises(ConfigError, match=r"search\.seed: it began with 0, now its file says 1"):
        tune(campaign(trials=9, seed=1))


def test_the_images_that_are_kept_for_the_confirmation_stay_the_same(tune):
    tune(campaign(confirm={"top": 0}))
    with pytest.raises(
        ConfigError, match=r"confirm\.top: it began with 0, now 3 is given; which images the search scores"
    ):
        tune(campaign(), "confirm.top")
    assert tune(campaign()).campaign.confirm.top == 0
    assert tune.said == ["confirm.top: it keeps 0; 3 in its file is ignored"]


def test_of_an_earlier_ledger_nobody_knows_what_was_given_and_what_is_ignored_is_said(tune):
    tune(campaign(trials=8), given=None)
    assert tune(campaign(search="random", trials=24)).campaign == campaign(trials=8)
    assert "budget.trials: it keeps 8; 24 in its file is ignored" in tune.said
    assert "search.kind: it keeps 'tpe'; 'random' in its file is ignored" in tune.said
    assert tune(campaign(trials=24), "budget.trials").campaign.budget.trials == 24


def test_stop_when_may_be_another_one(tune):
    tune(campaign(stop_when={"no_gain_for": 3}))
    assert tune(campaign(stop_when={"no_gain_for": 0}), "stop_when.no_gain_for").campaign.stop_when.no_gain_for == 0
    assert tune.said == []


def test_another_campaigns_trials_are_learnt_from_again(tune):
    """The earlier one has gone on meanwhile; what it had at the beginning is what counts."""
    other = campaign_home(None, "other")
    drive(str(other.shared))
    earlier = read_state(other.journal())
    tune(campaign(), warm_from="other", earlier=earlier)
    drive(str(other.shared), SETTINGS, more=2)
    assert read_state(other.journal()).num_records > earlier.num_records
    state = tune(campaign())
    assert state.warm_from == "other"
    assert earlier_of(state, tune.home) == earlier
    with pytest.raises(ConfigError, match="--warm-from third: campaign began with --warm-from other, and other trials"):
        tune(campaign(), warm_from="third", earlier=earlier)
    shutil.rmtree(str(other.shared))
    records = len(tune.kinds)
    with pytest.raises(
        ConfigError, match=r"mine began with --warm-from other, which is no longer in .*campaigns/other"
    ):
        tune(campaign())
    assert len(tune.kinds) == records


def said_of(state: State, extend: int) -> tuple[bool, str]:
    said: list[str] = []
    longer = extension(state, extend, said.append)
    if longer:
        state.apply(longer, state.last)
    assert len(said) < 2
    return longer is not None, "".join(said)


def search(driver: Driver) -> int:
    """Train all that is still wanted; how many trials the search has then."""
    driver.over = ""
    while (part := driver.next_part()) is not None:
        train(driver, part)
    return len(driver.state.search)


def test_an_extension_lifts_what_stopped_the_search_for_so_many_trials(begin):
    driver = begin(campaign("none", trials=24, stop_when={"no_gain_for": 3}, confirm={"top": 0}))
    assert search(driver) == 4
    assert said_of(driver.state, 5) == (
        True,
        "--extend 5: 5 more trials are trained, although the search had ended (stop_when.no_gain_for 3)",
    )
    assert search(driver) == 9
    assert why_no_more(driver.state) == "budget.trials 9"


def test_an_extension_of_one_that_was_interrupted_lifts_what_that_one_did(begin):
    driver = begin(campaign("none", trials=24, stop_when={"no_gain_for": 3}, confirm={"top": 0}))
    assert search(driver) == 4
    said_of(driver.state, 5)
    driver.over = ""
    train(driver, driver.next_part())
    assert said_of(driver.state, 2)[0]
    assert search(driver) == 11


def test_an_extension_that_begins_nothing_says_why(begin):
    driver = begin(campaign("pbt", trials=4, schedule={"population": 4, "every": 9}, confirm={"top": 0}))
    assert search(driver) == 4
    before = driver.state.campaign
    assert said_of(driver.state, 3) == (
        False,
        "--extend 3 begins no trial: schedule.population 4: a population stays as large as it began; another campaign "
        "may have a larger one",
    )
    assert driver.state.campaign == before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"search": "grid", "searcher": {"points": 2}}, "all points of the grid are trials"),
        ({"budget": {"trials": 99, "epochs": 18}}, "budget.epochs 18 is used up; raise it too"),
    ],
)
def test_an_extension_beyond_another_end_says_which(begin, settings, said):
    driver = begin(campaign("none", **({"trials": 99} | settings), confirm={"top": 0}))
    assert search(driver) < 20
    found, line = said_of(driver.state, 3)
    assert not found
    assert line.startswith(f"--extend 3 begins no trial: {said}")
