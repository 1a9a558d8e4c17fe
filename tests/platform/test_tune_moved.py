"""A campaign that goes on elsewhere: its own folder or its data have been moved, which the fingerprint decides."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tune_toys import CONFIG, campaign

from rayox_model.core.errors import ConfigError, DataError, ModelError
from rayox_model.nets.yolox import YOLOX
from rayox_platform.config.tree import Config
from rayox_platform.resources.demand import Capacity
from rayox_platform.runs.data_record import read_data_record, write_data_record
from rayox_platform.tune.campaign_home import campaign_home
from rayox_platform.tune.driver import Driver
from rayox_platform.tune.ledger import read_state
from rayox_platform.tune.opening import Call, open_ledger, read_data, trial_config
from rayox_platform.tune.place import keeping_fingerprint
from rayox_platform.tune.resuming import check_same

GIVEN = Capacity(
    workers=1, cpus_per_worker=1, threads_per_worker=1, gpu=False, data_cpus=1, fewest_workers=1, cpus_per_data_task=0.5
)
SETTINGS = campaign("promote", trials=1)


class Place:
    """A state folder and a data set, as a user names them."""

    def __init__(self, state: Path, data: Path, init: Path | None = None) -> None:
        self.state, self.data, self.init = state, data, init

    def open(self, monkeypatch, *, resume: bool, **train: object) -> Driver:
        """As the command line does it; resumed, all images of the data are taken as read."""
        monkeypatch.setenv("RAYOX_STATE", str(self.state))
        split = {"images": f"{self.data}/images"}
        sections = {name: split | {"annotations": f"{self.data}/{name}.json"} for name in ("train", "val")}
        tree = CONFIG.model_dump(mode="json")
        tree["data"] |= sections
        tree["train"] |= train
        tree["model"]["init"] = str(self.init) if self.init else None
        config = Config.model_validate(tree)
        home, data = campaign_home(None, "mine"), read_data(config)
        base = trial_config(SETTINGS, config, home.storage)
        with home.claim():
            if resume:
                check_same(read_state(home.journal()), SETTINGS, base, frozenset())
            ledger = open_ledger(home, SETTINGS, base, data, Call(resume))
            with keeping_fingerprint(home.shared, data.images):
                pass
        return Driver(ledger, Config.model_validate(dict(ledger.state.config)), home, given=GIVEN)


@pytest.fixture
def begun(toy_data, tmp_path, monkeypatch) -> Place:
    """One whose first trial has paused."""
    place = Place(tmp_path / "state", Path(shutil.copytree(toy_data, tmp_path / "data")))
    driver = place.open(monkeypatch, resume=False)
    part = driver.next_part()
    driver.started("first", part)
    driver.told("first", {"epoch": 1, "metrics": {"AP": 0.5}, "seconds": 2.0})
    driver.told("first", {"until": 1, "checkpoint": "step-1"})
    return place


def moves(driver: Driver) -> list[dict[str, object]]:
    return [record for record in driver.home.journal().read() if record["kind"] == "moved"]


def test_a_moved_campaign_trains_where_it_lies_now(begun, tmp_path, monkeypatch):
    there = Place(tmp_path / "elsewhere" / "state", tmp_path / "elsewhere" / "data")
    there.state.parent.mkdir()
    begun.state.rename(there.state)
    begun.data.rename(there.data)
    for times in (1, 1):  # going on once more moves nothing
        driver = there.open(monkeypatch, resume=True)
        config = driver.config_of(driver.state.trials[0])
        assert config.storage == f"{there.state}/runs"
        assert config.data.train.annotations == f"{there.data}/train.json"
        assert config.data.val.annotations == f"{there.state}/campaigns/mine/val-search.json"
        assert config.data.val.images == f"{there.data}/images"
        assert str(tmp_path / "data") not in config.model_dump_json()
        assert len(moves(driver)) == times
    part = driver.next_part()
    assert (part.trial, part.until, part.config.storage) == (0, 3, f"{there.state}/runs")


def test_what_decides_no_weight_may_be_another_and_the_workers_stay(begun, monkeypatch):
    driver = begun.open(monkeypatch, resume=True, timeout_seconds=77.0, nodes="role=train", workers=[2, 2])
    assert (driver.base.train.timeout_seconds, driver.base.train.nodes) == (77.0, "role=train")
    assert driver.base.train.workers == (1, 1)
    (moved,) = moves(driver)
    assert moved["values"] == {"train.nodes": "role=train", "train.timeout_seconds": 77.0}


def test_other_annotations_are_refused(begun, monkeypatch):
    coco = json.loads((begun.data / "val.json").read_text())
    coco["annotations"][0]["bbox"][0] += 1
    (begun.data / "val.json").write_text(json.dumps(coco))
    with pytest.raises(DataError, match=r"data\.val: the annotations .* are not those that mine began with") as caught:
        begun.open(monkeypatch, resume=True)
    assert "another --name" in caught.value.hint


def test_other_images_elsewhere_are_refused(begun, tmp_path, monkeypatch):
    begun.open(monkeypatch, resume=True)  # which has read them all
    there = Place(begun.state, tmp_path / "there")
    shutil.copytree(begun.data, there.data)
    (there.data / "images/train3.png").write_bytes((there.data / "images/train4.png").read_bytes())
    with pytest.raises(DataError, match=r"data\.train: the images of .* are not those that mine began with"):
        there.open(monkeypatch, resume=True)


def test_without_a_fingerprint_only_the_place_can_tell(begun, tmp_path, monkeypatch):
    """As in a campaign of an earlier rayox."""
    home = begun.open(monkeypatch, resume=True).home
    home.shared.remove("fingerprint.json")
    with pytest.raises(DataError, match="no fingerprint of it was kept"):
        Place(begun.state, Path(shutil.copytree(begun.data, tmp_path / "there"))).open(monkeypatch, resume=True)
    begun.open(monkeypatch, resume=True)
    assert read_data_record(home.shared).keys() == {"train", "val"}


def test_images_that_were_read_are_not_read_again(begun, monkeypatch):
    home = begun.open(monkeypatch, resume=True).home
    kept = {split: replace(one, images="as kept") for split, one in read_data_record(home.shared).items()}
    write_data_record(home.shared, kept)
    begun.open(monkeypatch, resume=True)
    assert read_data_record(home.shared) == kept


def test_the_weights_that_trials_start_from_may_lie_elsewhere_and_not_be_others(toy_data, tmp_path, monkeypatch):
    weights, there = tmp_path / "start.pth", tmp_path / "there.pth"
    torch.save({"model": YOLOX("nano", 2).state_dict()}, weights)
    place = Place(tmp_path / "state", toy_data, weights)
    place.open(monkeypatch, resume=False)
    weights.rename(there)
    place.init = there
    driver = place.open(monkeypatch, resume=True)
    assert driver.base.model.init == str(there)
    assert [move["values"] for move in moves(driver)] == [{"model.init": str(there)}]

    torch.save({"model": YOLOX("nano", 2).state_dict()}, there)
    with pytest.raises(ConfigError, match=r"there\.pth does not hold the weights that it began with"):
        place.open(monkeypatch, resume=True)
    place.init = Path(shutil.copy(there, weights))
    with pytest.raises(ConfigError, match=r"model\.init: it began with .*there\.pth"):
        place.open(monkeypatch, resume=True)
    weights.unlink()
    there.unlink()
    place.init = there
    with pytest.raises(ModelError, match=r"there\.pth"):
        place.open(monkeypatch, resume=True)
