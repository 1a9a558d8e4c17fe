"""`rayox evaluate`: the COCO metrics of a model on a data set."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayox.config import load_recipe
from rayox.terminal.console import Console, json_option
from rayox.terminal.progress import progress_of, progress_of_data
from rayox_model.core.errors import ConfigError
from rayox_platform.config import LoadedConfig
from rayox_platform.config.tree import Config

if TYPE_CHECKING:
    from rayox_platform.data.images import CocoImages
    from rayox_platform.evaluate.evaluation import EvaluationSettings


@dataclass(frozen=True)
class EvaluateResult:
    """The metrics of a model and how they came about; None where the data have nothing to find."""

    metrics: Mapping[str, float | None]
    class_ap: Mapping[str, float | None]
    model: str
    checkpoint: str | None  # the model's folder, if it is one
    run_id: str | None
    steps: int | None  # that the checkpoint was trained for
    images: int
    images_per_second: float
    data_wait_fraction: float | None
    unknown_classes: tuple[str, ...]  # of the data, which the model has never heard of


@click.command("evaluate")
@click.argument("model")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the detections as a COCO results file.",
)
@json_option
def command(model: str, overrides: tuple[str, ...], output: Path | None, as_json: bool) -> None:
    """Measure a MODEL: a checkpoint folder, an official .pth, an .onnx, or a registered models:/NAME@ALIAS.

    The data are data.val.annotations and data.val.images; without them, those a checkpoint was trained with. Classes
    are matched by name; a file that does not name its classes has those of the data, if there are as many. Images go
    in at image_size, by default the model's own. eval.score_threshold=0.001 is the threshold of published figures.
    """
    console = Console(as_json)
    result = evaluate(load_recipe(None, overrides), console, model, output)
    console.table(("metric", "value"), list(result.metrics.items()))
    console.table(("class", "AP"), list(result.class_ap.items()))
    console.text(f"{result.images} images, {result.images_per_second:.1f} images/s")
    if result.unknown_classes:
        console.note(f"classes of the data the model does not know: {', '.join(result.unknown_classes)}")
    console.result(asdict(result))


def evaluate(loaded: LoadedConfig, console: Console, model: str, output: Path | None = None) -> EvaluateResult:
    """Measure a model on the data of the settings, else on those it was trained with.

    `output` is a file for the detections. Raises ConfigError, ModelError or DataError, checked in this order.
    """
    from rayox_platform.data.enough import nothing_to_find
    from rayox_platform.evaluate.evaluation import evaluate_detector
    from rayox_platform.evaluate.metrics import coco_results
    from rayox_platform.models.open_model import bare_name, checkpoint_facts, local_model, open_detector
    from rayox_platform.storage.state import state_folder

    if output is not None and not output.absolute().parent.is_dir():
        raise ConfigError(f"-o: {output.parent}: no such folder", "make it, or name another file")
    if said := bare_name(model):
        console.note(said)
    model_path = local_model(model, loaded.config.tracking.uri, state_folder(), loaded.config.promotion)
    facts = checkpoint_facts(model_path)
    trained = Config.model_validate(facts.config) if facts else Config()
    if trained.data.val.annotations is None:
        loaded.require("data.val.annotations")
    size = loaded.config.image_size if loaded.given("image_size") else None
    images = cache(partial(_images, loaded, trained))

    def names() -> tuple[str, ...]:
        classes = images().dataset.classes
        console.note(f"{model} does not name its classes: those of the data are taken, in their order")
        return classes

    detector = open_detector(model_path, size, names, console.note)
    with progress_of("evaluate") as show:
        evaluation = evaluate_detector(detector, images(), _settings(loaded, trained), show)
    nothing = nothing_to_find(images().dataset)
    if nothing:
        console.note(f"warning: {nothing}")
    if output is not None:
        output.write_text(json.dumps(coco_results(images().dataset, evaluation.detections), allow_nan=False))
    return EvaluateResult(
        metrics=asdict(evaluation.scores.metrics),
        class_ap=evaluation.scores.class_ap,
        model=model,
        checkpoint=model if facts else None,
        run_id=None,
        steps=facts.step if facts else None,
        images=len(images()),
        images_per_second=evaluation.images_per_second,
        data_wait_fraction=None,
        unknown_classes=evaluation.unknown_classes,
    )


def _images(loaded: LoadedConfig, trained: Config) -> "CocoImages":
    """The classes of the given data, or else of the data that the model was trained with."""
    from rayox_platform.data.resolve import resolve_split
    from rayox_platform.storage.state import state_folder

    given = loaded.config.data.val
    split = given if loaded.given("data.val.annotations") else trained.data.val
    with progress_of_data() as drawing:
        _, images = resolve_split(str(split.annotations), given.images or split.images, state_folder(), drawing)
    return images


def _settings(loaded: LoadedConfig, trained: Config) -> "EvaluationSettings":
    """The given settings, else those of its evaluation in training, so that the same metrics come out."""
    from rayox_platform.train.from_config import evaluation_settings

    asked = {name: value for name, value in loaded.config.eval.model_dump().items() if loaded.given(f"eval.{name}")}
    return replace(evaluation_settings(trained), **asked)
