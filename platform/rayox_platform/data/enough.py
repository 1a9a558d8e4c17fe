"""Whether a split has what training and evaluating need: boxes to learn from, boxes to find."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from rayox_model.core.errors import DataError
from rayox_platform.data.coco import CocoDataset


def refuse_unfit(train: CocoDataset, val: CocoDataset) -> None:
    """Raises DataError for splits that no training could use together."""
    if train.classes != val.classes:
        raise DataError(
            f"{val.source}: its classes {', '.join(val.classes)} are not those of {train.source}: "
            f"{', '.join(train.classes)}",
            "give both files the same categories",
        )
    refuse_nothing_to_train(train)


def refuse_nothing_to_train(dataset: CocoDataset) -> None:
    """Raises DataError for a split without a single box that training would take."""
    if dataset.trainable.any():
        return
    if not len(dataset.labels):
        raise DataError(
            f"{dataset.source}: nothing to train on: it has no annotations",
            "name the annotated split; a test set has images alone",
        )
    raise DataError(
        f"{dataset.source}: nothing to train on: of {_counted(len(dataset.labels), 'annotation')} {_why(dataset)}",
        "crowds (iscrowd 1) stand for groups and are never trained: set iscrowd 0 on single objects; "
        "`rayox data check` finds the rest",
    )


def nothing_to_learn(dataset: CocoDataset) -> list[str]:
    """A line for each class that has annotations, but none that training would take."""
    written = _by_class(dataset, np.ones(len(dataset.labels), np.bool_))
    trained = _by_class(dataset, dataset.trainable)
    crowds = _by_class(dataset, dataset.iscrowd)
    lines = []
    for label in np.flatnonzero((written > 0) & (trained == 0)):
        kind = "crowds" if crowds[label] == written[label] else "crowds or without area in their image"
        lines.append(
            f"{dataset.source}: class {dataset.classes[label]!r} cannot be learned: its "
            f"{_counted(int(written[label]), 'annotation')} are {kind}"
        )
    return lines


def nothing_to_find(dataset: CocoDataset) -> str | None:
    """Why an evaluation on this split has no AP: no annotation, or crowds alone; None where it has one."""
    if not dataset.iscrowd.all():
        return None
    what = f"all its {_counted(len(dataset.labels), 'annotation')} are crowds" if len(dataset.labels) else "no boxes"
    return f"{dataset.source}: {what}: nothing to find, so there is no AP"


def has_boxes(dataset: CocoDataset, indices: Sequence[int]) -> bool:
    """Whether there is anything to find in these of its images."""
    return any(not dataset.iscrowd[dataset.offsets[one] : dataset.offsets[one + 1]].all() for one in indices)


def _by_class(dataset: CocoDataset, rows: np.ndarray) -> Int64[np.ndarray, "C"]:
    return np.bincount(dataset.labels[rows], minlength=len(dataset.classes)).astype(np.int64)


def _why(dataset: CocoDataset) -> str:
    crowds = int(dataset.iscrowd.sum())
    rest = len(dataset.labels) - crowds
    parts = [f"{crowds} are crowds"] if crowds else []
    return " and ".join([*parts, *([f"{rest} have no area within their image"] if rest else [])])


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
