"""One rank of a training: load the newest checkpoint, then train, evaluate and save, epoch after epoch."""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import ray.train
import ray.train.torch
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rayox_model.checkpoint import prune, restore, save_checkpoint
from rayox_model.engine import NonFiniteError, StepReport, TrainState, averaged_model, new_state, settle, train
from rayox_model.quarantine import Replacement, check_broken
from rayox_model.yolox import YOLOX
from rayox_platform.diagnosis import Progress, diagnose
from rayox_platform.distributed import Evaluated, check_equal_weights, evaluate_together, gathered
from rayox_platform.evaluation import highest_score
from rayox_platform.events import EventLog
from rayox_platform.meter import Meter
from rayox_platform.non_finite import explained, step_images
from rayox_platform.settings import for_workers
from rayox_platform.stream import rank_batches
from rayox_platform.train_job import TrainJob, facts_of, newest

REPORT_SECONDS = 1.0


def run_worker(setup: dict[str, Any]) -> None:
    """What Ray Train calls on every rank, at every start and restart; setup has the job and the torch threads."""
    began = time.time()
    job: TrainJob = setup["job"]
    torch.set_num_threads(setup["threads"])
    torch.manual_seed(job.engine.seed)
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    folder, start = newest(job)
    model = YOLOX(job.model_size, len(job.classes)).to(device)
    engine = for_workers(job.engine, job.plan, world_size)
    state = new_state(model, engine, device)
    restore(folder, state)
    replica = _replica(state.model, world_size, device)

    shard = ray.train.get_dataset_shard("train")
    log = EventLog(job.folder) if rank == 0 else None
    broken = BrokenImages(job)
    plan = replace(job.plan, start_step=start)
    batches = rank_batches(shard, plan, rank, world_size, partial(_report_stall, log), broken.add)
    if log:
        log.write("start", _start(start, world_size, began, folder.stat().st_mtime))
    try:
        _train(job, state, train(state, batches, engine, device, replica), device, rank, broken, log)
    except NonFiniteError as failure:
        step = failure.report.step
        images = step_images(job.train_images, plan, step, rank, world_size, job.augment, engine.image_size)
        raise explained(failure, state, engine, images, rank, job.folder) from None


def _train(
    job: TrainJob,
    state: TrainState,
    reports: Iterator[StepReport],
    device: torch.device,
    rank: int,
    broken: "BrokenImages",
    log: EventLog | None,
) -> None:
    """Follow the steps: measure, tell, evaluate and save."""
    meter, epoch_meter = Meter(job.plan.batch_size), Meter(job.plan.batch_size)
    first = True
    for report in reports:
        meter.add(report)
        epoch_meter.add(report)
        for kill in job.kills:
            kill.strike(job.folder, rank, state.step)
        if log and (first or meter.age_seconds > REPORT_SECONDS):
            log.write("progress", _progress(report, meter, state))
            meter = Meter(job.plan.batch_size)
        first = False
        if state.step % job.plan.steps_per_epoch == 0:
            broken.tell(log)
            settle(state)
            _end_epoch(job, state, device, report.epoch + 1, epoch_meter, log)
            meter, epoch_meter = Meter(job.plan.batch_size), Meter(job.plan.batch_size)
        elif job.checkpoint_every and state.step % job.checkpoint_every == 0:
            settle(state)  # on every worker: all of them fail together
            if log:
                _save(job, state, report.epoch, {}, log)


class BrokenImages:
    """The broken images that this rank's blocks did without; the run stops when they are too many."""

    def __init__(self, job: TrainJob) -> None:
        self._job = job
        self._found: dict[int, Replacement] = {}

    def add(self, found: list[Replacement]) -> None:
        """Raises DataError at once when this rank alone has met more than may be."""
        self._found |= {one.index: one for one in found}
        self._check()

    def tell(self, log: EventLog | None) -> None:
        """Put together what all ranks have met, and write what is new; every rank calls this at the end of an epoch."""
        for part in gathered(self._found):
            self._found |= part
        self._check()
        if log and self._found:
            named = [self._found[index].why for index in sorted(self._found)]
            log.write("bad_images", {"images": named})

    def _check(self) -> None:
        check_broken(self._found.values(), self._job.plan.num_images, self._job.max_bad_images)


def _report_stall(log: EventLog | None, cause: str) -> None:
    if log:
        log.write("stall", {"text": cause})


def _replica(model: nn.Module, world_size: int, device: torch.device) -> DistributedDataParallel | None:
    """Batch-norm statistics are not broadcast: training does not read those that move, and rank 0's are kept."""
    if world_size == 1:
        return None
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
    )


def _end_epoch(
    job: TrainJob, state: TrainState, device: torch.device, epoch: int, meter: Meter, log: EventLog | None
) -> None:
    """Evaluate the averaged model if it is time, save, and tell Ray Train once."""
    metrics: dict[str, float] = {}
    digest = check_equal_weights(state.model, state.step)
    if epoch % job.evaluate_every == 0 or epoch == job.plan.epochs:
        if log:
            log.write("stage", {"text": f"evaluating after epoch {epoch}"})
        found = evaluate_together(averaged_model(state), job.val_images, job.evaluation, job.engine, device)
        metrics = asdict(found.scores.metrics) if found else {}
        if log and found and found.scores.metrics.AP == 0:
            log.write("diagnosis", {"epoch": epoch, "text": _why_zero(job, state, found)})
    if log:
        summary = meter.summary() | metrics
        log.write("epoch", {"epoch": epoch, "step": state.step, "metrics": summary, "weights": digest})
        _save(job, state, epoch, metrics, log)
    ray.train.report(metrics)


def _why_zero(job: TrainJob, state: TrainState, found: Evaluated) -> str:
    threshold, progress = job.evaluation.score_threshold, Progress(state.step, job.engine.schedule.warmup_steps)
    best = partial(highest_score, found.detector, job.val_images, job.evaluation)
    return diagnose(job.val_images.dataset, found.detections, threshold, best, progress)


def _save(job: TrainJob, state: TrainState, epoch: int, metrics: dict[str, float], log: EventLog) -> None:
    path = save_checkpoint(job.checkpoints, state, facts_of(job, state, epoch, metrics))
    prune(job.checkpoints, job.keep)
    log.write("checkpoint", {"step": state.step, "path": str(path)})


def _start(step: int, world_size: int, began: float, checkpoint_time: float) -> dict[str, Any]:
    """began is when Ray Train called this rank; from there to this event the network was made and loaded."""
    return {
        "step": step,
        "workers": world_size,
        "node": os.uname().nodename,
        "pid": os.getpid(),
        "began": began,
        "checkpoint_time": checkpoint_time,
    }


def _progress(report: StepReport, meter: Meter, state: TrainState) -> dict[str, Any]:
    return {
        "step": state.step,
        "epoch": report.epoch,
        "learning_rate": report.learning_rate,
        "data_seconds": report.data_seconds,
        **meter.summary(),
    }
