"""From what a user writes as a split ("shapes:train", a COCO file and its images, shards) to annotations and images."""

import posixpath
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rayox_model.core.errors import DataError
from rayox_platform.data.coco import CocoDataset
from rayox_platform.data.images import CocoImages
from rayox_platform.data.index import load_coco
from rayox_platform.data.names import FileNames
from rayox_platform.data.records import NAME_FROM_URL
from rayox_platform.data.shapes import SPLITS, shapes_folder
from rayox_platform.data.shards import is_sharded, open_shards, shard_source
from rayox_platform.data.source import ImageSource, folder_source
from rayox_platform.storage.folders import is_remote, open_folder


def resolve_split(
    annotations: str, images: str | None, state: Path, progress: Callable[[int, int], None] | None = None
) -> tuple[CocoDataset, CocoImages]:
    """Read a split; "shapes:train" and "shapes:val" are rendered under `state` on first use, telling `progress`.

    Annotations and images may lie on an object store; a folder of shards may stand for either, or for both.
    Raises DataError for a file, a split, a folder or an image that is not there, and whatever reading the file refuses.
    """
    if annotations.startswith("shapes:"):
        return _shapes(annotations.removeprefix("shapes:"), state, progress)
    if is_sharded(annotations):
        found = open_shards(open_folder(_anywhere(annotations)))
        if images is None or images == annotations:
            return found.dataset, found
        dataset = found.dataset
    else:
        dataset = load_coco(annotations, state / "cache")
    where = _beside(annotations, dataset) if images is None else images
    dataset = _named_as_in(where, dataset)
    found = CocoImages(dataset, open_source(dataset, where))
    return found.dataset, found


def open_source(dataset: CocoDataset, images: str | Path) -> ImageSource:
    """A data set's images in a folder, a bucket or shards. Raises DataError, with its address, if one is missing."""
    where = _anywhere(str(images))
    if is_sharded(where):
        return shard_source(open_folder(where), dataset)
    source = folder_source(dataset.file_names, where, dataset.source)
    missing = source.missing()
    if missing:  # found now, not hours later
        raise DataError(
            f"{dataset.source}: {len(missing)} of its {len(dataset)} images are missing; "
            f"the first: {source.where(missing[0])}",
            "Check the folder of images, or take them out of the annotations. "
            "`rayox data check FILE --images DIR --fix OUT` writes names as the files have them.",
        )
    return source


def _named_as_in(images: str | Path, dataset: CocoDataset) -> CocoDataset:
    """Names taken from addresses without their folder, where the images lie in that folder itself."""
    where = _anywhere(str(images))
    if NAME_FROM_URL not in dataset.notes or is_sharded(where):
        return dataset
    folder, names = open_folder(where), list(dataset.file_names)
    with suppress(OSError):  # opening the images will say it
        for index in folder.absent(names):
            names[index] = posixpath.basename(names[index])
        if len(set(names)) == len(names) and not folder.absent(names):
            return replace(dataset, file_names=FileNames.of(names))
    return dataset


def _anywhere(address: str) -> str:
    """Whole, as training workers have working folders of their own."""
    return address if "://" in address else str(Path(address).expanduser().absolute())


def _shapes(split: str, state: Path, progress: Callable[[int, int], None] | None) -> tuple[CocoDataset, CocoImages]:
    if split not in SPLITS:
        raise DataError(
            f"shapes has no split '{split}'", f"It has {' and '.join(f'shapes:{name}' for name in SPLITS)}."
        )
    folder = shapes_folder(state, progress)
    dataset = load_coco(folder / "annotations" / f"{split}.json", state / "cache")
    found = CocoImages(dataset, open_source(dataset, folder / split))
    return found.dataset, found


def _beside(annotations: str, dataset: CocoDataset) -> Path:
    """The folder of images that belongs to an annotation file by custom: the first that holds the first image.

    Tried are, beside the file and beside its folder: the split (`val2017` for `instances_val2017.json`), `images/`
    with and without the split, and the folder itself.
    """
    hint = "Name their folder: data.train.images=… or data.val.images=…."
    if is_remote(annotations):
        raise DataError(f"{annotations}: the folder of its images is not given", hint)
    path = Path(annotations).expanduser()
    split = path.stem.removeprefix("instances_").removeprefix("_annotations.coco")
    names = [name for name in (split, f"images/{split}", "images", ".") if name]
    candidates = [parent / name for parent in (path.parent, path.parent.parent) for name in names]
    for folder in candidates:
        if (folder / dataset.file_names[0]).is_file():
            return folder
        if NAME_FROM_URL in dataset.notes and (folder / Path(dataset.file_names[0]).name).is_file():
            return folder
    tried = ", ".join(str(folder) for folder in candidates)
    raise DataError(f"{path}: its images are not beside it (looked for {dataset.file_names[0]} in {tried})", hint)
