"""What a machine answers before a run starts: whether it has the run's storage, the same one, and the data."""

from pathlib import Path

import pytest

from rayox_platform.data.resolve import resolve_split
from rayox_platform.storage.folders import LocalFolder
from rayox_platform.train.probe import HEAD, Answer, Question, look, may_work


@pytest.fixture
def question(toy_data, tmp_path) -> Question:
    """As the driver asks it, whose mark is in the run's folder."""
    _, images = resolve_split(str(toy_data / "train.json"), str(toy_data / "images"), tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".probe").write_text(".probe")
    return Question(LocalFolder(tmp_path / "run"), ".probe", {"train": images.source}, {"train": (0, 19)})


def test_a_machine_that_has_all_leaves_its_mark(question, tmp_path):
    assert look(question, "here") == Answer()
    assert (tmp_path / "run" / "here").exists()


def test_a_folder_that_is_not_there_is_not_made(question, tmp_path):
    (tmp_path / "run").rename(tmp_path / "away")
    answer = look(question, "here")
    assert "is not there: it is another folder, or none" in answer.storage
    assert str(tmp_path / "run") in answer.storage
    assert not (tmp_path / "run").exists()


def test_a_folder_of_the_same_name_is_told_from_the_same_folder(question, tmp_path):
    (tmp_path / "run" / ".probe").write_text("another driver's")
    assert "is another folder than the driver's" in look(question, "here").storage


def test_a_folder_that_cannot_be_written_is_said(question, tmp_path):
    (tmp_path / "run" / "here").mkdir()  # whoever is root writes everywhere else
    assert "cannot be written" in look(question, "here").storage


def test_images_that_are_not_there_are_named_with_their_split(question, toy_data, tmp_path):
    gone = question.sources["train"].where(19)
    elsewhere = Path(gone).rename(tmp_path / "elsewhere.png")
    try:
        answer = look(question, "here")
    finally:
        elsewhere.rename(gone)
    assert answer == Answer(data=f"data.train.images: {gone}: no such image")


@pytest.mark.parametrize(
    ("resources", "role", "alone", "with_head"),
    [
        ({"CPU": 4.0}, "train", True, True),
        ({"CPU": 4.0}, "other", False, False),
        ({"GPU": 1.0}, "train", False, False),
        ({HEAD: 1.0}, "head", False, True),
    ],
)
def test_who_may_get_work_is_asked(resources, role, alone, with_head):
    """A head without CPUs has the process of each trial of several workers."""
    node = {"Resources": resources, "Labels": {"role": role}}
    wanted = [{"role": "train"}, {"role": "data"}]
    assert may_work(node, wanted, head=False) == alone
    assert may_work(node, wanted, head=True) == with_head
