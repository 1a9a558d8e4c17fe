"""`rayox train`: from a recipe to a trained, evaluated and recorded detector."""

import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from rayox.config import load_recipe
from rayox.console import Console, json_option
from rayox.panel import TrainingPanel
from rayox.progress import progress_of
from rayox_platform.config import LoadedConfig
from rayox_platform.config.origin import Rank
from rayox_platform.config.tree import Config

if TYPE_CHECKING:
    from rayox_platform.prepare import Prepared


@dataclass(frozen=True)
class TrainResult:
    """What a finished training leaves: numbers, and where its parts are."""

    metrics: Mapping[str, float]
    run_id: str
    name: str
    checkpoint: str
    best_checkpoint: str
    model: str
    pictures: str
    images_per_second: float
    data_wait_fraction: float
    steps: int
    seconds: float
    tracking_uri: str


@click.command("train")
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--name", help="Name of the run; by default the recipe's with the time.")
@click.option(
    "--resume",
    metavar="auto|RUN",
    help="Go on with a run (auto: the recipe's last) from its newest checkpoint.",
)
@click.option("--address", envvar="RAYOX_ADDRESS", help="Ray cluster to run on; by default this machine.")
@click.option("--dry-run", is_flag=True, help="Check settings, model and data, and stop before anything starts.")
@json_option
def command(
    recipe: str,
    overrides: tuple[str, ...],
    name: str | None,
    resume: str | None,
    address: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a detector by a RECIPE: a packaged one or a YAML file.

    Packaged are shapes, finetune, scratch, coco-nano … coco-x and coco-darknet53.
    """
    console = Console(as_json)
    loaded = load_recipe(recipe, [*overrides, *([f"name={name}"] if name else [])])
    result = train(loaded, console, resume=resume, address=address, dry_run=dry_run)
    if result is None:
        console.text("settings, model and data are in order; nothing was started (--dry-run)")
        console.result({"ok": True})
        return
    show_result(console, result)


def train(
    loaded: LoadedConfig,
    console: Console,
    *,
    resume: str | None = None,
    address: str | None = None,
    dry_run: bool = False,
) -> TrainResult | None:
    """Check everything, then run; None after a dry run. Raises a RayoxError of the part that failed."""
    from rayox_cluster.local import ray_session
    from rayox_platform.prepare import prepare
    from rayox_platform.record import recorded
    from rayox_platform.run import run_training

    loaded.require("data.train.annotations", "data.val.annotations")
    started = time.perf_counter()
    config = _named(loaded, resume)
    with progress_of("drawing the data set") as drawing:
        prepared = prepare(config, resume=resume is not None, drawing=drawing)
    if dry_run:
        return None
    _say_what_starts(prepared, console)
    plan = prepared.plan
    try:
        with (
            recorded(prepared) as tracking,
            TrainingPanel(config.name, plan.num_steps, plan.batch_size, plan.epochs, console) as panel,
            ray_session(address, worker_environment={"OMP_NUM_THREADS": "1"}),
        ):
            finished = run_training(prepared, tracking, panel.show)
    except KeyboardInterrupt:
        console.note(f"stopped; the same command with --resume {config.name} goes on from the newest checkpoint")
        raise
    return TrainResult(seconds=round(time.perf_counter() - started, 1), **asdict(finished))


def _named(loaded: LoadedConfig, resume: str | None) -> Config:
    """The settings under the run's own name: the given one, or the recipe's with the time."""
    from rayox_platform.prepare import last_run, runs_folder

    config, given = loaded.config, loaded.origins["name"].rank != Rank.DEFAULT
    if resume == "auto":
        name = config.name if given else last_run(runs_folder(config), config.name)
    elif resume:
        name = resume
    else:
        name = config.name if given else f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    return Config.model_validate(config.model_dump() | {"name": name})


def _say_what_starts(prepared: "Prepared", console: Console) -> None:
    config, moved = prepared.config, prepared.transferred
    if moved is not None:
        fresh = f", new: {', '.join(moved.fresh)}" if moved.fresh else ""
        kept = f"classes kept by {moved.matched_by}: {', '.join(moved.matched) or 'none'}"
        console.note(f"weights from {config.model.init}; {kept}{fresh}")
    console.note(
        f"training {config.name}: yolox-{config.model.size} at {config.image_size[0]}×{config.image_size[1]}, "
        f"{len(prepared.train_images)} images, {config.train.epochs} epochs, "
        f"{prepared.plan.num_steps} steps; starting Ray"
    )


def show_result(console: Console, result: TrainResult) -> None:
    console.table(("metric", "value"), [(name, value) for name, value in result.metrics.items()])
    console.text(f"run         {result.name} (MLflow run {result.run_id})")
    console.text(f"checkpoint  {result.checkpoint}")
    if result.best_checkpoint != result.checkpoint:
        console.text(f"best AP     {result.best_checkpoint}")
    console.text(f"pictures    {result.pictures}")
    console.text(
        f"speed       {result.images_per_second:.1f} images/s, {result.data_wait_fraction:.0%} waiting for data"
    )
    console.text(f"curves      mlflow ui --backend-store-uri {shlex.quote(result.tracking_uri)}")
    console.result(asdict(result))
