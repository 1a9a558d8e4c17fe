"""`rayox evaluate`: the COCO metrics of a model on a data set."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from rayox.config import load_recipe
from rayox.console import Console, json_option
from rayox.progress import progress_of


@click.command("evaluate")
@click.argument("model")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the detections as COCO results JSON.")
@json_option
def command(model: str, overrides: tuple[str, ...], output: Path | None, as_json: bool) -> None:
    """Measure a MODEL: a checkpoint folder, an official .pth or an .onnx.

    The data are data.val.annotations and data.val.images; without them, those a checkpoint was trained with.
    Images go in at image_size, by default the model's own.
    """
    console = Console(as_json)
    loaded = load_recipe(None, overrides)

    from rayox_platform.data.resolve import resolve_split
    from rayox_platform.evaluation import evaluate_detector
    from rayox_platform.metrics import coco_results
    from rayox_platform.models import open_detector, trained_with
    from rayox_platform.settings import evaluation_settings
    from rayox_platform.state import state_folder

    config = loaded.config
    detector = open_detector(model, config.image_size if loaded.given("image_size") else None)
    split = config.data.val if loaded.given("data.val.annotations") else trained_with(model).data.val
    if split.annotations is None:
        loaded.require("data.val.annotations")
    with progress_of("drawing the data set") as drawing:
        _, images = resolve_split(str(split.annotations), split.images, state_folder(), drawing)
    with progress_of("evaluate") as show:
        evaluation = evaluate_detector(detector, images, evaluation_settings(config), show)
    metrics = asdict(evaluation.scores.metrics)
    if output:
        output.write_text(json.dumps(coco_results(images.dataset, evaluation.detections)))
    console.table(("metric", "value"), list(metrics.items()))
    console.table(("class", "AP"), list(evaluation.scores.class_ap.items()))
    if evaluation.unknown_classes:
        console.note(f"classes of the data the model does not know: {', '.join(evaluation.unknown_classes)}")
    console.result(
        {
            "metrics": metrics,
            "class_ap": evaluation.scores.class_ap,
            "model": model,
            "images": len(images),
            "images_per_second": evaluation.images_per_second,
        }
    )
