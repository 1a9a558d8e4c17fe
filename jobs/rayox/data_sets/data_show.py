"""`rayox data show`: the very images that a training step sees, or what becomes of one image."""

from dataclasses import dataclass
from pathlib import Path

import click

from rayox.config import load_recipe
from rayox.terminal.console import Console, json_option
from rayox.terminal.progress import progress_of_data
from rayox_model.core.errors import ConfigError
from rayox_platform.config.tree import Config

EPOCHS = 7  # of one image beside itself
COLUMNS = 4


@dataclass(frozen=True)
class ShowResult:
    """What is on the picture, sample by sample."""

    picture: str
    samples: tuple[dict[str, object], ...]  # epoch, position in it, image, file name, boxes


@click.command("show")
@click.argument("recipe", required=False)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--run", help="A run, instead of a recipe: with the settings it began with.")
@click.option("--step", type=click.IntRange(0), help="Draw the batch that this step (from 0) sees.")
@click.option(
    "--index", type=click.IntRange(0), help="Draw this image of the data set and its samples, epoch by epoch."
)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("show.jpg"))
@json_option
def command(
    recipe: str | None,
    overrides: tuple[str, ...],
    run: str | None,
    step: int | None,
    index: int | None,
    output: Path,
    as_json: bool,
) -> None:
    """Draw what training sees: a step's whole batch (--step) or what becomes of one image (--index).

    The samples of a RECIPE, or of a --run, are made again from its settings: the same to the last bit, whatever
    workers made them then. Each is drawn with the boxes it is trained on.
    """
    if (step is None) == (index is None):
        raise click.UsageError("give --step N or --index I, one of the two")
    if run is not None and recipe is not None and "=" in recipe:
        overrides, recipe = (recipe, *overrides), None
    if (recipe is None) == (run is None):
        raise click.UsageError("give a RECIPE or --run NAME, one of the two")
    console = Console(as_json)
    result = show(_config(recipe, overrides, run), step, index, output)
    console.table(
        ("epoch", "position", "image", "file", "boxes"),
        [tuple(sample.values()) for sample in result.samples],
    )
    console.text(f"picture  {result.picture}")
    console.result({"picture": result.picture, "samples": result.samples})


def show(config: Config, step: int | None, index: int | None, output: Path) -> ShowResult:
    """Draw a step's batch, or an image and its samples. Raises ConfigError or DataError."""
    import cv2

    from rayox_platform.data.draw import contact_sheet, draw_boxes
    from rayox_platform.data.look import draw_sample, image_samples, step_samples
    from rayox_platform.data.resolve import resolve_split
    from rayox_platform.storage.state import state_folder
    from rayox_platform.train.stream_blocks import stream_plan

    with progress_of_data() as drawing:
        dataset, images = resolve_split(
            str(config.data.train.annotations), config.data.train.images, state_folder(), drawing
        )
    plan, given = stream_plan(config, len(images)), (config.augment, config.image_size)
    drawn = []
    if step is not None:
        shown = list(step_samples(images, plan, step, *given))
    else:
        assert index is not None
        shown = list(image_samples(images, plan, index, *given, most=EPOCHS))
        whole = images.load(index)
        names = [dataset.classes[label] for label in whole.labels]
        drawn.append(draw_boxes(whole.image, whole.boxes, whole.labels, names))
    drawn += [draw_sample(one, dataset.classes) for one in shown]
    if not cv2.haveImageWriter(str(output)) or not cv2.imwrite(str(output), contact_sheet(drawn, COLUMNS, tile=416)):
        raise ConfigError(
            f"-o: {output} cannot be written as a picture", "name a .jpg or .png in a folder that is there"
        )
    samples = [
        {
            "epoch": one.epoch,
            "position": one.position,
            "image": one.image,
            "file": str(dataset.file_names[one.image]),
            "boxes": len(one.sample.boxes),
        }
        for one in shown
    ]
    return ShowResult(str(output), tuple(samples))


def _config(recipe: str | None, overrides: tuple[str, ...], run: str | None) -> Config:
    if run is None:
        loaded = load_recipe(recipe, overrides)
        loaded.require("data.train.annotations")
        return loaded.config
    from rayox_platform.runs.places import open_runs
    from rayox_platform.storage.errors import storage_errors
    from rayox_platform.train.resume import resumed_config

    runs = open_runs(load_recipe(None, overrides).config.storage)
    with storage_errors(str(runs), "read"):
        return resumed_config(runs, run, {})
