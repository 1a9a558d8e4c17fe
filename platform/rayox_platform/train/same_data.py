"""Whether the data of a resumed run or campaign is what it began with, by fingerprint, wherever the files lie now.

The run's storage has `fingerprint.json`: of each split the digest of its annotations from the start on, that of its
images once they have all been read.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from rayox_model.core.errors import DataError
from rayox_platform.config.tree import Config, Split
from rayox_platform.data.fingerprint import annotations_digest, fingerprint
from rayox_platform.data.images import CocoImages
from rayox_platform.runs.data_record import DataRecord, read_data_record
from rayox_platform.storage.errors import storage_errors
from rayox_platform.storage.folders import Folder

HINT = "bring back the data it began with, or start again under another --name"


class Home(Protocol):
    """Of a run or of a campaign."""

    @property
    def name(self) -> str: ...

    @property
    def shared(self) -> Folder: ...


def check_same_data(home: Home, began: Mapping[str, Any], config: Config, images: Mapping[str, CocoImages]) -> None:
    """Raise DataError for a split whose annotations are others, or whose images are, if it lies elsewhere now.

    began are the settings of the newest checkpoint, or those that a campaign had. Images that lie where they did are
    not read again.
    """
    with storage_errors(str(home), "read"):
        kept = read_data_record(home.shared)
    for split, of_split in images.items():
        before, now = Split.model_validate(began["data"][split]), getattr(config.data, split)
        moved = now != before
        if split in kept:
            _compare(home.name, split, kept[split], of_split, moved)
        elif moved:
            raise DataError(
                f"data.{split}: {home.name} began with {before.annotations}; no fingerprint of it was kept, so "
                f"{now.annotations} cannot be compared with it",
                "put the data where it was, or start again under another --name",
            )


def _compare(name: str, split: str, kept: DataRecord, images: CocoImages, moved: bool) -> None:
    now = annotations_digest(images.dataset)
    if now != kept.annotations:
        raise DataError(
            f"data.{split}: the annotations {images.dataset.source} are not those that {name} began with "
            f"(fingerprint {kept.annotations[:12]}, now {now[:12]})",
            HINT,
        )
    if moved and kept.images and fingerprint(images).images != kept.images:
        raise DataError(
            f"data.{split}: the images of {images.dataset.source} ({images.where(0)} …) are not those that {name} "
            "began with, though their annotations are",
            HINT,
        )
