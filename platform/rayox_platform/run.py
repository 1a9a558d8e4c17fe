"""One training from its settings to its record: check, train on Ray, keep the result, tell MLflow."""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import ray

from rayox_model.checkpoint import averaged_weights, best_checkpoint, newest_checkpoint, read_facts
from rayox_model.detect import TorchDetector
from rayox_model.errors import ConfigError, DataError
from rayox_model.onnx_export import export_onnx
from rayox_model.plan import StreamPlan
from rayox_model.weights import Transfer
from rayox_model.yolox import YOLOX
from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.data.images import FolderImages
from rayox_platform.data.resolve import resolve_split
from rayox_platform.draw import contact_sheet, draw_detections
from rayox_platform.evaluation import EvaluationSettings, detect_images
from rayox_platform.events import Follower
from rayox_platform.models import new_model
from rayox_platform.resources import solve
from rayox_platform.settings import engine_settings, evaluation_settings, stream_plan
from rayox_platform.state import state_folder
from rayox_platform.tracking import Tracking, open_run
from rayox_platform.training import TrainJob, fit, start_run

Event = Mapping[str, Any]
RESULT = "result.json"
PICTURES = "predictions"
PACKAGES = ("rayox", "torch", "ray", "mlflow", "opencv-python-headless", "numpy")


@dataclass(frozen=True)
class Prepared:
    """A training whose settings, model and data have been checked; nothing is started or written yet."""

    config: Config
    folder: Path
    plan: StreamPlan
    train_images: FolderImages
    val_images: FolderImages
    network: YOLOX
    transferred: Transfer | None
    resumed: bool


@dataclass(frozen=True)
class Finished:
    """What a training left."""

    name: str
    run_id: str
    metrics: Mapping[str, float]
    checkpoint: str  # the last one
    best_checkpoint: str  # the one of the highest AP
    model: str
    pictures: str  # folder of drawn predictions
    images_per_second: float
    data_wait_fraction: float
    steps: int
    tracking_uri: str


def runs_folder(config: Config) -> Path:
    return Path(config.storage).expanduser().absolute() if config.storage else state_folder() / "runs"


def last_run(folder: Path, recipe: str) -> str:
    """The youngest unfinished run of a recipe. Raises ConfigError when there is none."""
    runs = [run for run in folder.glob(f"{recipe}-*") if not (run / RESULT).exists()]
    runs = [run for run in runs if newest_checkpoint(run / "checkpoints")]
    if not runs:
        raise ConfigError(
            f"--resume auto: no unfinished run of {recipe} in {folder}", "leave --resume out to start one"
        )
    return max(runs, key=lambda run: run.stat().st_mtime).name


def prepare(config: Config, *, resume: bool, drawing: Callable[[int, int], None] | None = None) -> Prepared:
    """Check a training in the order settings, model, data. Raises a RayoxError of what is wrong.

    drawing is told (done, total) while the embedded data set is drawn.
    """
    if config.name in (".", "..") or "/" in config.name or "\0" in config.name:
        raise ConfigError(f"name: {config.name!r} cannot be a folder's name", "use letters, digits and dashes")
    folder = runs_folder(config) / config.name
    _check_name(folder, resume)
    if config.model.init:
        new_model(config.model.size, ("any",), config.model.init, config.train.seed)
    load = partial(resolve_split, state=state_folder(), progress=drawing)
    train, train_images = load(str(config.data.train.annotations), config.data.train.images)
    val, val_images = load(str(config.data.val.annotations), config.data.val.images)
    if train.classes != val.classes:
        raise DataError(
            f"{val.source}: its classes {', '.join(val.classes)} are not those of {train.source}: "
            f"{', '.join(train.classes)}",
            "give both files the same categories",
        )
    network, transferred = new_model(config.model.size, train.classes, config.model.init, config.train.seed)
    plan = stream_plan(config, len(train))
    return Prepared(config, folder, plan, train_images, val_images, network, transferred, resume)


def _check_name(folder: Path, resume: bool) -> None:
    exists = newest_checkpoint(folder / "checkpoints") is not None
    if exists and not resume:
        raise ConfigError(
            f"name: there is a run {folder.name} in {folder.parent} already",
            f"give another --name, or go on with it by --resume {folder.name}",
        )
    if resume and not exists:
        raise ConfigError(f"--resume {folder.name}: no checkpoint of such a run in {folder.parent}", "check the name")
    if (folder / RESULT).exists():
        raise ConfigError(f"--resume {folder.name}: this run is finished", "start a new one under another --name")


