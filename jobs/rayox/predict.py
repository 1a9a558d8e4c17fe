"""`rayox predict`: find objects in images, as a COCO results file and as pictures."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

from rayox.config import load_recipe
from rayox.terminal.console import Console, json_option, print_error
from rayox.terminal.progress import progress_of
from rayox_model.core.errors import DataError
from rayox_platform.config import LoadedConfig

SCORE_THRESHOLD = 0.25  # to be looked at; metrics want lower scores too


@dataclass(frozen=True)
class PredictResult:
    """What a prediction leaves: how much was found, and where."""

    images: int  # without those that failed
    detections: int
    results: str
    folder: str
    failed: int
    failures: tuple[str, ...]  # a message each
    images_per_second: float


@click.command("predict")
@click.argument("model")
@click.argument("source")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for results.json and images/; files of an earlier run are replaced.",
)
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    help="Lowest score of a detection that is kept.",
    show_default=f"a promoted model's own of each class, else {SCORE_THRESHOLD}",
)
@json_option
def command(
    model: str, source: str, overrides: tuple[str, ...], output: Path, score_threshold: float | None, as_json: bool
) -> None:
    """Find objects with a MODEL (a checkpoint folder, an official .pth, an .onnx or models:/NAME@ALIAS) in SOURCE.

    SOURCE is an image, a folder with all its folders, or a glob in quotes. Each image comes out in OUTPUT/images
    with its boxes drawn, under its own name as .jpg. Photos are turned as viewers show them.

    OUTPUT/results.json is a COCO results list: bbox is [x, y, width, height] in the image's own pixels. image_id is
    the file's name where all names are different whole numbers, as in COCO; else images count from 1 in the order
    of their names. category_id is COCO's own for models of COCO's 80 classes; else the model's classes count from 1.
    file_name and category stand beside. Classes that the model does not name are named by data.val.annotations.

    An image that cannot be read is reported and skipped; the exit code is then 3.
    """
    _refuse_more_sources(overrides)
    console = Console(as_json)
    loaded = load_recipe(None, overrides)
    result = predict(loaded, console, model, source, output, score_threshold)
    console.text(f"{result.detections} objects in {result.images} images, {result.images_per_second:.1f} images/s")
    console.text(f"results  {result.results}")
    console.text(f"images   {result.folder}/images")
    if result.failed:
        _end_with_failures(console, result)
    console.result(asdict(result))


def predict(
    loaded: LoadedConfig,
    console: Console,
    model: str,
    source: str,
    output: Path,
    score_threshold: float | None = None,
) -> PredictResult:
    """Write `output`/results.json and `output`/images/. Raises ModelError, or DataError when nothing can be read.

    Without a score_threshold it is eval.score_threshold where somebody set that, else the model's own for each class,
    else 0.25.
    """
    from rayox_model.detect.detector import Detector
    from rayox_platform.data.coco import read_coco
    from rayox_platform.evaluate.operating import OperatingDetector, read_operating
    from rayox_platform.evaluate.prediction import DRAWINGS, predict_images
    from rayox_platform.evaluate.sources import find_images
    from rayox_platform.models.open_model import bare_name, local_model, open_detector
    from rayox_platform.storage.state import state_folder
    from rayox_platform.train.from_config import evaluation_settings

    if said := bare_name(model):
        console.note(said)
    annotations = loaded.config.data.val.annotations
    path = local_model(model, loaded.config.tracking.uri, state_folder(), loaded.config.promotion)
    detector: Detector = open_detector(
        path,
        loaded.config.image_size if loaded.given("image_size") else None,
        names=None if annotations is None else lambda: read_coco(annotations).classes,
        tell=console.note,
    )
    images = find_images(
        source,
        output / DRAWINGS,
        lambda folder, error: console.note(f"skipped: {folder}: cannot be read ({error.strerror})"),
    )
    settings = replace(evaluation_settings(loaded.config), score_threshold=_threshold(loaded, score_threshold))
    operating = None if _is_given(loaded, score_threshold) else read_operating(Path(path))
    if operating is not None:
        detector, settings = OperatingDetector(detector, operating), replace(settings, score_threshold=0.0)
        console.note(f"score thresholds of {model}: {operating.overall.threshold:.2f} overall, by {operating.rule}")
    with progress_of("predict") as show:
        done = predict_images(
            detector, images, output, settings, show, lambda failure: console.note(f"skipped: {failure.message}")
        )
    return PredictResult(
        images=done.num_images,
        detections=done.num_detections,
        results=str(done.results),
        folder=str(output),
        failed=len(done.failures),
        failures=tuple(failure.message for failure in done.failures),
        images_per_second=done.images_per_second,
    )


def _is_given(loaded: LoadedConfig, given: float | None) -> bool:
    return given is not None or loaded.given("eval.score_threshold")


def _threshold(loaded: LoadedConfig, given: float | None) -> float:
    if given is not None:
        return given
    return loaded.config.eval.score_threshold if loaded.given("eval.score_threshold") else SCORE_THRESHOLD


def _refuse_more_sources(words: tuple[str, ...]) -> None:
    """Files behind SOURCE come from a glob that the shell has taken apart."""
    more = [word for word in words if "=" not in word and Path(word).exists()]
    if more:
        raise click.UsageError(f"only one SOURCE can be given, and {more[0]} is another; put a glob in quotes: '*.jpg'")


def _end_with_failures(console: Console, result: PredictResult) -> None:
    """The others are done and written: the result and the error stand in one object."""
    total = result.images + result.failed
    message = f"{result.failed} of {total} images could not be read; the first: {result.failures[0]}"
    hint = "copy or export them again; the results hold all the others"
    print_error(message, hint)
    error = {"code": DataError.code, "message": message, "hint": hint}
    console.result({**asdict(result), "error": error})
    click.get_current_context().exit(DataError.exit_code)
