"""Detections as records of a COCO results file, written as they come."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rayox_model.core.coco_classes import COCO_CLASSES, COCO_IDS
from rayox_model.core.samples import Detections


def category_ids(classes: Sequence[str]) -> tuple[int, ...]:
    """COCO's own ids for COCO's 80 classes; else 1, 2, 3 … in the order of the classes."""
    return COCO_IDS if tuple(classes) == COCO_CLASSES else tuple(range(1, len(classes) + 1))


def result_records(
    image_id: int, file_name: str, detections: Detections, classes: Sequence[str]
) -> Iterator[dict[str, object]]:
    """One record a detection (labels index `classes`), with the file's and the category's names beside their ids.

    Boxes are [x, y, width, height] and may reach past the image's edge, as the network gives them.
    """
    ids = category_ids(classes)
    for box, score, label in zip(*detections, strict=True):
        left, top, right, bottom = (float(value) for value in box)
        yield {
            "image_id": image_id,
            "category_id": ids[label],
            "bbox": [round(value, 3) for value in (left, top, right - left, bottom - top)],
            "score": round(float(score), 6),
            "file_name": file_name,
            "category": classes[label],
        }


class JsonList:
    """A file that grows into a JSON list, a record a line."""

    def __init__(self, file: TextIO) -> None:
        self.length = 0
        self._file = file

    def extend(self, records: Iterable[Mapping[str, object]]) -> None:
        for record in records:
            self._file.write(
                ("[\n" if self.length == 0 else ",\n") + json.dumps(record, ensure_ascii=False, allow_nan=False)
            )
            self.length += 1


@contextmanager
def json_list(path: Path) -> Iterator[JsonList]:
    """A JSON file that is there whole when the block is left without an error, and else not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    path.unlink(missing_ok=True)
    try:
        with draft.open("w", encoding="utf-8") as file:
            records = JsonList(file)
            yield records
            file.write("\n]\n" if records.length else "[]\n")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
