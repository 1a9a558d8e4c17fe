"""A run goes on with its data wherever that lies now; whether it is the same is decided by its fingerprint."""

import json
import shutil
from pathlib import Path

import pytest
from make_checkpoint import golden_state

from rayox_model.checkpoint.snapshot import Facts, take_snapshot
from rayox_model.core.errors import DataError
from rayox_model.nets.spec import YOLOXSpec
from rayox_platform.config.tree import Config
from rayox_platform.data.fingerprint import fingerprint
from rayox_platform.runs.data_record import DataRecord, read_data_record, write_data_record
from rayox_platform.runs.home import RunHome
from rayox_platform.runs.places import open_runs
from rayox_platform.train.prepare import prepare
from rayox_platform.train.resume import resumed_config

pytestmark = pytest.mark.slow

PARTS = ("annotations", "images")


@pytest.fixture
def data(toy_data, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    return Path(shutil.copytree(toy_data, tmp_path / "here"))


def settings(folder: Path) -> dict[str, dict[str, str]]:
    return {
        split: {"annotations": f"{folder}/{split}.json", "images": f"{folder}/images"} for split in ("train", "val")
    }


def begun(folder: Path, record: bool = True, read: bool = True) -> RunHome:
    """A run on the data of a folder, stopped at its first checkpoint; read: its images have all been read."""
    tree = {"name": "mine", "data": settings(folder), "model": {"size": "nano"}, "train": {"batch_size": 8}}
    config = Config.model_validate(tree)
    prepared = prepare(config, resume=False)
    state = golden_state()
    facts = Facts(
        model=YOLOXSpec(size="nano"),
        classes=("dim", "bright"),
        image_size=(64, 64),
        step=state.step,
        epoch=0,
        config=config.model_dump(mode="json"),
        metrics={},
        stream=prepared.plan.position(state.step),
    )
    prepared.home.checkpoints.write(take_snapshot(state, facts))
    if record:
        prints = {split: fingerprint(images) for split, images in prepared.images.items()}
        kept = {split: DataRecord(one.annotations, one.images if read else "") for split, one in prints.items()}
        write_data_record(prepared.home.shared, kept)
    return prepared.home


def resume(folder: Path) -> None:
    given = {f"data.{split}.{part}": settings(folder)[split][part] for split in ("train", "val") for part in PARTS}
    config = resumed_config(open_runs(None), "mine", given)
    assert config.data.train.annotations == f"{folder}/train.json"
    prepare(config, resume=True)


@pytest.mark.parametrize("read", [True, False])
def test_the_same_data_elsewhere_goes_on(data, tmp_path, read):
    begun(data, read=read)
    resume(data)
    resume(Path(shutil.move(data, tmp_path / "there")))


def test_it_may_be_written_in_another_way_but_not_say_another_thing(data):
    begun(data)
    coco = json.loads((data / "train.json").read_text())
    (data / "train.json").write_text(json.dumps(coco, indent=2, sort_keys=True))
    resume(data)
    coco["annotations"][0]["bbox"][0] += 1
    (data / "train.json").write_text(json.dumps(coco))
    with pytest.raises(DataError, match=r"data\.train: the annotations .* are not those that mine began with"):
        resume(data)


def test_other_images_elsewhere_are_refused(data, tmp_path):
    begun(data)
    there = Path(shutil.copytree(data, tmp_path / "there"))
    (there / "images/val3.png").write_bytes((there / "images/val4.png").read_bytes())
    with pytest.raises(DataError, match=r"data\.val: the images of .* are not those") as caught:
        resume(there)
    assert (caught.value.exit_code, "another --name" in caught.value.hint) == (3, True)


def test_without_a_fingerprint_only_the_place_can_tell(data, tmp_path):
    begun(data, record=False)
    resume(data)
    with pytest.raises(DataError, match="no fingerprint of it was kept"):
        resume(Path(shutil.copytree(data, tmp_path / "there")))


def test_a_broken_record_is_none(data):
    home = begun(data)
    home.shared.write("fingerprint.json", b"{")
    assert read_data_record(home.shared) == {}
