"""`rayox tune list|status|report|apply` on ledgers made by hand, without Ray."""

from pathlib import Path

import pytest
from simulate import play
from tune_confirmed import confirmed, keep
from tune_toys import BASE, campaign, curve

from rayox_platform.runs.run_lock import claimed
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger_records import Ended, Started


@pytest.fixture
def played() -> State:
    state, _ = play(campaign("promote", "random", trials=4), BASE, curve)
    return state


@pytest.fixture
def kept(rayox, played):
    """Ledgers of that campaign under these names, ended."""

    def make(*names: str, state: State = played):
        return [keep(state, name, Ended(status="finished", why="budget.trials 4")) for name in names]

    return make


def test_a_damaged_ledger_is_listed_and_hides_no_other(rayox, kept):
    kept("first", "second", "third")
    ledger = Path(".rayox/campaigns/second/ledger.jsonl")
    content = bytearray(ledger.read_bytes())
    content[len(content) // 2] ^= 4
    ledger.write_bytes(content)
    empty = Path(".rayox/campaigns/empty/ledger.jsonl")
    empty.parent.mkdir()
    empty.write_bytes(b"12345678 0 {")
    said = rayox("tune", "list", "--json")
    assert said.exit_code == 0
    found = {one["name"]: one["state"] for one in said.result["campaigns"]}
    assert found == {
        "empty": "damaged: its ledger has no whole record",
        "first": "finished",
        "second": "damaged: its checksum does not fit",
        "third": "finished",
    }
    assert "second: " in said.err
    assert "ledger.jsonl:" in said.err
    assert "bring back the file from a copy" in said.err
    assert rayox("tune", "status", "second").exit_code == 3
    assert rayox("tune", "status", "empty").exit_code == 3


def test_a_campaign_whose_driver_was_killed_is_dead_wherever_it_is_shown(rayox, played):
    keep(played, "mine", Started(trial=2, until=9))
    shown = rayox("tune", "status", "mine")
    assert "dead (its driver is gone" in shown.out
    assert "cut off" in shown.out
    assert "running" not in shown.out
    assert rayox("tune", "list", "--json").result["campaigns"][0]["state"] == "dead"
    assert rayox("tune", "status", "mine", "--json").result["status"] == "dead"


@pytest.mark.slow
def test_the_report_of_a_dead_campaign_says_so_and_that_of_a_running_one_who_drives_it(rayox, played):
    home = keep(played, "mine", Started(trial=2, until=9))
    assert rayox("tune", "report", "mine").exit_code == 0
    page = Path("mine-report/report.html").read_text()
    assert "dead (its driver is gone" in page
    assert "running" not in page
    with claimed(Path(str(home.shared)), kept="ledger.jsonl"):
        assert rayox("tune", "report", "mine").exit_code == 0
        assert "running by process" in rayox("tune", "status", "mine").out
    page = Path("mine-report/report.html").read_text()
    assert "; running by process" in page
    assert "1 running" in page


@pytest.mark.slow
def test_the_report_of_a_base_recipe_with_an_unset_setting(rayox, kept):
    space = {"train.clip_grad_norm": {"log": [5, 50]}}
    kept("own", state=play(campaign("none", "random", trials=4, space=space), BASE, lambda _: [0.5] * 9).state)
    assert rayox("tune", "report", "own", "--json").exit_code == 0
    shown = rayox("tune", "status", "own")
    assert "none" in shown.out
    assert "1.0 min" not in shown.out
    assert "9.0 min" in shown.out


def test_a_trial_is_written_where_nothing_is_lost(rayox, kept, played):
    Path("mine.yaml").write_text("extends: shapes\ntrain: {epochs: 9}\n")
    played.campaign = played.campaign.model_copy(update={"recipe": str(Path("mine.yaml").absolute())})
    kept("own")
    refused = rayox("tune", "apply", "own", "--trial", "1", "-o", "mine.yaml", "--force", "--json")
    assert refused.exit_code == 2
    assert "mine.yaml is what the new recipe extends" in refused.result["error"]["message"]
    assert Path("mine.yaml").read_text() == "extends: shapes\ntrain: {epochs: 9}\n"
    assert rayox("tune", "apply", "own", "--trial", "1", "-o", "my better.yaml", "--json").exit_code == 0
    assert "extends: mine.yaml" in Path("my better.yaml").read_text()
    again = rayox("tune", "apply", "own", "--trial", "2", "-o", "my better.yaml", "--json")
    assert again.exit_code == 2
    assert "my better.yaml exists" in again.result["error"]["message"]
    forced = rayox("tune", "apply", "own", "--trial", "2", "-o", "my better.yaml", "--force")
    assert "`rayox train 'my better.yaml'`" in forced.out
    assert "# Trial 2 of" in Path("my better.yaml").read_text()
    assert sorted(path.name for path in Path().iterdir()) == [".rayox", "mine.yaml", "my better.yaml"]


def test_a_number_of_the_confirmation_is_no_trial(rayox, kept):
    kept("own", state=confirmed(campaign("none", "random", trials=3)))
    said = rayox("tune", "apply", "own", "--trial", "4", "-o", "x.yaml", "--json")
    assert said.exit_code == 2
    assert "confirmation, of trial 0; the search has trials 0 to 2" in said.result["error"]["message"]


@pytest.mark.slow
def test_a_study_of_another_campaign_is_replaced_by_force_alone(rayox, kept):
    kept("own")
    given = ("tune", "report", "own", "--optuna", "sqlite:///study.db")
    for _ in range(2):
        assert "4 trials in the study own of" in rayox(*given).err, "its own is written anew"
    other, _ = play(campaign("none", "random", trials=3), BASE, curve)
    keep(other, "own", storage="elsewhere", began=500.0)
    refused = rayox(*given, "storage=elsewhere", "--json")
    assert refused.exit_code == 2
    assert "has a study own of another campaign" in refused.result["error"]["message"]
    assert "3 trials in the study own" in rayox(*given, "storage=elsewhere", "--force").err
