"""From what a user writes as a split ("shapes:train", or a COCO file and a folder) to its annotations and images."""

import os
from collections.abc import Callable
from pathlib import Path

from rayox_model.errors import DataError

from .coco import CocoDataset, read_coco
from .images import FolderImages
from .shapes import SPLITS, shapes_folder


def resolve_split(
    annotations: str, images: str | None, state: Path, progress: Callable[[int, int], None] | None = None
) -> tuple[CocoDataset, FolderImages]:
    """Read a split; "shapes:train" and "shapes:val" are rendered under `state` on first use, telling `progress`.

    Raises DataError for a file, a split, a folder or an image that is not there, and whatever reading the file refuses.
    """
    if annotations.startswith("shapes:"):
        return _shapes(annotations.removeprefix("shapes:"), state, progress)
    path = Path(annotations).expanduser()
    dataset = read_coco(path)
    folder = Path(images).expanduser() if images is not None else _beside(path, dataset)
    found = FolderImages(dataset, folder)
    _refuse_missing(found)
    return found.dataset, found


def _refuse_missing(images: FolderImages) -> None:
    """Find now what a training would only meet hours later."""
    missing = [path for path in map(images.path, range(len(images))) if not os.path.isfile(path)]
    if missing:
        raise DataError(
            f"{images.dataset.source}: {len(missing)} of its {len(images)} images are missing; the first: {missing[0]}",
            "Check the folder of images, or take them out of the annotations.",
        )


def _shapes(split: str, state: Path, progress: Callable[[int, int], None] | None) -> tuple[CocoDataset, FolderImages]:
    if split not in SPLITS:
        raise DataError(
            f"shapes has no split '{split}'", f"It has {' and '.join(f'shapes:{name}' for name in SPLITS)}."
        )
    folder = shapes_folder(state, progress)
    found = FolderImages(read_coco(folder / "annotations" / f"{split}.json"), folder / split)
    return found.dataset, found


def _beside(path: Path, dataset: CocoDataset) -> Path:
    """The folder of images that belongs to an annotation file by custom: the first that holds the first image.

    Tried are, beside the file and beside its folder: the split (`val2017` for `instances_val2017.json`), `images/`
    with and without the split, and the folder itself.
    """
    split = path.stem.removeprefix("instances_").removeprefix("_annotations.coco")
    names = [name for name in (split, f"images/{split}", "images", ".") if name]
    candidates = [parent / name for parent in (path.parent, path.parent.parent) for name in names]
    for folder in candidates:
        if (folder / dataset.file_names[0]).is_file():
            return folder
    tried = ", ".join(str(folder) for folder in candidates)
    raise DataError(
        f"{path}: its images are not beside it (looked for {dataset.file_names[0]} in {tried})",
        "Name their folder: data.train.images=… or data.val.images=….",
    )
