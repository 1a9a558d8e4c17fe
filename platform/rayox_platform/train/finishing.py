"""From a trained run to what its user wants of it: pictures, a model as ONNX, a version in the registry, a result."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from rayox_model.checkpoint.snapshot import averaged_weights
from rayox_model.core.finite import without_non_finite
from rayox_model.detect.onnx_export import export_onnx
from rayox_model.detect.runtime import silent_onnxruntime
from rayox_model.nets.spec import network_of
from rayox_platform.evaluate.examples import draw_examples
from rayox_platform.evaluate.metrics import METRICS
from rayox_platform.runs.outbox_entries import Pictures, Registration
from rayox_platform.storage.errors import storage_errors
from rayox_platform.storage.state import RESULT
from rayox_platform.track.record import Record
from rayox_platform.train.prepare import Prepared
from rayox_platform.train.training import Trained

PICTURES = "predictions"
ONNX = "model.onnx"


@dataclass(frozen=True)
class Finished:
    """What a training left."""

    name: str
    run_id: str
    metrics: Mapping[str, float | None]  # the twelve of COCO, of the last evaluation
    best_metrics: Mapping[str, float | None]  # the same of the best checkpoint, which is the one that is registered
    checkpoint: str  # the last one
    best_checkpoint: str | None  # the one of the highest AP; none without an AP
    model: str  # the ONNX file
    registered: str  # models:/NAME/VERSION; empty while MLflow does not answer: `rayox runs sync` does it later
    pictures: str  # folder of drawn predictions
    images_per_second: float
    data_wait_fraction: float
    steps: int
    skipped_steps: int  # by fp16's GradScaler
    bad_images: tuple[str, ...]  # broken training images that were replaced: path and reason
    start_seconds: Mapping[str, float]  # from the call to the end of the first step, by part
    tracking_uri: str
    tracking_page: str  # the run's page on a tracking server; empty without one


def finish(prepared: Prepared, trained: Trained, record: Record) -> Finished:
    """From the last checkpoint to a registered model and pictures; done again after a crash it changes nothing."""
    folder, tracking, checkpoints = prepared.folder, record.sender.tracking, prepared.home.checkpoints
    best = checkpoints.best()
    whole = checkpoints.verified(best or trained.checkpoint)  # what is drawn, exported and registered
    facts = whole.facts
    network = network_of(facts.model, len(facts.classes))
    network.load_state_dict(averaged_weights(whole))
    scores = {name: facts.metrics[name] for name in METRICS if name in facts.metrics}

    record.stage("drawing predictions")
    draw_examples(network, prepared.val_images, prepared.config.image_size, folder / PICTURES)
    record.add(Pictures(PICTURES, PICTURES))
    record.stage("exporting and registering the model")
    model = folder / ONNX
    export_onnx(network, facts.classes, facts.image_size, model)
    silent_onnxruntime()  # imported here, not by the thread that registers
    tags = {"run": folder.name, "size": facts.model.size, "classes": ", ".join(facts.classes)}
    tags |= {"checkpoint": whole.folder.name, "epoch": str(facts.epoch)}
    tags |= {name: f"{scores[name]:.4f}" for name in ("AP", "AP50") if name in scores}
    record.add(Registration(prepared.config.tracking.model, ONNX, scores, facts.epoch, tags, facts.operating))
    finished = Finished(
        name=folder.name,
        run_id=tracking.run_id,
        metrics={name: trained.metrics.get(name) for name in METRICS},
        best_metrics={name: scores.get(name) for name in METRICS},
        checkpoint=checkpoints.address(trained.checkpoint),
        best_checkpoint=checkpoints.address(best) if best else None,
        model=prepared.home.shared.path(model.name),
        registered="",
        pictures=prepared.home.shared.path(PICTURES),
        images_per_second=record.mean("images_per_second"),
        data_wait_fraction=record.mean("data_wait_fraction"),
        steps=trained.step,
        skipped_steps=round(record.total("skipped_steps")),
        bad_images=tuple(record.bad_images),
        start_seconds=_start_seconds(record, trained.began),
        tracking_uri=tracking.store.shown,
        tracking_page=tracking.page,
    )
    draft = folder / f".{RESULT}"
    draft.write_text(_as_text(finished))
    draft.replace(folder / RESULT)
    with storage_errors(str(prepared.home), "written"):
        prepared.home.publish()  # before the wait for MLflow: from here on the run is done
    finished = replace(finished, registered=record.registered())
    with storage_errors(str(prepared.home), "written"):
        prepared.home.shared.write(RESULT, _as_text(finished).encode())
    return finished


def _as_text(finished: Finished) -> str:
    return json.dumps(without_non_finite(asdict(finished)), indent=1, allow_nan=False)


def _start_seconds(record: Record, called: float) -> dict[str, float]:
    """Where the time to the first step went, as far as this driver saw it."""
    start, progress = record.first_start, record.first_progress
    if start is None or start.began is None or progress is None:
        return {}
    parts = {
        "workers": start.began - called,
        "model": start.time - start.began,
        "first_batch": progress.data_seconds,
        "first_step": progress.time - start.time - progress.data_seconds,
    }
    return {name: round(seconds, 2) for name, seconds in parts.items()}
