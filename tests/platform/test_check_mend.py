"""Mended copies: what leaves no choice is repaired, all else stays, and the file itself is never touched."""

import copy
import json

import numpy as np
import pytest
from checked import LOOK, check, codes, written
from spoiled_coco import SPOILED, clean_coco, spoiled

from rayox_model.core.errors import ConfigError, DataError
from rayox_platform.data.check.finding_kinds import KIND_OF, KINDS
from rayox_platform.data.check.mend import HOW, mend_file
from rayox_platform.data.coco import read_coco

STAYS = {  # nobody but its maker can say what is right
    "category id absent",
    "category id null",
    "category id true",
    "category id 7.5",
    "category id beyond 64 bits",
    "category id twice",
    "category name absent",
    "category name a number",
    "category name empty",
    "category name blank",
    "category name twice",
    "one box of fractions",
    "boxes of a larger image",
    "image id twice",
    "all crowd",
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_mended_copy_has_no_errors_left(tmp_path, check_settings, name):
    path, output = written(tmp_path / "a.json", spoiled(name)), tmp_path / "out.json"
    before = path.read_bytes()
    errors = {found.code for found in check(path, check_settings) if found.severity == "error"}
    if errors & {"no-images", "no-categories", "malformed-section", "not-coco"}:
        with pytest.raises(DataError, match="cannot be mended"):
            mend_file(path, output, check_settings, LOOK)
        assert not output.exists()
        return
    mended = mend_file(path, output, check_settings, LOOK)
    left = check(output, check_settings)
    assert left == mended.left
    assert not codes(left) & mended.fixed.keys()
    assert path.read_bytes() == before
    left_errors = {found.code for found in left if found.severity == "error"}
    assert left_errors <= errors
    assert bool(left_errors) == (name in STAYS)
    if not left_errors:
        read_coco(output)


@pytest.mark.parametrize("name", ["corners", "centers", "fractions", "fractions of centers", "fractions of corners"])
def test_other_forms_become_the_boxes_they_were(tmp_path, check_settings, name):
    path, output = written(tmp_path / "a.json", spoiled(name)), tmp_path / "out.json"
    mend_file(path, output, check_settings, LOOK)
    boxes = [record["bbox"] for record in json.loads(output.read_text())["annotations"]]
    np.testing.assert_allclose(boxes, [record["bbox"] for record in clean_coco()["annotations"]], atol=2e-4)


def test_a_mended_copy_keeps_all_that_was_right(tmp_path, check_settings):
    coco = clean_coco() | {"info": {"year": 2026}}
    coco["annotations"][3]["attributes"] = {"occluded": True}
    expected = copy.deepcopy(coco)
    coco["annotations"][10]["bbox"] = [60, 5, 10, 20]
    expected["annotations"][10] |= {"bbox": [60.0, 5.0, 4.0, 20.0], "area": 80.0}
    output = tmp_path / "out.json"
    mended = mend_file(written(tmp_path / "a.json", coco), output, check_settings, LOOK)
    assert json.loads(output.read_text()) == expected
    assert mended.fixed == {"box-past-edge": "clipped"}


def test_mending_never_overwrites_the_file(tmp_path, check_settings):
    path = written(tmp_path / "a.json", clean_coco())
    (tmp_path / "link.json").symlink_to(path)
    for output in (path, tmp_path / "link.json", tmp_path / "b" / ".." / "a.json", tmp_path):
        (tmp_path / "b").mkdir(exist_ok=True)
        with pytest.raises(ConfigError):
            mend_file(path, output, check_settings, LOOK)
    assert json.loads(path.read_text()) == clean_coco()


def test_what_can_be_mended_is_a_kind():
    assert HOW.keys() <= KIND_OF.keys()
    assert len(KIND_OF) == len(KINDS)
