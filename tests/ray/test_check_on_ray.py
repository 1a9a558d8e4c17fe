"""Looking at images as Ray tasks gives what looking with threads gives."""

import json

import cv2
import numpy as np
import pytest

from rayox_platform.data.check.checker import CheckSettings, check_file
from rayox_platform.data.check.files import ImageFolder, look_with_ray, look_with_threads

pytestmark = pytest.mark.ray


def test_ray_sees_what_threads_see(cluster, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(20):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 255, (20, 30, 3), dtype=np.uint8))
    (tmp_path / "3.png").write_bytes(b"none")
    (tmp_path / "5.png").write_bytes((tmp_path / "4.png").read_bytes())
    names = [f"{number % 24}.png" for number in range(600)]  # three tasks; 20 to 23 are missing
    folder, seen = ImageFolder(str(tmp_path)), []
    on_ray = look_with_ray(folder, names, "decode", lambda done, total: seen.append((done, total)))
    assert on_ray == look_with_threads(folder, names, "decode")
    assert [fact.missing for fact in on_ray[:24]] == [False] * 20 + [True] * 4
    assert seen[-1] == (600, 600)

    images = [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 30} for i in range(24)]
    coco = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "a.json").write_text(json.dumps(coco))
    found, _ = check_file(tmp_path / "a.json", CheckSettings(folder=folder), look_with_ray)
    assert {finding.code: finding.count for finding in found} == {
        "missing-image-file": 4,
        "unreadable-image": 1,
        "duplicate-image": 1,
        "no-annotations": 1,
    }
