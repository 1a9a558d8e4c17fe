"""One training on a connected Ray cluster: the job handed out, its events followed, its result kept."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray

from rayox_model.checkpoint import averaged_weights, best_checkpoint, read_facts
from rayox_model.onnx_export import export_onnx
from rayox_model.yolox import YOLOX
from rayox_platform.drill import Kill
from rayox_platform.events import Follower
from rayox_platform.examples import draw_examples
from rayox_platform.prepare import RESULT, Prepared
from rayox_platform.resources import solve
from rayox_platform.settings import engine_settings, evaluation_settings
from rayox_platform.tracking import Tracking
from rayox_platform.training import TrainJob, fit, start_run

Event = Mapping[str, Any]
PICTURES = "predictions"


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


def run_training(
    prepared: Prepared, tracking: Tracking, show: Callable[[Event], None], kills: tuple[Kill, ...] = ()
) -> Finished:
    """Train on the connected Ray cluster; show is called with every event of the run, from another thread.

    kills are the faults of a drill.
    """
    config, folder = prepared.config, prepared.folder
    cluster = ray.cluster_resources()
    resources = solve(config.train.workers[1], cluster.get("CPU", 0), cluster.get("GPU", 0))
    job = replace(_job(prepared, "cuda" if resources.gpu else "cpu"), kills=kills)
    if not prepared.resumed:
        start_run(job, prepared.network)
    watch = _Watch(tracking, show)
    with Follower(folder, watch.handle):
        checkpoint = fit(job, resources)
    return _finish(prepared, tracking, checkpoint, watch)


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
    pictures = prepared.folder / PICTURES
    draw_examples(network, prepared.val_images, prepared.config.image_size, pictures)
    tracking.log_folder(pictures, PICTURES)
    (prepared.folder / RESULT).write_text(json.dumps(asdict(finished), indent=1))
    return finished
