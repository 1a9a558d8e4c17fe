"""`rayox train`: from a recipe to a trained, evaluated, recorded and registered detector."""

import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from rayox.config import load_recipe
from rayox.run_settings import new_run, resumed_run
from rayox.terminal.console import Console, json_option
from rayox.terminal.ending import after_a_stop, told_of_end
from rayox.terminal.progress import progress, progress_of_data
from rayox.terminal.training_panel import TrainingPanel
from rayox_platform.config import LoadedConfig
from rayox_platform.ray_internals.first_call import ray_imported

if TYPE_CHECKING:
    from rayox_platform.train.finishing import Finished
    from rayox_platform.train.prepare import Prepared
    from rayox_platform.train.smoke import SmokeResult


@dataclass(frozen=True)
class TrainResult:
    """What a finished training leaves: numbers, and where its parts are."""

    metrics: Mapping[str, float | None]
    run_id: str
    name: str
    checkpoint: str
    best_metrics: Mapping[str, float | None]
    best_checkpoint: str | None
    model: str
    registered: str
    pictures: str
    images_per_second: float
    data_wait_fraction: float
    steps: int
    skipped_steps: int
    bad_images: tuple[str, ...]
    seconds: float
    start_seconds: Mapping[str, float]
    tracking_uri: str
    tracking_page: str


@click.command("train")
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--name", help="Name of the run; by default the recipe's with the time.")
@click.option(
    "--resume",
    metavar="auto|RUN",
    help="Go on with a run (auto: the recipe's last) from its newest checkpoint, with the settings it began with.",
)
@click.option(
    "--extend",
    type=click.IntRange(min=1),
    metavar="EPOCHS",
    help="Train a finished or stopped run for this many more epochs; without --resume, the last run.",
)
@click.option(
    "--address",
    envvar="RAYOX_ADDRESS",
    help="Ray cluster to run on; by default that of RAY_ADDRESS, else this machine.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check settings, model, data, storage, tracking store and cluster, and stop before anything starts.",
)
@click.option(
    "--smoke",
    "smoke_test",
    is_flag=True,
    help="Overfit one batch here, in seconds and without Ray, and stop: exit code 8 if the loss does not fall.",
)
@json_option
def command(
    recipe: str,
    overrides: tuple[str, ...],
    name: str | None,
    resume: str | None,
    extend: int | None,
    address: str | None,
    dry_run: bool,
    smoke_test: bool,
    as_json: bool,
) -> None:
    """Train a detector by a RECIPE: a packaged one or a YAML file.

    Packaged are shapes, finetune, scratch, coco-nano … coco-x and coco-darknet53.
    """
    console = Console(as_json)
    loaded = load_recipe(recipe, [*overrides, *([f"name={name}"] if name else [])])
    if smoke_test:
        if resume is not None or extend is not None or address is not None:
            raise click.UsageError("--smoke trains here and from the start: leave out --resume, --extend and --address")
        show_smoke(console, smoke(loaded))
        return
    resume = resume or ("auto" if extend else None)
    result = train(loaded, console, resume=resume, extend=extend or 0, address=address, dry_run=dry_run)
    if result is None:
        console.text("settings, model, data and what a run needs are in order; nothing was started (--dry-run)")
        console.result({"ok": True})
        return
    show_result(console, result)


def train(
    loaded: LoadedConfig,
    console: Console,
    *,
    resume: str | None = None,
    extend: int = 0,
    address: str | None = None,
    dry_run: bool = False,
) -> TrainResult | None:
    """Check everything, then run; None after a dry run. Raises a RayoxError of the part that failed."""
    started = time.perf_counter()
    if resume is None:
        loaded.require("data.train.annotations", "data.val.annotations")
    from rayox_platform.train.prepare import prepare

    config, chosen = (new_run(loaded), None) if resume is None else resumed_run(loaded, resume, extend)
    imported = time.perf_counter()
    with progress_of_data() as drawing:
        prepared = prepare(config, resume=chosen or False, extend=extend > 0, drawing=drawing)
    for warning in prepared.warnings:
        console.note(f"warning: {warning}")
    if dry_run:
        _check_places(prepared, address)
        return None
    _say_what_starts(prepared, console)
    parts = {"imports": imported - started, "checks": time.perf_counter() - imported}
    try:
        with (
            told_of_end(config, prepared.home, console) as end,
            TrainingPanel(config.name, prepared.plan.num_steps, config.train.epochs, console) as panel,
        ):
            finished = end.finished = _run(prepared, address, panel, parts)
    except KeyboardInterrupt:
        console.note(after_a_stop(prepared.home))
        raise
    parts = {name: round(seconds, 2) for name, seconds in parts.items()} | dict(finished.start_seconds)
    seconds = round(time.perf_counter() - started, 1)
    return TrainResult(seconds=seconds, **asdict(finished) | {"start_seconds": parts})


def smoke(loaded: LoadedConfig) -> "SmokeResult":
    """Overfit the first batch of a run that is not started. Raises TrainingError when it cannot be learnt."""
    loaded.require("data.train.annotations", "data.val.annotations")
    from rayox_platform.train.prepare import prepare
    from rayox_platform.train.smoke import STEPS, smoke

    with progress_of_data() as drawing:
        prepared = prepare(new_run(loaded), resume=False, drawing=drawing)
    with progress(STEPS, "smoke test", "steps") as bar:
        return smoke(prepared, lambda report: bar.advance(note=f"loss {float(report.losses.total):.3g}"))


