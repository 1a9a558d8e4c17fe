"""Names that miss their files by a spelling, an ending or folders: matched where exactly one file fits."""

import json
import shutil
from pathlib import Path

import pytest
from test_mend import mended, objects

from rayox_platform.data.check.near_names import Near, near_names
from rayox_platform.data.resolve import resolve_split
from rayox_platform.data.walking import files_under

CAFE, CAFE_DECOMPOSED = "caf\u00e9.png", "cafe\u0301.png"


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        (CAFE_DECOMPOSED, [CAFE], CAFE),
        (CAFE, [CAFE_DECOMPOSED, "cafe.png"], CAFE_DECOMPOSED),
        ("IMG_1.png", ["IMG_1.PNG"], "IMG_1.PNG"),
        ("a/img_1.PNG", ["A/IMG_1.png"], "A/IMG_1.png"),
        ("shot.jpg", ["shot.jpeg", "shot.txt"], "shot.jpeg"),
        ("shot.tiff", ["Shot.TIF"], "Shot.TIF"),
        ("shot", ["shot.jpg"], "shot.jpg"),
        ("shot.v2", ["shot.jpg"], None),
        ("Foto%20Stra%C3%9Fe.png", ["Foto Stra\u00dfe.png"], "Foto Stra\u00dfe.png"),
        ("a b.png", ["a%20b.png"], "a%20b.png"),
        (" 1.png ", ["1.png"], "1.png"),
        ("images/1.png", ["1.png"], "1.png"),
        ("1.png", ["images/1.png"], "images/1.png"),
        ("data\\images\\1.png", ["images/1.png"], "images/1.png"),
        ("..\\..\\upload\\4\\1.png", ["1.png"], "1.png"),
        ("C:\\photos\\1.png", ["1.png"], "1.png"),
        ("/home/me/photos/1.png", ["photos/1.png"], "photos/1.png"),
        ("/data/local-files/?d=photos/1.png", ["1.png"], "1.png"),
        ("https://example.org/train2017/1.jpg?size=large", ["train2017/1.jpg"], "train2017/1.jpg"),
        ("val/1.png", ["train/1.png"], None),  # another split's
        ("x/train/1.png", ["1.png", "train/1.png"], "train/1.png"),  # the one that says more
        ("1.png", ["a/1.png", "b/1.png"], ("a/1.png", "b/1.png")),
        ("1.png", ["1.PNG", "1.Png"], ("1.PNG", "1.Png")),
        ("", ["1.png"], None),
        ("..", ["1.png"], None),
    ],
)
def test_one_name(name, files, expected):
    near = near_names({7: name}, [], files)
    if expected is None:
        assert near == {}
    else:
        assert near == {7: Near(expected) if isinstance(expected, str) else Near(alike=expected)}


def test_a_file_that_has_its_own_name_is_nobody_else_s():
    assert near_names({1: "a.jpg"}, ["a.png"], ["a.png"]) == {}


def test_two_names_never_share_a_file():
    near = near_names({1: "x/a.png", 2: "y/a.png"}, [], ["a.png"])
    assert near == {1: Near(alike=("a.png",)), 2: Near(alike=("a.png",))}


def test_the_closer_name_has_the_file():
    assert near_names({1: "a.jpg", 2: "A.png"}, [], ["a.png"]) == {2: Near("a.png")}


@pytest.mark.parametrize("name", ["near/coco", "prefix/result", "prefix/result_win", "prefix/result_up"])
def test_no_image_is_lost_of_the_cases(cases, tmp_path, name):
    source = cases / f"{name}.json"
    images = source.parent / "images"
    found, copy = mended(source, tmp_path / "out.json", images)
    assert (found.dropped.images, found.dropped.annotations, found.ok) == (0, 0, True)
    assert {image["file_name"] for image in copy["images"]} == {path.name for path in images.iterdir()}
    dataset, _ = resolve_split(str(tmp_path / "out.json"), str(images), tmp_path)
    assert len(dataset) == 6


def test_names_that_look_alike_are_shown_by_their_characters(rayox_check, cases):
    said = rayox_check(cases / "near/coco.json", "--images", cases / "near/images")
    assert r"no file 'cafe\u0301.png', but 'caf\xe9.png' is there" in said
    assert "no file 'IMG_1.png', but 'IMG_1.PNG' is there" in said


def test_several_that_fit_are_named_and_none_is_taken(rayox_check, cases, tmp_path):
    images = Path(shutil.copytree(cases / "prefix/images", tmp_path / "images"))
    (images / "b").mkdir()
    shutil.copy(images / "im000.png", images / "b" / "im000.png")
    (images / "a").mkdir()
    (images / "im000.png").rename(images / "a" / "im000.png")
    coco = json.loads((cases / "hashids/int63.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(coco))
    said = rayox_check(tmp_path / "a.json", "--images", images, "--fix", tmp_path / "out.json")
    assert "no file 'im000.png'; it may be 'a/im000.png' or 'b/im000.png'" in said
    assert "dropped: 1 images, 2 annotations" in said


def test_sizes_are_those_of_the_file_that_is_meant(cases, tmp_path):
    coco = json.loads((cases / "prefix/result.json").read_text())
    coco["images"][0] |= {"width": 192, "height": 200}
    (tmp_path / "a.json").write_text(json.dumps(coco))
    found, copy = mended(tmp_path / "a.json", tmp_path / "out.json", cases / "prefix/images")
    assert (copy["images"][0]["width"], copy["images"][0]["height"]) == (96, 96)
    assert found.ok


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("folder", ["train2017", "."])
def test_lvis_names_its_files_by_address(cases, tmp_path, folder, beside):
    """Named is the folder train2017 or the one that holds it, or none: then they lie beside the file."""
    images = None if beside else str(cases / "lvis" / folder)
    source = cases / "lvis/lvis.json"
    if beside:
        shutil.copytree(cases / "lvis", tmp_path / "lvis")
        source = tmp_path / "lvis" / ("lvis.json" if folder == "." else "train2017.json")
        if folder != ".":
            (tmp_path / "lvis" / "lvis.json").rename(source)
    dataset, found = resolve_split(str(source), images, tmp_path / "state")
    assert len(found) == 6
    assert found.pixels(0).shape == (96, 96, 3)
    assert dataset.notes["images without file_name (taken from coco_url)"] == 6


def test_lvis_checks_without_an_error_and_is_written_with_names(cases, tmp_path):
    found, copy = mended(cases / "lvis/lvis.json", tmp_path / "out.json", cases / "lvis/train2017")
    assert found.fixed["file-name-from-url"] == "written"
    assert [image["file_name"] for image in copy["images"]] == [f"00000000000{number}.jpg" for number in range(1, 7)]
    assert len(objects(copy)) == 12
    _, copy = mended(cases / "lvis/lvis.json", tmp_path / "out.json", cases / "lvis")
    assert copy["images"][0]["file_name"] == "train2017/000000000001.jpg"


def test_linked_folders_are_listed_and_loops_end(tmp_path):
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "1.png").touch()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "images" / "again").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "deep" / "up").symlink_to(tmp_path / "images")
    (tmp_path / "images" / ".hidden").touch()
    (tmp_path / "images" / "gone").symlink_to(tmp_path / "nowhere")
    assert sorted(files_under(tmp_path / "images", hidden=False)) == ["again/deep/1.png", "linked/deep/1.png"]
    assert ".hidden" in set(files_under(tmp_path / "images"))
