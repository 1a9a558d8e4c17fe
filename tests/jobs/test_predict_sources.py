"""SOURCE of `rayox predict`: which images a folder, a glob or a name stands for, and what they are called."""

import errno
import os
from pathlib import Path

import pytest
from white_box import paint, results

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (("000000000139.png", "000000000285.png", "7.png"), [139, 285, 7]),
        (("b.png", "7.png"), [1, 2]),
        (("1/7.png", "2/007.png"), [1, 2]),  # the same number twice
        (("1" * 19 + ".png", "2.png"), [1, 2]),  # more than 64 bits
        (("-1.png", "2.png"), [1, 2]),
    ],
)
def test_image_ids(rayox, detector, names, ids):
    for name in names:
        paint(Path("in", name))
    assert rayox("predict", "any", "in", "-o", "out").exit_code == 0
    found = results(Path("out"))
    assert [record["image_id"] for record in found] == ids
    assert [record["file_name"] for record in found] == sorted(names)


def test_a_folder_with_its_folders(rayox, detector):
    for name in ("a.png", "deep/er/b.JPG", "deep/.hidden.png", ".cache/c.png", "d.jpeg"):
        paint(Path("in", name))
    Path("in/notes.txt").write_text("no image")
    for _ in range(2):  # the second time the pictures of the first are there
        assert rayox("predict", "any", "in", "-o", "in/out").exit_code == 0
        assert [record["file_name"] for record in results(Path("in/out"))] == ["a.png", "d.jpeg", "deep/er/b.JPG"]
    drawn = {str(path.relative_to("in/out/images")) for path in Path("in/out/images").rglob("*.*")}
    assert drawn == {"a.jpg", "d.jpg", "deep/er/b.jpg"}


def test_a_glob(rayox, detector):
    for name in ("in/1/a.png", "in/2/a.png", "in/2/b.png"):
        paint(Path(name))
    Path("in/1/a.txt").write_text("no image")
    assert rayox("predict", "any", "in/*/a.*", "-o", "out").exit_code == 0
    assert [record["file_name"] for record in results(Path("out"))] == ["1/a.png", "2/a.png"]
    assert rayox("predict", "any", "in/**/*.png", "-o", "deep").exit_code == 0
    assert len(results(Path("deep"))) == 3


def test_a_name_with_glob_signs_is_a_file_first(rayox, detector):
    paint(Path("a[1].png"))
    assert rayox("predict", "any", "a[1].png", "-o", "out").exit_code == 0
    assert Path("out/images/a[1].jpg").is_file()


def test_linked_folders_are_searched_and_loops_end(rayox, detector):
    for name in ("in/a.png", "elsewhere/b.png", "elsewhere/deep/c.png"):
        paint(Path(name))
    Path("in/linked").symlink_to(Path("elsewhere").absolute())
    Path("elsewhere/deep/back").symlink_to(Path("in").absolute())
    Path("elsewhere/deep/self").symlink_to(".")
    Path("in/one.png").symlink_to(Path("elsewhere/b.png").absolute())
    Path("in/nowhere.png").symlink_to("gone.png")
    everything = ["a.png", "linked/b.png", "linked/deep/c.png", "one.png"]
    for source in ("in", "in/**", "in/**/*.png"):
        assert rayox("predict", "any", source, "-o", "out").exit_code == 0
        assert [record["file_name"] for record in results(Path("out"))] == everything, source
    assert rayox("predict", "any", "in/linked/**/c.png", "-o", "out").exit_code == 0
    assert [record["file_name"] for record in results(Path("out"))] == ["deep/c.png"]


def test_a_folder_with_glob_signs_in_its_name_is_that_folder(rayox, detector):
    for name in ("photos [1]/a.png", "photos [1]/b.jpg", "photos [1]/x/c.png", "photos 1/d.png"):
        paint(Path(name))
    expected = {
        "photos [1]": ["a.png", "b.jpg", "x/c.png"],
        "photos [1]/*.png": ["a.png"],
        "photos [1]/**/*.png": ["a.png", "x/c.png"],
        "photos [[]1]/*.png": ["photos [1]/a.png"],
        "photos*": ["photos 1/d.png", "photos [1]/a.png", "photos [1]/b.jpg", "photos [1]/x/c.png"],
    }
    for source, names in expected.items():
        assert rayox("predict", "any", source, "-o", "out").exit_code == 0, source
        assert [record["file_name"] for record in results(Path("out"))] == names, source


def test_hidden_files_are_for_who_asks_for_them(rayox, detector):
    for name in ("in/.a.png", "in/.cache/b.png", "in/c.png"):
        paint(Path(name))
    for source, names in {"in/**/*.png": ["c.png"], "in/**/.*.png": [".a.png"], "in/.cache/*": ["b.png"]}.items():
        assert rayox("predict", "any", source, "-o", "out").exit_code == 0, source
        assert [record["file_name"] for record in results(Path("out"))] == names, source


def test_a_folder_that_cannot_be_read_is_said(rayox, detector, monkeypatch):
    for name in ("in/a.png", "in/closed/b.png"):
        paint(Path(name))
    scandir = os.scandir

    def refusing(folder):
        if str(folder).endswith("closed"):  # the tests may run as root, whom no permission stops
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    said = rayox("predict", "any", "in", "-o", "out")
    assert said.exit_code == 0
    assert "skipped: in/closed: cannot be read (Permission denied)" in said.err
    assert [record["file_name"] for record in results(Path("out"))] == ["a.png"]


def test_a_file_of_any_name(rayox, detector):
    paint(Path("a.png")).rename("frame_7")
    assert rayox("predict", "any", "frame_7", "-o", "out").exit_code == 0
    assert [record["file_name"] for record in results(Path("out"))] == ["frame_7"]


def test_drawings_of_like_names_stay_apart(rayox, detector):
    for name in ("a.bmp", "a.jpg", "a.png"):
        paint(Path("in", name))
    assert rayox("predict", "any", "in", "-o", "out").exit_code == 0
    assert {path.name for path in Path("out/images").iterdir()} == {"a.jpg", "a.jpg.jpg", "a.png.jpg"}


@pytest.mark.parametrize("source", ["nowhere", "nowhere.png", "in/*.png", "in", "x" * 300])
def test_nothing_to_look_at(rayox, detector, source):
    Path("in").mkdir()
    Path("in/notes.txt").write_text("no image")
    said = rayox("predict", "any", source, "-o", "out", "--json")
    assert said.exit_code == 3
    assert said.result["error"]["message"].startswith(f"{source}: no ")
    assert not Path("out").exists()


def test_a_glob_that_the_shell_took_apart(rayox, detector):
    first, second = paint(Path("a.png")), paint(Path("b.png"))
    said = rayox("predict", "any", first, second, "-o", "out")
    assert said.exit_code == 2
    assert "put a glob in quotes" in said.err
