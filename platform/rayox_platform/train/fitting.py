"""A training on Ray Train: how it is started, how it ends, and what its errors mean."""

import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import ray
import ray.train
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from rayox_model.checkpoint.checkpoint_folder import step_of
from rayox_model.core.errors import ClusterError, TrainingError
from rayox_platform.config.tree import Config
from rayox_platform.ray_internals.preloading import import_waiting
from rayox_platform.ray_internals.prestart import keep_spare_helpers, worker_environment
from rayox_platform.ray_internals.reservations import refresh_for_a_while
from rayox_platform.resources.data_room import share_for_data
from rayox_platform.resources.demand import Capacity
from rayox_platform.resources.node_labels import selector
from rayox_platform.runs.checkpoints import Chosen
from rayox_platform.runs.event_kinds import Failure
from rayox_platform.runs.events import Events
from rayox_platform.storage.errors import storage_errors
from rayox_platform.stream.blocks import SampleBlocks
from rayox_platform.stream.dataset import LaneSplit, stream_dataset
from rayox_platform.stream.stall import lost_nodes
from rayox_platform.train.failures import as_user_error, find_user_error, how_to_go_on, last_line
from rayox_platform.train.interruption import fit_interruptibly
from rayox_platform.train.job import TrainJob, newest
from rayox_platform.train.room import told_of_waiting
from rayox_platform.train.starting_point import choose
from rayox_platform.train.worker import run_worker


def fit(
    job: TrainJob,
    given: Capacity,
    checkpoint: str,
    say: Callable[[str], None] = lambda text: None,
    is_started: Callable[[], bool] = lambda: True,
) -> Chosen:
    """Train on the connected cluster from a checkpoint (its name) to the job's last epoch; returns the last one.

    say is told what a user should know meanwhile; is_started tells whether workers have begun and not failed since.
    Raises TrainingError, and KeyboardInterrupt after a signal.
    """
    trainer = _trainer(job, given, checkpoint)
    starts = _num_starts(job)
    import_waiting()
    try:
        with told_of_waiting(job, given, is_started):
            fit_interruptibly(trainer.fit, job.home, say, is_started)
    except (RayError, ray.train.TrainingFailedError) as error:
        raise as_user_error(error, job, given, starts) from error
    except ClusterError as error:  # the head is gone, which nobody else can tell
        raise ClusterError(error.message, f"{error.hint}; {how_to_go_on(job)}") from error
    with storage_errors(str(job.home), "read"):
        last = newest(job)
    if step_of(last.name) < job.stop_step:
        raise TrainingError(
            f"run {job.home.name}: training is done, but its last checkpoint could not be written to "
            f"{job.checkpoints}: the latest one is from step {step_of(last.name)} of {job.stop_step}",
            f"make room there, then train the rest again with --resume {job.home.name}",
        )
    return last


def _trainer(job: TrainJob, given: Capacity, checkpoint: str) -> TorchTrainer:
    """What Ray Train runs: the job's workers, and the stream that they share, from a checkpoint on."""
    images = ray.put(job.train_images)
    first = [checkpoint]  # later starts go from what has been trained meanwhile

    def stream() -> ray.data.Dataset:  # called by Ray Train's controller at every start and restart
        if job.config.train.spares:
            keep_spare_helpers()
        plan = replace(job.plan, start_step=step_of(choose(job, first.pop() if first else None)))
        blocks = SampleBlocks(images, plan, job.config.augment, job.engine.image_size)
        share = share_for_data(given.cpus_per_data_task, job.config.data.nodes)
        return stream_dataset(blocks, share, selector(job.config.data.nodes))

    ray_path, ray_filesystem = job.home.ray_storage
    return TorchTrainer(
        run_worker,
        train_loop_config={"job": job, "threads": given.threads_per_worker, "lost_before": lost_nodes()},
        torch_config=TorchConfig(backend=_backend(given), timeout_s=math.ceil(job.config.train.timeout_seconds)),
        scaling_config=scaling(job.config, given),
        run_config=RunConfig(
            name=job.home.name,
            storage_path=ray_path,
            storage_filesystem=ray_filesystem,
            failure_config=FailureConfig(
                max_failures=job.config.train.max_failures,
                controller_failure_limit=_tries_for_room(job.config.train.timeout_seconds),
            ),
            callbacks=[_Failures(job.home.events)],
            worker_runtime_env={"env_vars": worker_environment()},
        ),
        datasets={"train": stream},
        dataset_config=LaneSplit(),
    )


def scaling(config: Config, given: Capacity) -> ScalingConfig:
    """What is asked of Ray for the workers."""
    fewest = given.fewest_workers
    return ScalingConfig(
        num_workers=given.workers if fewest == given.workers else (fewest, given.workers),
        use_gpu=given.gpu,
        resources_per_worker=given.reserved,
        label_selector=selector(config.train.nodes) or None,
        elastic_resize_monitor_interval_s=config.train.resize_seconds,
    )


def _backend(given: Capacity) -> str | None:
    """NCCL refuses two ranks on one GPU, which have gloo then; None leaves the choice to Ray."""
    return "gloo" if given.gpu and given.gpus_per_worker < 1 else None


class _Failures(ray.train.UserCallback):  # type: ignore[misc]
    """Tells of every failure of workers as soon as Ray Train has seen it, and ends the run where a restart cannot help.

    A damaged image or a loss that is not finite is there again after a restart: what this raises ends the run.
    """

    def __init__(self, events: Events) -> None:
        self._events = events

    def after_exception(self, run_context: object, worker_exceptions: Mapping[int, BaseException]) -> None:
        for failure in worker_exceptions.values():
            error = find_user_error(failure)
            if error is not None:
                raise error
        reasons = {rank: last_line(failure) for rank, failure in worker_exceptions.items()}
        text = "; ".join(f"worker {rank}: {reason}" for rank, reason in reasons.items())
        refresh_for_a_while()
        with suppress(OSError):  # the store is away: the next start tells of itself
            self._events.tell(Failure(ranks=sorted(reasons), text=text))


def _tries_for_room(seconds: float) -> int:
    """How often Ray Train asks for room for all workers: a machine that was lost may be replaced, but not forever."""
    each = float(os.environ.get("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "60"))
    return math.ceil(seconds / each)


def _num_starts(job: TrainJob) -> int:
    with storage_errors(str(job.home), "read"):
        return job.home.events.num_starts()
