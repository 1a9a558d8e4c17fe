"""One way to train, for the command line, a campaign's trial, a submitted job and the tests.

`prepare` checks a training, `fitted` says what it gets of the connected cluster, `train` trains it up to its last
checkpoint. What is made of that (pictures, an exported and registered model) is `finishing`, for those who want it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import ray

from rayox_model.checkpoint.checkpoint_folder import step_of
from rayox_model.checkpoint.snapshot import Verified
from rayox_model.core.errors import ConfigError
from rayox_platform.evaluate.metrics import measured
from rayox_platform.ray_internals.prestart import start_first
from rayox_platform.resources.capacity import capacity, room_for_block
from rayox_platform.resources.connected import connected_cluster
from rayox_platform.resources.demand import Capacity, Demand
from rayox_platform.resources.node_labels import divided, selector
from rayox_platform.runs.checkpoints import Chosen
from rayox_platform.runs.event_kinds import CheckpointSkipped
from rayox_platform.runs.events import Follower, Watch, tell_stage
from rayox_platform.storage.errors import storage_errors
from rayox_platform.storage.state import RESULT
from rayox_platform.train.fault_injection import Fault
from rayox_platform.train.fitting import fit
from rayox_platform.train.in_process import fit_in_process
from rayox_platform.train.interruption import Standing
from rayox_platform.train.job import TrainJob, extend_run, fork_run, job_of, newest, start_run
from rayox_platform.train.prepare import Prepared
from rayox_platform.train.stream_blocks import block_bytes, larger_blocks


@dataclass(frozen=True)
class Trained:
    """How far a run has been trained, and where that is kept."""

    name: str
    checkpoint: str  # the name of its last one, see RunHome.checkpoints
    step: int
    epoch: int  # finished ones
    whole: bool  # all its epochs; a run that was paused can be trained on
    metrics: Mapping[str, float]  # of the last evaluation: AP, AP50 …
    began: float  # when training was called for, in seconds since 1970


def fitted(prepared: Prepared) -> tuple[Prepared, Capacity]:
    """The training as it suits the connected cluster, and what it gets of that. Raises ClusterError where none fits."""
    config, plan = prepared.config, prepared.plan
    cpus = None if config.train.cpus_per_worker == "auto" else config.train.cpus_per_worker
    fewest, most = config.train.workers
    demand = Demand(
        most, cpus, block_bytes(config, plan), plan.lanes, fewest, gpus_per_worker=config.train.gpus_per_worker
    )
    cluster = divided(connected_cluster(), selector(config.train.nodes), selector(config.data.nodes))
    given = capacity(demand, cluster)
    return replace(prepared, plan=larger_blocks(config, plan, room_for_block(demand, given, cluster))), given


def start_early(given: Capacity) -> None:
    """On a cluster of one machine, start the processes of workers: they import torch while the run is made."""
    if len(ray.nodes()) == 1:
        start_first(given.workers)


def train(
    prepared: Prepared,
    given: Capacity,
    show: Watch = lambda event: None,
    *,
    until_epoch: int | None = None,
    fork: Path | Verified | None = None,
    in_process: bool = False,
    faults: tuple[Fault, ...] = (),
) -> Trained:
    """Train a claimed run (see RunHome.claim) on the connected Ray cluster up to its last checkpoint.

    show is called with every event, from another thread unless in_process. until_epoch pauses the run after so many
    finished epochs: training it on later (prepare with resume) changes no bit of the result. fork is a checkpoint
    folder of another run, whose whole state a new run begins with. in_process trains in this process, with one worker
    and without Ray Train: for one who is a Ray task or actor already; Ray Data feeds it all the same.

    Raises TrainingError, and after a signal KeyboardInterrupt.
    """
    began = time.time()
    if in_process and given.workers > 1:
        raise ConfigError(f"train.workers {given.workers}: one process trains one worker", "set train.workers=1")
    job = job_of(prepared, "cuda" if given.gpu else "cpu", until_epoch, faults)
    with storage_errors(str(prepared.home), "written"):
        chosen = _newest_now(job, prepared.chosen, show)
        checkpoint = _first_checkpoint(prepared, job, chosen, fork)
    tell_stage(prepared.home.events, f"starting {given}", show)
    if step_of(checkpoint) >= job.stop_step:  # an earlier driver died after the last step
        last = chosen if chosen and chosen.name == checkpoint else newest(job)
    elif in_process:
        last = fit_in_process(job, given, checkpoint, show)
    else:
        standing = Standing(show)
        with Follower(prepared.home.events, standing.show):
            last = fit(job, given, checkpoint, standing.say, standing.is_started)
    return _trained(job, last, began)


def _newest_now(job: TrainJob, chosen: Chosen | None, show: Watch) -> Chosen | None:
    """The one chosen, or the newest anew where another driver has gone on with the run before this one claimed it."""
    if chosen is None:
        return None
    if job.checkpoints.names() != chosen.among:
        chosen = newest(job)
    for reason in chosen.skipped:
        show(CheckpointSkipped(text=reason))
    return chosen


def _first_checkpoint(prepared: Prepared, job: TrainJob, chosen: Chosen | None, fork: Path | Verified | None) -> str:
    """The name of the one that training starts from, written if need be."""
    if chosen is None:
        return fork_run(job, prepared.network, fork) if fork else start_run(job, prepared.network)
    if prepared.extended:
        prepared.home.shared.remove(RESULT)
        return extend_run(job, prepared.network, chosen.checkpoint)
    return chosen.name


def _trained(job: TrainJob, last: Chosen, began: float) -> Trained:
    facts = last.facts
    return Trained(
        name=job.home.name,
        checkpoint=last.name,
        step=facts.step,
        epoch=facts.epoch,
        whole=facts.step >= job.plan.num_steps,
        metrics=measured(facts.metrics),
        began=began,
    )
