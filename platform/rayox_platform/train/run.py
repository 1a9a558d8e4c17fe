"""One training on a connected Ray cluster: the job handed out, its events followed, its result kept."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import ray

from rayox_model.checkpoint.checkpoint_folder import step_of
from rayox_model.checkpoint.snapshot import averaged_weights, read_facts
from rayox_model.detect.onnx_export import export_onnx
from rayox_model.nets.yolox import YOLOX
from rayox_platform.evaluate.examples import draw_examples
from rayox_platform.evaluate.metrics import METRICS, measured
from rayox_platform.ray_internals.prestart import start_first
from rayox_platform.resources.capacity import Capacity, Demand, capacity, room_for_block
from rayox_platform.resources.connected import connected_cluster
from rayox_platform.runs.events import Follower
from rayox_platform.runs.outbox_entries import Pictures, Registration
from rayox_platform.storage.errors import storage_errors
from rayox_platform.storage.state import RESULT
from rayox_platform.track.record import Record
from rayox_platform.train.fault_injection import Fault
from rayox_platform.train.fitting import fit
from rayox_platform.train.from_config import block_bytes, engine_settings, evaluation_settings, larger_blocks
from rayox_platform.train.job import TrainJob, extend_run, newest, start_run
from rayox_platform.train.prepare import Prepared

PICTURES = "predictions"
ONNX = "model.onnx"


@dataclass(frozen=True)
class Finished:
    """What a training left."""

    name: str
    run_id: str
    metrics: Mapping[str, float | None]  # the twelve of COCO
    checkpoint: str  # the last one
    best_checkpoint: str | None  # the one of the highest AP; none without an AP
    model: str  # the ONNX file
    registered: str  # models:/NAME/VERSION; empty while MLflow does not answer: `rayox runs sync` does it later
    pictures: str  # folder of drawn predictions
    images_per_second: float
    data_wait_fraction: float
    steps: int
    bad_images: tuple[str, ...]  # broken training images that were replaced: path and reason
    start_seconds: Mapping[str, float]  # from the call to the end of the first step, by part
    tracking_uri: str


def fitted(prepared: Prepared) -> tuple[Prepared, Capacity]:
    """The training as it suits the connected cluster, and what it gets of that. Raises ClusterError where none fits."""
    config, plan = prepared.config, prepared.plan
    cpus = None if config.train.cpus_per_worker == "auto" else config.train.cpus_per_worker
    fewest, most = config.train.workers
    demand, cluster = Demand(most, cpus, block_bytes(config, plan), plan.lanes, fewest), connected_cluster()
    given = capacity(demand, cluster)
    return replace(prepared, plan=larger_blocks(config, plan, room_for_block(demand, given, cluster))), given


def start_early(given: Capacity) -> None:
    """On a cluster of one machine, start the processes of workers: they import torch while the run is made."""
    if len(ray.nodes()) == 1:
        start_first(given.workers)


def run_training(prepared: Prepared, given: Capacity, record: Record, faults: tuple[Fault, ...] = ()) -> Finished:
    """Train on the connected Ray cluster; the record's show is called with every event, from another thread.

    faults are those of a drill.
    """
    called = time.time()
    job = _job(prepared, "cuda" if given.gpu else "cpu", faults)
    with storage_errors(str(prepared.home), "written"):
        if not prepared.resumed:
            start_run(job, prepared.network)
        if prepared.extended:
            extend_run(job, prepared.network)
            prepared.home.shared.remove(RESULT)
        checkpoint = newest(job)
    record.handle({"kind": "stage", "text": f"starting {given}"})
    if step_of(checkpoint) < job.plan.num_steps:  # else an earlier driver died after the last step
        with Follower(prepared.home.events, record.handle):
            checkpoint = fit(job, given, lambda text: record.handle({"kind": "note", "text": text}))
    return _finish(prepared, record, checkpoint, called)


def _job(prepared: Prepared, device_type: str, faults: tuple[Fault, ...]) -> TrainJob:
    config = prepared.config
    return TrainJob(
        home=prepared.home,
        model_size=config.model.size,
        classes=prepared.train_images.dataset.classes,
        train_images=prepared.train_images,
        val_images=prepared.val_images,
        plan=prepared.plan,
        augment=config.augment,
        engine=engine_settings(config, prepared.plan, device_type),
        evaluation=evaluation_settings(config),
        evaluate_every=config.train.evaluate_every,
        checkpoint_every=config.checkpoint.every_steps,
        checkpoint_minutes=config.checkpoint.every_minutes,
        keep=config.checkpoint.keep,
        max_failures=config.train.max_failures,
        spares=config.train.spares,
        timeout_seconds=config.train.timeout_seconds,
        resize_seconds=config.train.resize_seconds,
        max_bad_images=config.data.max_bad_images,
        config=config.model_dump(mode="json"),
        faults=faults,
    )


def _finish(prepared: Prepared, record: Record, checkpoint: str, called: float) -> Finished:
    """From the last checkpoint to a registered model and pictures; done again after a crash it changes nothing."""
    folder, tracking, checkpoints = prepared.folder, record.sender.tracking, prepared.home.checkpoints
    whole = checkpoints.fetch(checkpoint)
    facts = read_facts(whole)
    network = YOLOX(facts.size, len(facts.classes))
    network.load_state_dict(averaged_weights(whole))
    metrics = measured(facts.metrics)

    best = checkpoints.best()

    record.handle({"kind": "stage", "text": "drawing predictions"})
    draw_examples(network, prepared.val_images, prepared.config.image_size, folder / PICTURES)
    record.add(Pictures(PICTURES, PICTURES))
    record.handle({"kind": "stage", "text": "exporting and registering the model"})
    model = folder / ONNX
    export_onnx(network, facts.classes, facts.image_size, model)
    tags = {"run": folder.name, "size": facts.size, "classes": ", ".join(facts.classes)}
    tags |= {name: f"{metrics[name]:.4f}" for name in ("AP", "AP50") if name in metrics}
    record.add(Registration(prepared.config.tracking.model, ONNX, metrics, facts.epoch, tags))
    finished = Finished(
        name=folder.name,
        run_id=tracking.run_id,
        metrics={name: metrics.get(name) for name in METRICS},
        checkpoint=checkpoints.address(checkpoint),
        best_checkpoint=checkpoints.address(best) if best else None,
        model=prepared.home.shared.path(model.name),
        registered="",
        pictures=prepared.home.shared.path(PICTURES),
        images_per_second=record.mean("images_per_second"),
        data_wait_fraction=record.mean("data_wait_fraction"),
        steps=facts.step,
        bad_images=tuple(record.bad_images),
        start_seconds=_start_seconds(record, called),
        tracking_uri=tracking.store.shown,
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
    return json.dumps(asdict(finished), indent=1)


def _start_seconds(record: Record, called: float) -> dict[str, float]:
    """Where the time to the first step went, as far as this driver saw it."""
    start, progress = record.first_events.get("start"), record.first_events.get("progress")
    if start is None or progress is None:
        return {}
    first_batch = progress["data_seconds"]
    parts = {
        "workers": start["began"] - called,
        "model": start["time"] - start["began"],
        "first_batch": first_batch,
        "first_step": progress["time"] - start["time"] - first_batch,
    }
    return {name: round(seconds, 2) for name, seconds in parts.items()}
