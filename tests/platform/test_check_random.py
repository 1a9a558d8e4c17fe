"""Defects drawn at random: checking never fails, and agrees with reading for training and with mending."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from rayox_model.core.errors import DataError
from rayox_platform.data.check.checker import CheckSettings, check_document, check_file
from rayox_platform.data.check.fast import read_fast
from rayox_platform.data.check.files import ImageFolder, look_with_threads, remembered
from rayox_platform.data.check.findings import Findings
from rayox_platform.data.check.mend import mend_file
from rayox_platform.data.check.reading import Document, read_leniently
from rayox_platform.data.coco import read_coco

JUNK: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    2**63,
    10**30,
    1.5,
    7.0,
    1e308,
    "",
    "3",
    " ",
    "x" * 300,
    "\ud800",
    "\0",
]
JUNK += [float("nan"), float("inf"), "../x", "/etc", [], [1], [[]], [1, 2, 3, 4], ["1", "2", "3", "4"], [None] * 4, {}]
JUNK += [{"counts": [1], "size": [1, 1]}, [[10**400] * 6], [0, 0, 0.5, 0.5], [-5, -5, 1e6, 1e6], [1e9] * 4, {"a": 1}]
NOT_MENDED = {"invalid-category-id", "duplicate-category-id", "invalid-category-name", "duplicate-category-name"}
NOT_MENDED |= {"duplicate-image-id", "duplicate-file-name", "boxes-leave-images", "boxes-are-fractions"}


def spoil(coco: dict[str, Any], draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        section = draw.choice(("images", "annotations", "annotations", "categories"))
        records = coco[section]
        if not isinstance(records, list) or draw.random() < 0.03:
            coco[section] = draw.choice(JUNK)
            continue
        place = draw.randrange(len(records))
        if draw.random() < 0.05:
            records[place] = draw.choice(JUNK)
        elif draw.random() < 0.05:
            records.append(draw.choice(records))
        elif isinstance(records[place], dict) and records[place]:
            records[place][draw.choice(list(records[place]))] = draw.choice(JUNK)


def errors(findings: list) -> set[str]:
    return {found.code for found in findings if found.severity == "error"}


@pytest.mark.parametrize("seed", range(6))
def test_random_defects(toy_data, tmp_path, seed):
    draw, look = random.Random(seed), remembered(look_with_threads)
    settings = CheckSettings(folder=ImageFolder(str(toy_data / "images")), depth="header")
    path, output = tmp_path / "a.json", tmp_path / "b.json"
    for _ in range(25):
        coco = json.loads((toy_data / "train.json").read_text())
        spoil(coco, draw)
        path.write_text(json.dumps(coco))
        found = check_file(path, settings, look)[0]
        "".join(finding.where + finding.detail for finding in found).encode()
        if refused_by_training(path):
            assert errors(found)
        try:
            left = errors(mend_file(path, output, settings, look).left)
            assert left <= errors(found) & NOT_MENDED
        except DataError:
            assert errors(found)
        top = read_fast(path.read_bytes())
        if top is not None:
            assert findings_of(Document(top), look) == findings_of(read_leniently(path, Findings()), look)


def refused_by_training(path: Path) -> bool:
    try:
        read_coco(path)
    except DataError:
        return True
    return False


def findings_of(document: Document | None, look: Any) -> list:
    assert document is not None
    findings = Findings()
    check_document(document, CheckSettings(), look, findings)
    return findings.all()


def test_random_bytes(toy_data, tmp_path):
    draw, content = random.Random(0), (toy_data / "train.json").read_bytes()
    path = tmp_path / "a.json"
    for _ in range(150):
        changed = bytearray(content[: draw.randrange(10, len(content))] if draw.random() < 0.3 else content)
        for _ in range(draw.randrange(1, 4)):
            changed[draw.randrange(len(changed))] = draw.choice((0, 34, 44, 123, 125, 255, 101))
        path.write_bytes(changed)
        found = check_file(path, CheckSettings(), look_with_threads)[0]
        if refused_by_training(path):
            assert errors(found)