def show_smoke(console: Console, result: "SmokeResult") -> None:
    console.text(
        f"it learns: {result.steps} steps on the same {result.images} images ({result.boxes} boxes, "
        f"{result.positives_per_box:.1f} positives each) brought the loss from {result.loss_before:.3g} to "
        f"{result.loss_after:.3g} ({result.wanted:.3g} or less was wanted) in {result.seconds:.0f} s"
    )
    console.text("no run was made (--smoke)")
    console.result({"ok": True} | asdict(result))


def _run(prepared: "Prepared", address: str | None, panel: TrainingPanel, parts: dict[str, float]) -> "Finished":
    """Claim the name, reach the tracking store, start Ray, check that it fits; then make the run and train."""
    from rayox_cluster.address import cluster_address
    from rayox_cluster.local import ray_session
    from rayox_platform.runs.ending import end_told
    from rayox_platform.storage.state import state_folder

    config = prepared.config
    at = time.perf_counter()
    with prepared.home.claim():
        panel.stage("opening the tracking store")
        from rayox_platform.track.tracking import connect

        store = connect(config.tracking.uri, state_folder(), config.tracking.experiment)
        at, parts["tracking"] = time.perf_counter(), time.perf_counter() - at
        chosen = cluster_address(address)
        panel.stage("starting Ray" if chosen.text is None else f"connecting to Ray at {chosen}")
        with ray_session(address, worker_environment={"OMP_NUM_THREADS": "1"}, local_environment=ray_imported()):
            from rayox_platform.track.record import recorded
            from rayox_platform.train.finishing import finish
            from rayox_platform.train.probe import check_machines
            from rayox_platform.train.training import fitted, start_early, train

            prepared, given = fitted(prepared)
            start_early(given)
            check_machines(prepared.home.shared, prepared.images, (config.train.nodes, config.data.nodes))
            parts["ray"] = time.perf_counter() - at
            tracked = recorded(prepared.config, prepared.home, prepared.images, store, panel.show)
            with tracked as record, end_told(prepared.home):
                finished = finish(prepared, train(prepared, given, record.handle), record)
                panel.stage("stopping Ray")
                return finished


def _check_places(prepared: "Prepared", address: str | None) -> None:
    """What _run would claim, open and connect to: whether it is there, in the same order. Raises a RayoxError."""
    from rayox_cluster.address import cluster_address
    from rayox_cluster.connection import reach
    from rayox_platform.storage.state import state_folder
    from rayox_platform.track.tracking import check_store

    prepared.home.check_writable()
    check_store(prepared.config.tracking.uri, state_folder())
    chosen = cluster_address(address)
    if chosen.text is not None:
        reach(chosen)


def _say_what_starts(prepared: "Prepared", console: Console) -> None:
    config, moved = prepared.config, prepared.transferred
    if moved is not None and not prepared.resumed:
        fresh = f", new: {', '.join(moved.fresh)}" if moved.fresh else ""
        kept = f"classes kept by {moved.matched_by}: {', '.join(moved.matched) or 'none'}"
        taken = f", {moved.taken}" if moved.taken else ""
        console.note(f"weights from {config.model.init}{taken}; {kept}{fresh}")
    workers, lanes = config.train.workers[1], config.data.lanes
    if lanes % workers and config.loss.divide_by == "worker_positives":
        console.note(
            f"train.workers {workers} does not divide data.lanes {lanes}: shares of a batch are unequal, so the loss "
            "is divided by the positives of all workers (loss.divide_by=all_positives)"
        )
    doing = "going on with" if prepared.resumed else "training"
    console.note(
        f"{doing} {config.name}: yolox-{config.model.size} at {config.image_size[0]}×{config.image_size[1]}, "
        f"{len(prepared.train_images)} images, {config.train.epochs} epochs, {prepared.plan.num_steps} steps"
    )


def show_result(console: Console, result: TrainResult) -> None:
    if result.best_checkpoint and result.best_checkpoint != result.checkpoint:
        rows = [(name, value, result.best_metrics[name]) for name, value in result.metrics.items()]
        console.table(("metric", "last", "best, registered"), rows)
    else:
        console.table(("metric", "value"), list(result.metrics.items()))
    console.text(f"run         {result.name} (MLflow run {result.run_id})")
    console.text(f"checkpoint  {result.checkpoint}")
    if result.best_checkpoint and result.best_checkpoint != result.checkpoint:
        console.text(f"best AP     {result.best_checkpoint}")
    later = f"not registered yet: `rayox runs sync {result.name}` does it when MLflow answers again"
    console.text(f"model       {result.registered or later}")
    console.text(f"pictures    {result.pictures}")
    console.text(
        f"speed       {result.images_per_second:.1f} images/s, {result.data_wait_fraction:.0%} waiting for data"
    )
    if result.skipped_steps:
        console.text(f"skipped     {result.skipped_steps} of {result.steps} steps, to find fp16's scale")
    if result.bad_images:
        console.text(f"bad images  {len(result.bad_images)} were replaced; the first: {result.bad_images[0]}")
    parts = "  ".join(f"{name.replace('_', ' ')} {seconds:.1f}" for name, seconds in result.start_seconds.items())
    console.text(f"start       {sum(result.start_seconds.values()):.0f} s to the first step: {parts}")
    here = f"mlflow ui --backend-store-uri {shlex.quote(result.tracking_uri)}"
    console.text(f"curves      {result.tracking_page or here}")
    console.result(asdict(result))