def run_training(prepared: Prepared, show: Callable[[Event], None]) -> Finished:
    """Train on the connected Ray cluster; show is called with every event of the run, from another thread."""
    config, folder = prepared.config, prepared.folder
    cluster = ray.cluster_resources()
    resources = solve(config.train.workers[1], cluster.get("CPU", 0), cluster.get("GPU", 0))
    job = _job(prepared, "cuda" if resources.gpu else "cpu")
    tracking = open_run(
        config.tracking.uri, state_folder(), config.tracking.experiment, config.name, _params(config), _tags(prepared)
    )
    try:
        if not prepared.resumed:
            start_run(job, prepared.network)
        watch = _Watch(tracking, show)
        with Follower(folder, watch.handle):
            checkpoint = fit(job, resources)
        finished = _finish(prepared, tracking, checkpoint, watch)
    except KeyboardInterrupt:
        tracking.finish("KILLED")
        raise
    except BaseException:
        tracking.finish("FAILED")
        raise
    tracking.finish("FINISHED")
    return finished


class _Watch:
    """Hands events on to the panel and, at the end of an epoch, to MLflow; remembers speeds."""

    def __init__(self, tracking: Tracking, show: Callable[[Event], None]) -> None:
        self._tracking, self._show = tracking, show
        self.epochs: list[Mapping[str, float]] = []

    def handle(self, event: Event) -> None:
        self._show(event)
        if event["kind"] == "epoch":
            self.epochs.append(event["metrics"])
            self._tracking.log_metrics(event["metrics"], step=event["epoch"])

    def mean(self, name: str) -> float:
        return sum(epoch[name] for epoch in self.epochs) / max(len(self.epochs), 1)


def _job(prepared: Prepared, device_type: str) -> TrainJob:
    config = prepared.config
    engine = engine_settings(config, prepared.plan, device_type)
    return TrainJob(
        folder=prepared.folder,
        model_size=config.model.size,
        classes=prepared.train_images.dataset.classes,
        train_images=prepared.train_images,
        val_images=prepared.val_images,
        plan=prepared.plan,
        augment=config.augment,
        engine=engine,
        evaluation=evaluation_settings(config),
        evaluate_every=config.train.evaluate_every,
        checkpoint_every=config.checkpoint.every_steps,
        keep=config.checkpoint.keep,
        max_failures=config.train.max_failures,
        config=config.model_dump(mode="json"),
    )


def _finish(prepared: Prepared, tracking: Tracking, checkpoint: Path, watch: _Watch) -> Finished:
    facts = read_facts(checkpoint)
    network = YOLOX(facts.size, len(facts.classes))
    network.load_state_dict(averaged_weights(checkpoint))
    model = prepared.folder / "model.onnx"
    export_onnx(network, facts.classes, facts.image_size, model)
    finished = Finished(
        name=prepared.folder.name,
        run_id=tracking.run_id,
        metrics={name: value for name, value in facts.metrics.items() if name[:2] in ("AP", "AR")},
        checkpoint=str(checkpoint),
        best_checkpoint=str(best_checkpoint(checkpoint.parent) or checkpoint),
        model=str(model),
        pictures=str(prepared.folder / PICTURES),
        images_per_second=watch.mean("images_per_second"),
        data_wait_fraction=watch.mean("data_wait_fraction"),
        steps=facts.step,
        tracking_uri=tracking.uri,
    )
    tracking.log_file(model, "model")
    tracking.log_folder(draw_examples(prepared, network), "predictions")
    (prepared.folder / RESULT).write_text(json.dumps(asdict(finished), indent=1))
    return finished


def draw_examples(prepared: Prepared, network: YOLOX, count: int = 24, score_threshold: float = 0.3) -> Path:
    """Draw what the model finds in images spread over the validation data; one file an image and a sheet of all."""
    folder = prepared.folder / PICTURES
    folder.mkdir(exist_ok=True)
    images = prepared.val_images
    detector = TorchDetector(network, images.dataset.classes, prepared.config.image_size)
    indices = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)).tolist()
    settings = EvaluationSettings(score_threshold=score_threshold)
    found = detect_images(detector, images, indices, settings)
    drawn = [draw_detections(images.pixels(index), found[index], images.dataset.classes) for index in indices]
    for index, image in zip(indices, drawn, strict=True):
        cv2.imwrite(str(folder / f"{images.path(index).stem}.jpg"), image)
    cv2.imwrite(str(folder / "sheet.jpg"), contact_sheet(drawn))
    return folder


def _params(config: Config) -> dict[str, str]:
    return {key: str(value) for key, value in leaves(config.model_dump(mode="json"), settings())}


def _tags(prepared: Prepared) -> dict[str, str]:
    dataset = prepared.train_images.dataset
    return {
        "classes": ", ".join(dataset.classes),
        "images": str(len(dataset)),
        "python": platform.python_version(),
        **{f"version.{name}": version(name) for name in PACKAGES},
    }
