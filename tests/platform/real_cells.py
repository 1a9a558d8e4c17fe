"""A data set of real photos in every clone: the twelve of tests/data/rbc_wbc, again and again under other names."""

import json
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "data" / "rbc_wbc"
NUM_IMAGES = 210


def write_cells(folder: Path) -> None:
    """annotations/instances_train.json and images/: no two files have the same bytes, as a comment tells them apart."""
    coco = json.loads((SOURCE / "annotations/instances_val.json").read_text())
    annotations_of = {image["id"]: [] for image in coco["images"]}
    for annotation in coco["annotations"]:
        annotations_of[annotation["image_id"]].append(annotation)
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    for number in range(NUM_IMAGES):
        image = coco["images"][number % len(coco["images"])]
        name = f"{number:03d}-{image['file_name']}"
        content = (SOURCE / "images" / image["file_name"]).read_bytes()
        (folder / "images" / name).write_bytes(content[:2] + b"\xff\xfe\x00\x06%04d" % number + content[2:])
        images.append(image | {"id": number, "file_name": name})
        for annotation in annotations_of[image["id"]]:
            annotations.append(annotation | {"id": len(annotations), "image_id": number})
    (folder / "annotations").mkdir()
    whole = json.dumps(coco | {"images": images, "annotations": annotations})
    (folder / "annotations" / "instances_train.json").write_text(whole)
