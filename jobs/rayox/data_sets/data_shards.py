"""`rayox data shard` and `rayox data verify`: a data set in a few large files, and whether they are still whole."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING

import click

from rayox.config import load_recipe
from rayox.terminal.console import Console, json_option
from rayox.terminal.progress import progress_of, progress_of_data
from rayox_model.core.errors import ConfigError

if TYPE_CHECKING:
    from rayox_platform.data.images import CocoImages

DATA_FAULT = 3  # the exit code of faulty data


@dataclass(frozen=True)
class ShardResult:
    """What was written."""

    output: str
    images: int
    annotations: int
    shards: int
    bytes: int


@dataclass(frozen=True)
class VerifyResult:
    """Whether shards are what was written, and what is not."""

    ok: bool
    faults: tuple[Mapping[str, str], ...]  # of each file: name, what
    images: int
    files: int
    bytes: int


@click.command("shard")
@click.argument("recipe", required=False)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--split", type=click.Choice(["train", "val"]), default="train", help="Which data of the recipe.")
@click.option("--annotations", metavar="FILE", help="COCO annotation file, instead of a recipe.")
@click.option("--images", metavar="DIR", help="Folder or bucket of its images.")
@click.option("-o", "--output", required=True, metavar="OUT", help="Empty or new folder, s3:// or gs:// prefix.")
@click.option(
    "--shard-megabytes", type=click.IntRange(min=1), default=192, show_default=True, help="Images' bytes in a shard."
)
@json_option
def shard(
    recipe: str | None,
    overrides: tuple[str, ...],
    split: str,
    annotations: str | None,
    images: str | None,
    output: str,
    shard_megabytes: int,
    as_json: bool,
) -> None:
    """Copy a data set into Parquet shards that train from a disk or an object store alike.

    Of a RECIPE (its training data, or --split val), or of --annotations and --images; a FILE.json in RECIPE's place is
    taken for --annotations. The images' bytes stay as they
    are, and training samples stay the same to the last bit. OUT then stands for both data.train.annotations and
    data.train.images. It is complete or no data set: after an interruption the same command starts anew.
    """
    console = Console(as_json)
    result = shard_data(_images(recipe, overrides, split, annotations, images), output, shard_megabytes * 1_000_000)
    shards = f"{result.shards} shard{'' if result.shards == 1 else 's'}"
    console.text(
        f"{result.images} images with {result.annotations} annotations in {shards} "
        f"({result.bytes / 1e6:.1f} MB): {result.output}"
    )
    console.result(asdict(result))


@click.command("verify")
@click.argument("out")
@json_option
def verify(out: str, as_json: bool) -> None:
    """Read every file of the shards in OUT and name what is missing, cut short, changed or does not belong there.

    Exit code 3 if anything is wrong.
    """
    console = Console(as_json)
    result = verify_data(out)
    if result.ok:
        console.text(f"{out}: all {result.files} files are whole ({result.images} images, {result.bytes / 1e6:.1f} MB)")
    else:
        console.table(("file", "fault"), [(fault["name"], fault["what"]) for fault in result.faults])
        console.note(f"{out}: {len(result.faults)} faults; copy the named files again, or make the shards anew")
    console.result(asdict(result))
    if not result.ok:
        raise click.exceptions.Exit(DATA_FAULT)


def shard_data(images: "CocoImages", output: str, shard_bytes: int) -> ShardResult:
    """Write the shards. Raises ConfigError if OUT is not empty, DataError for what cannot be read or written."""
    from rayox_platform.data.shard_writer import write_shards
    from rayox_platform.storage.folders import open_folder

    out = open_folder(output)
    with progress_of("shard") as show:
        manifest = write_shards(images, out, shard_bytes, show)
    num_bytes = sum(file.num_bytes for file in manifest.files)
    return ShardResult(str(out), manifest.num_images, manifest.num_annotations, len(manifest.shards), num_bytes)


def verify_data(out: str) -> VerifyResult:
    """Check every file. Raises DataError if OUT has no manifest, or a damaged one."""
    from rayox_platform.data.shard_check import verify_shards
    from rayox_platform.storage.folders import open_folder

    with progress_of("verify", unit="MB") as show:
        manifest, faults = verify_shards(
            open_folder(out), lambda done, total: show(ceil(done / 1e6), ceil(total / 1e6))
        )
    found = tuple(asdict(fault) for fault in faults)
    num_bytes = sum(file.num_bytes for file in manifest.files)
    return VerifyResult(not found, found, manifest.num_images, len(manifest.files), num_bytes)


def _images(
    recipe: str | None, overrides: tuple[str, ...], split: str, annotations: str | None, images: str | None
) -> "CocoImages":
    from rayox_platform.data.resolve import resolve_split
    from rayox_platform.storage.state import state_folder

    if recipe is not None and recipe.endswith(".json") and annotations is None and not overrides:
        recipe, annotations = None, recipe  # as `rayox data check` takes it
    if (recipe is None) == (annotations is None):
        raise ConfigError("give a RECIPE or --annotations FILE (with --images DIR), one of the two", "see --help")
    if recipe is not None:
        if images is not None:
            raise ConfigError("--images goes with --annotations", "a RECIPE has data.train.images=… for it")
        loaded = load_recipe(recipe, overrides)
        loaded.require(f"data.{split}.annotations")
        chosen = loaded.config.data.train if split == "train" else loaded.config.data.val
        annotations, images = chosen.annotations, chosen.images
    with progress_of_data() as drawing:
        _, found = resolve_split(str(annotations), images, state_folder(), drawing)
    return found
