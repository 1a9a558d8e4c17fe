"""`rayox plan`: what a training takes on 1, 8 and 64 workers, from a few samples and steps measured here."""

import math
import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from rayox.config import load_recipe
from rayox.terminal.console import Console, json_option
from rayox.terminal.progress import progress_of_data

if TYPE_CHECKING:
    from rayox_platform.resources.outlook import Rates, Work
    from rayox_platform.train.prepare import Prepared

ON_PAPER = (1, 8, 64)


@click.command("plan")
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--workers", type=click.IntRange(min=1), multiple=True, help="By default train.workers, and 1, 8 and 64.")
@click.option(
    "--cpus",
    type=click.FloatRange(min=0, min_open=True),
    help="All CPUs there are; by default this machine's, as many as it takes beside GPUs.",
)
@click.option(
    "--sample-seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Of one augmented image on one core, instead of measuring.",
)
@click.option(
    "--step-seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Of a step of one worker's share on its GPU, instead of measuring.",
)
@click.option(
    "--network",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Gigabits a second between workers.",
)
@click.option("--per-hour", type=click.FloatRange(min=0), help="Price of a worker with its CPUs for an hour.")
@json_option
def command(
    recipe: str,
    overrides: tuple[str, ...],
    workers: tuple[int, ...],
    cpus: float | None,
    sample_seconds: float | None,
    step_seconds: float | None,
    network: float,
    per_hour: float | None,
    as_json: bool,
) -> None:
    """Say what a training by a RECIPE takes: speed, CPUs for the data, hours, memory, storage, cost, and its limit.

    Measures a few of its samples and steps on this machine; a GPU that is not here is told by --step-seconds.
    """
    from rayox_platform.resources.outlook import outlook, stops_at

    console, prepared = Console(as_json), _prepared(recipe, overrides)
    asked = prepared.config.train.workers[1]
    rates = _rates(prepared, asked, sample_seconds, step_seconds, console)
    work = _work(prepared)
    here = float(os.cpu_count() or 1) if cpus is None and not rates.gpu else cpus
    columns = ("workers", "images/s", "CPUs for data", "epoch s", "hours", "memory GiB", "storage GiB", "cost", "limit")
    found = []
    for count in workers or sorted({asked, *ON_PAPER}):
        all_cpus = here if count == asked or cpus is not None else None  # others are on paper: as many as it takes
        found.append(outlook(rates, work, count, cpus=all_cpus, network_gigabits=network, per_hour=per_hour))
    rows = [
        (
            one.workers,
            one.images_per_second,
            one.data_cpus,
            one.epoch_seconds,
            one.hours,
            one.memory_gib,
            one.storage_gib,
            one.cost,
            one.limit,
        )
        for one in found
    ]
    console.table(columns, rows)
    most = stops_at(rates, work, network)
    console.text(
        f"scales to {most} workers: each further one adds less than half of what one alone does "
        f"(batches of {work.batch_size})"
    )
    console.result({"rates": asdict(rates), "outlooks": [asdict(one) for one in found], "scales_to": most})


def _prepared(recipe: str, overrides: tuple[str, ...]) -> "Prepared":
    """The training with its data and model read; its name is of a run that nobody makes."""
    from rayox_platform.train.prepare import prepare

    loaded = load_recipe(recipe, [*overrides, "name=plan-of-nothing"])
    loaded.require("data.train.annotations", "data.val.annotations")
    with progress_of_data() as drawing:
        return prepare(loaded.config, resume=False, drawing=drawing)


def _rates(
    prepared: "Prepared", workers: int, sample_seconds: float | None, step_seconds: float | None, console: Console
) -> "Rates":
    from rayox_platform.train.rates import measure

    share = -(-prepared.config.train.batch_size // workers)
    console.note(f"measuring a few samples and steps of {share} images")
    rates = measure(prepared, share)
    if sample_seconds is not None:
        rates = replace(rates, sample_seconds=sample_seconds)
    if step_seconds is not None:  # of a GPU that is not here
        rates = replace(rates, step_seconds=0.0, image_seconds=step_seconds / share, gpu=True)
        rates = replace(rates, evaluation_seconds=rates.image_seconds * 0.4)
    console.note(
        f"a sample takes {rates.sample_seconds * 1000:.1f} ms of a core, a step {rates.step_seconds * 1000:.0f} ms and "
        f"{rates.image_seconds * 1000:.1f} ms an image of {'a GPU' if rates.gpu else 'a core'}"
    )
    return rates


def _work(prepared: "Prepared") -> "Work":
    from rayox_platform.resources.outlook import Work
    from rayox_platform.train.stream_blocks import larger_blocks, rows_per_block

    config = prepared.config
    return Work(
        train_images=len(prepared.train_images),
        val_images=len(prepared.val_images),
        batch_size=config.train.batch_size,
        epochs=config.train.epochs,
        evaluate_every=config.train.evaluate_every,
        checkpoints=config.checkpoint.keep + 1,
        lanes=config.data.lanes,
        block_images=rows_per_block(larger_blocks(config, prepared.plan, math.inf)),
    )
