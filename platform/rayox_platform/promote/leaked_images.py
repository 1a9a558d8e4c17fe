"""Images that a candidate was trained on and that the gate measures with: they make its AP too good."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rayox_model.core.errors import DataError
from rayox_platform.data.images import CocoImages
from rayox_platform.data.resolve import resolve_split
from rayox_platform.promote.candidate import Candidate


@dataclass(frozen=True)
class Leaks:
    """Images of the gate that are in the training set too, or why that cannot be told."""

    images: tuple[str, ...] = ()
    trained_on: int = 0  # images of the training set
    unknown: str = ""


def find_leaks(candidate: Candidate, images: CocoImages, state: Path) -> Leaks:
    """Compare the contents of all images of both sets."""
    annotations = candidate.setting("data.train.annotations")
    if annotations is None:
        return Leaks(unknown="what it was trained on is not known")
    try:
        _, training = resolve_split(annotations, candidate.setting("data.train.images"), state)
        ours, theirs = _digests(images), _digests(training)
    except DataError as error:
        return Leaks(unknown=error.message)
    return Leaks(tuple(images.where(ours[digest]) for digest in ours.keys() & theirs.keys()), len(training))


def _digests(images: CocoImages) -> Mapping[bytes, int]:
    return {images.source.digest(index): index for index in range(len(images))}
