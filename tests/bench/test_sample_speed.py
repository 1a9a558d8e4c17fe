"""Making training samples against the official code, one core each: all timed in turn in one run, ratios compared.

Both read JPEGs from the same folder, nothing is cached but by the kernel. Seconds are of processor time.
"""

import json
import sys
from pathlib import Path
from statistics import median

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
COPIES = 10  # of 59 photos, each a file of its own
WARM_UP, ROUNDS, COUNT = 1, 11, 32
TARGETS = {
    ("mosaic+mixup", 640): {"dataset": 2.7, "window": 4.0},
    ("mosaic", 416): {"dataset": 1.5, "window": 2.8},
}


@pytest.fixture
def photos(shared_data: Path, tmp_path: Path) -> Path:
    """590 files of COCO's size (640×480, 156 KB on average), laid out as the official code wants them."""
    source = shared_data / "coco_dev"
    coco = json.loads((source / "annotations" / "instances_train2017.json").read_text())
    images, annotations = [], []
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train2017").mkdir()
    for copy in range(COPIES):
        for image in coco["images"]:
            name = f"{copy}_{image['file_name']}"
            (tmp_path / "train2017" / name).symlink_to(source / "train2017" / image["file_name"])
            images.append(image | {"id": image["id"] * COPIES + copy, "file_name": name})
        for annotation in coco["annotations"]:
            changed = {"id": len(annotations) + 1, "image_id": annotation["image_id"] * COPIES + copy}
            annotations.append({**annotation, **changed, "segmentation": []})
    (tmp_path / "annotations" / "instances_train2017.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": coco["categories"]})
    )
    return tmp_path


@pytest.mark.bench
@pytest.mark.parametrize(("kind", "side"), TARGETS)
def test_samples_are_made_several_times_faster_than_by_the_official_code(
    oracle_python: str, start, photos: Path, kind: str, side: int
) -> None:
    official = start(oracle_python, HERE / "oracle_samples.py", "time", photos, str(side), kind, str(COUNT))
    ours = {
        name: start(sys.executable, HERE / "rayox_samples.py", photos, str(side), kind, name, str(COUNT))
        for name in ("dataset", "window", "floor")
    }
    for _ in range(WARM_UP + ROUNDS):
        for runner in (official, *ours.values()):
            runner.run()
    theirs = np.array(official.answers[WARM_UP:])[:, 0]
    print(f"\n{kind}, {side} px, {ROUNDS} rounds of {COUNT} samples: milliseconds of processor time a sample")
    print(f"{'official':10} {median(theirs) / COUNT * 1000:6.1f} ms")
    ratios = {}
    for name, runner in ours.items():
        seconds, decoded = np.array(runner.answers[WARM_UP:]).T
        low, ratios[name], high = np.quantile(theirs / seconds, (0.25, 0.5, 0.75))
        print(
            f"{name:10} {median(seconds) / COUNT * 1000:6.1f} ms  {ratios[name]:5.2f} times as fast "
            f"(quartiles {low:.2f} to {high:.2f}), {decoded.mean() / COUNT:.2f} images decoded a sample"
        )
    for name, target in TARGETS[kind, side].items():
        assert ratios[name] >= target, name
