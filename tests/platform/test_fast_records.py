"""The fast reader of COCO files against the careful one: the same columns and notes, or none."""

import copy
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rayox_model.core.errors import DataError
from rayox_platform.data.coco import parse_coco, read_carefully
from rayox_platform.data.fast_records import Columns, read_columns


def random_coco(seed: int) -> dict:
    """Clean in all that matters, with everything optional there or not."""
    draw = random.Random(seed)
    image_ids = draw.sample(range(-50, 1000), draw.randint(1, 12))
    category_ids = draw.sample(range(100), draw.randint(1, 6))
    sizes = [{}, {"height": 40}, {"height": 0, "width": 7}, {"height": None, "width": None}]
    images = [
        {"id": number, "file_name": f"ä {number}.jpg"}
        | draw.choice([*sizes, {"height": 480, "width": 640}, {"height": 480, "width": 640}])
        for number in image_ids
    ]
    annotations = []
    for number in range(draw.randint(0, 40)):
        box = [draw.choice([0, -3, 5, 7.25, 1e-3, 2.5e3]) for _ in range(4)]
        record = {"id": draw.choice([number, 3]), "bbox": box, "segmentation": [[1, 2.5, "x", None, {"a": []}]]}
        record |= {"image_id": draw.choice(image_ids), "category_id": draw.choice(category_ids)}
        record |= draw.choice([{}, {"area": None}, {"area": 0}, {"area": 12.5}, {"area": 7}])
        record |= draw.choice([{}, {"iscrowd": None}, {"iscrowd": 0}, {"iscrowd": 1}])
        annotations.append(record)
    coco = {"images": images, "categories": [{"id": n, "name": f"c{n}", "x": 1} for n in category_ids], "info": {}}
    return coco | draw.choice([{"annotations": annotations}, {"annotations": annotations}, {}, {"annotations": None}])


def careful(content: bytes) -> tuple[Columns, Counter[str]] | DataError:
    notes: Counter[str] = Counter()
    try:
        return read_carefully(content, "x.json", notes), +notes
    except DataError as error:
        return error


def assert_same(ours: Columns, theirs: Columns) -> None:
    assert ours.classes == theirs.classes
    assert ours.category_ids == theirs.category_ids
    for mine, other in ((ours.images, theirs.images), (ours.annotations, theirs.annotations)):
        for name, values in vars(mine).items():
            expected = getattr(other, name)
            np.testing.assert_array_equal(values, expected)
            if isinstance(values, np.ndarray):
                assert values.dtype == expected.dtype
                assert np.array_equal(np.signbit(values), np.signbit(expected)) or values.dtype == bool


def compare(content: bytes) -> bool:
    """Whether the fast reader read it, after checking that the careful one agrees."""
    notes: Counter[str] = Counter({"before": 1})
    fast, slow = read_columns(content, notes), careful(content)
    if fast is None:
        assert notes == {"before": 1}
        return False
    assert not isinstance(slow, DataError), slow
    assert_same(fast, slow[0])
    assert +notes == slow[1] + Counter({"before": 1})
    return True


@pytest.mark.parametrize("seed", range(60))
def test_clean_files_are_read_and_the_same(seed):
    assert compare(json.dumps(random_coco(seed), ensure_ascii=seed % 2 == 0).encode())


VALUES = [None, True, False, -1, 0, 1, 2, 1.0, 1.5, "1", "", "x", [], {}, [1, 2, 3, 4], [1, 2, 3], [1, 2, 3, "4"]]
VALUES += [10**7, 10**15, 2**63, -(2**63), 10**30, 1e308, float("nan"), float("inf"), "\ud800", "a\nb", "\0"]


@pytest.mark.parametrize("key", ["images", "annotations", "categories", None])
def test_after_any_change_of_a_field_it_agrees_or_gives_up(key):
    coco = next(one for one in map(random_coco, range(100)) if len(one.get("annotations") or []) > 2)
    read = 0
    for field in {name for record in coco[key] for name in record} if key else coco:
        for value in VALUES:
            changed = copy.deepcopy(coco)
            (changed[key][-1] if key else changed)[field] = value
            read += compare(json.dumps(changed).encode())
    assert read > 5


ODD = {
    "utf-8 with a mark": b"\xef\xbb\xbf{...}",
    "utf-16": "{...}".encode("utf-16"),
    "spaces": b" \n{...}\t ",
    "more behind": b"{...} {}",
    "a comment": b"/* x */ {...}",
    "no utf-8 in a text nobody reads": b'{...,"info": "\xff"}',
    "a lone surrogate in a text nobody reads": b'{...,"info": "\xed\xa0\x80"}',
    "half a letter at the end of a text": b'{...,"info": "\xc3"}',
    "NaN in a field nobody reads": b'{...,"info": NaN}',
    "deep nesting": b'{...,"info": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "images twice, the last counts": b'{"images": [],...}',
    "images twice, the last is none": b'{...,"images": []}',
    "cut short": b"{...",
    "nothing": b"",
}


@pytest.mark.parametrize("what", ODD)
def test_odd_json_agrees_or_is_left_to_the_careful_reader(what):
    coco = json.dumps(random_coco(1), ensure_ascii=False)
    wide = what == "utf-16"
    content = coco.encode("utf-16") if wide else ODD[what].replace(b"{...", coco.encode()[:-1])
    compare(content)


@pytest.mark.slow
def test_the_shared_files_agree(shared_data: Path):
    paths = [*shared_data.glob("edge/json/*.json"), *shared_data.glob("*/annotations/*.json")]
    assert len(paths) > 40
    read = {path.name for path in paths if compare(path.read_bytes())}
    assert {"base.json", "instances_train2017.json", "instances_val2017.json", "annotations_absent.json"} <= read
    assert "nan_bbox.json" not in read


def test_ids_as_text_and_fractions_are_read_all_the_same():
    coco = random_coco(5)
    expected = parse_coco(json.dumps(coco).encode(), "x.json")
    for image in coco["images"]:
        image["id"] = str(image["id"])
    for category in coco["categories"]:
        category["id"] = float(category["id"])
    content = json.dumps(coco).encode()
    assert read_columns(content, Counter()) is None
    assert parse_coco(content, "x.json").image_ids.tolist() == expected.image_ids.tolist()
    assert parse_coco(content, "x.json").category_ids.tolist() == expected.category_ids.tolist()
