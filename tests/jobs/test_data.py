"""`rayox data` as its user has it: good and bad input, JSON, exit codes, and nothing left behind."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def data(rayox, toy_data) -> Path:
    """A copy of toy_data in the working folder, to be damaged."""
    return Path(shutil.copytree(toy_data, "data"))


def spoil(path: Path, **of_first: object) -> None:
    """Set values of the first annotation."""
    coco = json.loads(path.read_text())
    coco["annotations"][0] |= of_first
    path.write_text(json.dumps(coco))


def test_check_of_good_data(rayox, data):
    said = rayox("data", "check", "data/train.json", "--images", "data/images")
    assert said.exit_code == 0
    assert said.out.splitlines()[-1] == "data/train.json: 0 errors, 1 warning"  # an annotation id 0
    assert "zero-annotation-id × 1" in said.out
    result = rayox("data", "check", "data/train.json", "--images", "data/images", "--json").result
    assert result["ok"] is True
    (found,) = result["findings"]
    assert found == {
        "code": "zero-annotation-id",
        "severity": "warning",
        "where": "annotations[0]",
        "count": 1,
        "detail": "id 0",
        "fix": "Number from 1.",
        "fixed": None,
    }


def test_check_of_bad_data_exits_with_3_and_says_all(rayox, data):
    spoil(data / "train.json", bbox=[1, 2, -3, 4], category_id=99)
    (data / "images" / "train3.png").unlink()
    before = sorted(Path().rglob("*"))
    said = rayox("data", "check", "data/train.json", "--images", "data/images", "--json")
    assert said.exit_code == 3
    assert said.result["ok"] is False
    errors = [found["code"] for found in said.result["findings"] if found["severity"] == "error"]
    assert errors == ["unknown-category", "box-without-area", "missing-image-file"]
    assert said.out.count("\n") == 1
    assert "bbox [1, 2, -3, 4]" in said.err
    assert "Traceback" not in said.err
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty-file"),
        (b'{"images": [', "truncated-json"),
        (b"[]", "not-coco"),
        (b"\x1f\x8b", "compressed-file"),
        (None, "unreadable-file"),
    ],
)
def test_check_of_what_is_no_coco_file(rayox, content, code):
    if content is not None:
        Path("a.json").write_bytes(content)
    said = rayox("data", "check", "a.json", "--json")
    assert said.exit_code == 3
    assert [found["code"] for found in said.result["findings"]] == [code]


def test_check_says_the_file_by_settings(rayox, data):
    given = ["data.train.annotations=data/train.json", "data.train.images=data/images"]
    assert rayox("data", "check", *given).exit_code == 0
    Path("mine.yaml").write_text("data: {train: {annotations: data/train.json, images: data/gone}}\nimage_size: 64\n")
    said = rayox("data", "check", "mine.yaml", "--json")
    assert "no-image-folder" in [found["code"] for found in said.result["findings"]]
    assert rayox("data", "check", "scratch", *given).exit_code == 0
    assert rayox("data", "check", "scratch.yaml").exit_code == 2
    assert rayox("data", "check", "shapes").exit_code == 2
    assert rayox("data", "check", "data/train.json", "data/val.json").exit_code == 2
    assert rayox("data", "check", "data.train.images=data/images").exit_code == 2


def test_check_against_another_split(rayox, data):
    coco = json.loads((data / "val.json").read_text())
    arguments = ["data", "check", "data/train.json", "--images", "data/images", "--against", "data/val.json"]
    assert rayox(*arguments).exit_code == 0
    shutil.copy(data / "images" / "train3.png", data / "images" / coco["images"][2]["file_name"])
    said = rayox(*arguments, "--json")
    assert said.exit_code == 3
    (found,) = [found for found in said.result["findings"] if found["severity"] == "error"]
    assert (found["code"], found["where"]) == ("leaked-image", "images[3] (train3.png)")
    assert rayox(*arguments, "--quick").exit_code == 0
    assert rayox(*arguments[:-1], "gone.json").exit_code == 3
    assert rayox(*arguments, "--against-images", "gone").exit_code == 3
    assert rayox(*arguments[:-2], "--against-images", "data/images").exit_code == 2


def test_fix_writes_a_copy_that_checks_clean(rayox, data):
    spoil(data / "train.json", bbox=[1, 2, -3, 4])
    before = (data / "train.json").read_bytes()
    arguments = ["data", "check", "data/train.json", "--images", "data/images", "--fix"]
    said = rayox(*arguments, "mended.json", "--json")
    assert said.exit_code == 3  # of the file itself
    assert (said.result["fixed"]["path"], said.result["fixed"]["ok"]) == ("mended.json", True)
    assert [found["code"] for found in said.result["fixed"]["findings"]] == ["image-without-annotations"]
    how = {found["code"]: found["fixed"] for found in said.result["findings"]}
    assert how == {
        "box-without-area": "taken from the segmentation, else annotation dropped",
        "zero-annotation-id": "numbered anew",
    }
    assert (data / "train.json").read_bytes() == before
    assert rayox("data", "check", "mended.json", "--images", "data/images").exit_code == 0
    assert (
        "Fixed in the copy: taken from the segmentation, else annotation dropped."
        in rayox(*arguments, "mended.json").out
    )
    assert rayox(*arguments, "data/train.json").exit_code == 2
    assert rayox(*arguments, "gone/mended.json").exit_code == 2
    assert (data / "train.json").read_bytes() == before


def test_fix_of_what_cannot_be_mended_writes_nothing(rayox):
    Path("a.json").write_text('{"images": [{"id": 1')
    said = rayox("data", "check", "a.json", "--fix", "b.json", "--json")
    assert said.exit_code == 3
    assert "nothing written to b.json" in said.err
    assert "fixed" not in said.result
    assert not Path("b.json").exists()


def test_convert_there_and_back(rayox, data):
    said = rayox("data", "convert", "data/val.json", "-o", "yolo", "--from", "coco", "--to", "yolo", "--json")
    assert (said.exit_code, said.result["classes"], said.result["images"]) == (0, ["dim", "bright"], 7)
    arguments = ["data", "convert", "yolo", "-o", "back.json", "--from", "yolo", "--to", "coco"]
    assert rayox(*arguments).exit_code == 3  # no images, whose sizes are needed
    assert not Path("back.json").exists()
    Path("yolo/images").mkdir()
    for number in range(7):
        shutil.copy(f"data/images/val{number}.png", "yolo/images")
    assert rayox(*arguments).exit_code == 0
    boxes = [
        [(record["bbox"], record["category_id"]) for record in json.loads(Path(name).read_text())["annotations"]]
        for name in ("data/val.json", "back.json")
    ]
    assert [category for _, category in boxes[1]] == [{3: 1, 5: 2}[category] for _, category in boxes[0]]
    for (before, _), (after, _) in zip(*boxes, strict=True):
        assert after == pytest.approx(before, abs=1e-5)
    assert rayox("data", "check", "back.json", "--images", "yolo/images").exit_code == 0


def test_convert_links_images(rayox, data):
    said = rayox(
        *("data", "convert", "data/val.json", "-o", "yolo", "--from", "coco", "--to", "yolo"), "--images", "data/images"
    )
    assert said.exit_code == 0
    assert Path("yolo/images/val0.png").is_file()


@pytest.mark.parametrize(
    ("exit_code", "arguments", "says"),
    [
        (2, ["data/val.json", "-o", "o.json", "--from", "coco", "--to", "coco"], "both coco"),
        (2, ["data/val.json", "-o", "data", "--from", "coco", "--to", "yolo"], "not an empty folder"),
        (2, ["data/val.json", "-o", "gone/o", "--from", "coco", "--to", "yolo"], "no such folder"),
        (2, ["data/val.json", "-o", "o", "--from", "coco", "--to", "yolo", "--classes", "c.txt"], "names its classes"),
        (2, ["data", "-o", "data/images", "--from", "yolo", "--to", "coco"], "is a folder"),
        (2, ["data", "-o", "data", "--from", "voc", "--to", "yolo"], "the source itself"),
        (3, ["gone", "-o", "o.json", "--from", "voc", "--to", "coco"], "gone"),
        (3, ["data", "-o", "o.json", "--from", "voc", "--to", "coco"], "no XML files"),
        (3, ["data", "-o", "o.json", "--from", "yolo", "--to", "coco"], "no data.yaml"),
        (3, ["data", "-o", "o.json", "--from", "yolo", "--to", "coco", "--classes", "c.txt"], "c.txt"),
        (3, ["data/images/val0.png", "-o", "o", "--from", "coco", "--to", "yolo"], "val0.png"),
    ],
)
def test_convert_of_bad_input(rayox, data, exit_code, arguments, says):
    before = sorted(Path().rglob("*"))
    said = rayox("data", "convert", *arguments, "--json")
    assert (said.exit_code, said.result["error"]["code"]) == (exit_code, {2: "config", 3: "data"}[exit_code])
    assert says in said.result["error"]["message"]
    assert "Traceback" not in said.err
    assert sorted(Path().rglob("*")) == before


def test_convert_names_bad_lines(rayox, data):
    (data / "labels").mkdir()
    (data / "labels" / "val0.txt").write_text("0 0.5 0.5 0.1 0.1\n0 0.5 0.5\n7 0.5 0.5 0.1 0.1\n")
    (data / "classes.txt").write_text("dim\nbright\n")
    said = rayox("data", "convert", "data", "-o", "o.json", "--from", "yolo", "--to", "coco")
    assert said.exit_code == 3
    assert "data/labels/val0.txt:2  " in said.err
    assert "data/labels/val0.txt:3  class '7'" in said.err
    assert not Path("o.json").exists()


@pytest.mark.slow
def test_stats(rayox, data):
    said = rayox("data", "stats", "data/train.json", "-o", "stats.png", "--image-size", "64")
    assert said.exit_code == 0
    assert Path("stats.png").read_bytes().startswith(b"\x89PNG")
    assert "bright" in said.out
    result = rayox("data", "stats", "data/train.json", "--json").result
    assert (result["images"], result["boxes"], result["picture"]) == (20, 30, None)
    assert result["classes"][0].keys() == {"name", "boxes", "images"}
    assert result["sizes"] == {"small": 30, "medium": 0, "large": 0}


def test_stats_of_bad_input(rayox, data):
    for exit_code, *arguments in ((3, "gone.json"), (3, "data/images"), (2, "data/train.json", "-o", "a.txt")):
        said = rayox("data", "stats", *arguments, "--json")
        assert said.exit_code == exit_code
        assert said.result["error"]["hint"]
    assert rayox("data", "stats", "data/train.json", "-o", "gone/a.png").exit_code == 2


def test_help_lists_the_commands_without_importing_them():
    code = (
        "import sys; from rayox.cli import main; main(['data', '--help']);"
        "late = ('torch', 'ray', 'cv2', 'matplotlib', 'rayox.data_sets.data_check');"
        "print([name for name in late if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in ("check", "convert", "stats"):
        assert name in done.stdout


def test_a_small_file_is_checked_without_ray_or_torch(data):
    code = (
        "import sys; from rayox.cli import main;"
        "main(['data', 'check', 'data/train.json', '--images', 'data/images']);"
        "print([name for name in ('torch', 'ray', 'mlflow', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_addresses_that_are_none(rayox, data):
    for address in ("nosuch://bucket/images", "s3://"):
        said = rayox("data", "check", "data/train.json", "--images", address, "--json")
        assert said.exit_code == 3
        assert said.result["error"]["message"].startswith(f"{address}: no folder can be read there")


def test_unknown_commands(rayox):
    said = rayox("data", "chekc")
    assert said.exit_code == 2
    assert "chekc" in said.err
