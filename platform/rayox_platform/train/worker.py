"""One rank of a training: load the newest checkpoint, then train, evaluate and save, epoch after epoch."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ray.train
import ray.train.torch
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rayox_model.checkpoint.checkpoint_folder import step_of
from rayox_model.checkpoint.snapshot import restore
from rayox_model.core.quarantine import Replacement, check_broken
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import NonFiniteError, StepReport, TrainState, averaged_model, new_state, settle, train
from rayox_platform.evaluate.evaluation import highest_score
from rayox_platform.ray_internals.prestart import keep_spare_worker
from rayox_platform.runs.event_kinds import BadImages, Diagnosis, Epoch, Note, Progress, RunEvent, Stage, Stall, Start
from rayox_platform.runs.events import EventLog, Watch
from rayox_platform.stream.batches import rank_batches
from rayox_platform.stream.stall import Patience
from rayox_platform.train import diagnosis
from rayox_platform.train.distributed import (
    Agreement,
    Evaluated,
    broadcast,
    check_equal_weights,
    evaluate_together,
    gathered,
)
from rayox_platform.train.from_config import for_workers
from rayox_platform.train.job import Measured, TrainJob
from rayox_platform.train.non_finite import explained, step_images
from rayox_platform.train.preemption import stop_is_asked
from rayox_platform.train.prometheus import RunGauges
from rayox_platform.train.saving import Saver
from rayox_platform.train.scale_search import ScaleSearch
from rayox_platform.train.starting_point import chosen
from rayox_platform.train.step_statistics import StepStatistics
from rayox_platform.train.watchdog import Watchdog

REPORT_SECONDS = 1.0


def _nothing() -> None:
    pass


class Rank(NamedTuple):
    """One of the workers of a training."""

    rank: int
    world_size: int
    device: torch.device
    threads: int  # of torch
    lost_before: frozenset[str] = frozenset()  # ids of nodes that were gone before the run came


def run_worker(setup: dict[str, Any]) -> None:
    """What Ray Train calls on every rank, at every start and restart; setup has the job and the torch threads."""
    began = time.time()
    context = ray.train.get_context()
    world = context.get_world_rank(), context.get_world_size()
    me = Rank(*world, ray.train.torch.get_device(), setup["threads"], setup["lost_before"])
    shard = ray.train.get_dataset_shard("train")
    job: TrainJob = setup["job"]
    checkpoint = broadcast(chosen(job) if me.rank == 0 else "")
    spare = keep_spare_worker if job.config.train.spares else _nothing
    train_rank(job, me, shard, checkpoint, ray.train.report, after_first_step=spare, began=began)


def train_rank(
    job: TrainJob,
    me: Rank,
    shard: ray.data.DataIterator,
    checkpoint: str,
    report: Callable[[dict[str, float]], None] = lambda metrics: None,
    *,
    watch: Watch = lambda event: None,
    after_first_step: Callable[[], None] = _nothing,
    began: float | None = None,
) -> None:
    """Train from a checkpoint (its name) to the job's last epoch; report is called at the end of each.

    shard is of the stream from that checkpoint's step on; watch is called with every event; began is when the call
    came, in seconds since 1970.
    """
    began = began or time.time()
    torch.set_num_threads(me.threads)
    torch.manual_seed(job.engine.seed)
    log = _event_log(job, watch) if me.rank == 0 else None
    if broadcast(stop_is_asked(job.home.shared) if log else False):
        return
    start = step_of(checkpoint)
    if start >= job.stop_step:  # a rank died after the last checkpoint was there
        return
    broken = BrokenImages(job)
    plan = replace(job.plan, start_step=start)
    batches = rank_batches(
        shard,
        plan,
        me.rank,
        me.world_size,
        report_stall=partial(_report_stall, log),
        report_broken=broken.add,
        patience=Patience(lost_before=me.lost_before),
    )
    whole = job.checkpoints.verified(checkpoint)
    model = YOLOX(job.config.model.size, len(job.classes)).to(me.device)
    engine = for_workers(job.engine, job.plan, me.world_size)
    state = new_state(model, engine, me.device)
    restore(whole, state)
    replica = _replica(state.model, me.world_size, me.device)
    nodes = gathered(str(ray.get_runtime_context().get_node_id()))
    if log:
        log.write(_start(job, start, nodes, began, whole.folder.stat().st_mtime))
    try:
        _train(job, state, train(state, batches, engine, me.device, replica), me, broken, log, report, after_first_step)
    except NonFiniteError as failure:
        step, augment = failure.report.step, job.config.augment
        images = step_images(job.train_images, plan, step, me.rank, me.world_size, augment, engine.image_size)
        raise explained(failure, state, engine, images, me.rank, job.home) from None


def _event_log(job: TrainJob, watch: Watch) -> EventLog:
    gauges = RunGauges(job.home)

    def take(event: RunEvent) -> None:
        gauges.take(event)
        watch(event)

    return job.home.events.log(take)


def _train(
    job: TrainJob,
    state: TrainState,
    steps: Iterator[StepReport],
    me: Rank,
    broken: "BrokenImages",
    log: EventLog | None,
    report: Callable[[dict[str, float]], None],
    after_first_step: Callable[[], None],
) -> None:
    """Follow the steps: measure, tell, evaluate and save; all ranks stop at one step when the run is asked to."""
    with (
        Saver(job, log) if log else nullcontext() as saver,
        Watchdog(job.home.shared, me.rank, job.config.train.timeout_seconds) as dog,
    ):
        agreed = Agreement(job.config.train.timeout_seconds)
        meter, epoch_meter = StepStatistics(job.plan.batch_size), StepStatistics(job.plan.batch_size)
        first, search = True, ScaleSearch()
        for step in steps:
            if saver:
                saver.has_trained = True
            dog.beat()
            meter.add(step)
            epoch_meter.add(step)
            for fault in job.faults:
                fault.strike(job.home.shared, me.rank, state.step)
            if log and (first or meter.age_seconds > REPORT_SECONDS):
                progress = _progress(step, meter, state)
                log.write(progress)
                if said := search.said(progress):
                    log.write(Note(text=said))
                meter = StepStatistics(job.plan.batch_size)
            if first:
                after_first_step()
            first = False
            if state.step % job.plan.steps_per_epoch == 0:
                broken.tell(log)
                settle(state)  # on every worker: all of them fail together
                measured = _end_epoch(job, state, me.device, step.epoch + 1, epoch_meter, log)
                if saver:
                    saver.save(state, step.epoch + 1, measured)
                report(measured.metrics)
                epoch_meter = StepStatistics(
                    job.plan.batch_size
                )  # the other goes on: epochs may be shorter than a second
                dog.beat()
                if state.step >= job.stop_step:
                    return
            elif saver:
                saver.after_step(state, step.epoch)
            if agreed(saver is not None and saver.asked_to_stop):
                settle(state)
                if saver:
                    saver.save_last(state, step.epoch)
                return


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
            log.write(BadImages(images=named))

    def _check(self) -> None:
        check_broken(self._found.values(), self._job.plan.num_images, self._job.config.data.max_bad_images)


def _report_stall(log: EventLog | None, cause: str) -> None:
    if log:
        log.write(Stall(text=cause))


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
    job: TrainJob, state: TrainState, device: torch.device, epoch: int, meter: StepStatistics, log: EventLog | None
) -> Measured:
    """Compare the ranks' weights and, if it is time, evaluate the averaged model; the numbers are rank 0's alone."""
    measured = Measured()
    digest = check_equal_weights(state.model, state.step)
    evaluated = epoch % job.config.train.evaluate_every == 0 or epoch == job.stop_epoch
    if evaluated:
        if log:
            log.write(Stage(text=f"evaluating after epoch {epoch}"))
        found = evaluate_together(averaged_model(state), job.val_images, job.evaluation, job.engine, device)
        if found:
            measured = Measured(found.scores.metrics.measured(), found.operating.as_json())
        if log and found and found.scores.metrics.AP == 0:
            log.write(Diagnosis(epoch=epoch, text=_why_zero(job, state, found)))
    if log:
        summary = meter.summary() | measured.metrics
        log.write(Epoch(epoch=epoch, step=state.step, evaluated=evaluated, metrics=summary, weights=digest))
    return measured


def _why_zero(job: TrainJob, state: TrainState, found: Evaluated) -> str:
    threshold = job.evaluation.score_threshold
    progress = diagnosis.Progress(state.step, job.engine.schedule.warmup_steps)
    best = partial(highest_score, found.detector, job.val_images, job.evaluation)
    return diagnosis.diagnose(job.val_images.dataset, found.detections, threshold, best, progress)


def _start(job: TrainJob, step: int, nodes: list[str], began: float, checkpoint_time: float) -> Start:
    return Start(
        step=step,
        workers=len(nodes),
        nodes=nodes,
        node=os.uname().nodename,
        pid=os.getpid(),
        born=_process_start(),
        began=began,
        checkpoint_time=checkpoint_time,
        num_steps=job.plan.num_steps,
        epochs=job.plan.epochs,
    )


def _process_start() -> float:
    """When the system started this process, in seconds since 1970, to a hundredth."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def _progress(report: StepReport, meter: StepStatistics, state: TrainState) -> Progress:
    return Progress(
        step=state.step,
        epoch=report.epoch,
        learning_rate=report.learning_rate,
        data_seconds=report.data_seconds,
        **meter.summary(),
    )
