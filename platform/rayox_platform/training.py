"""A training on Ray Train: how it is started, how it ends, and what its errors mean."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import ray
import ray.train
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig

from rayox_model.errors import RayoxError, TrainingError
from rayox_platform.blocks import SampleBlocks
from rayox_platform.capacity import Capacity
from rayox_platform.events import EventLog
from rayox_platform.interruption import InterruptibleTrainer
from rayox_platform.reservations import refresh_for_a_while
from rayox_platform.stream import LaneSplit, stream_dataset
from rayox_platform.train_job import TrainJob, newest
from rayox_platform.worker import run_worker


def fit(job: TrainJob, given: Capacity, say: Callable[[str], None] = lambda text: None) -> Path:
    """Train on the connected cluster until the last epoch; returns the last checkpoint.

    say is told what a user should know meanwhile. Raises TrainingError, and KeyboardInterrupt after a signal.
    """
    images = ray.put(job.train_images)

    def stream() -> ray.data.Dataset:  # called by Ray Train's controller at every start and restart
        plan = replace(job.plan, start_step=newest(job)[1])
        blocks = SampleBlocks(images, plan, job.augment, job.engine.image_size)
        return stream_dataset(blocks, given.cpus_per_data_task)

    fewest = given.fewest_workers
    trainer = InterruptibleTrainer(
        run_worker,
        folder=job.folder,
        say=say,
        train_loop_config={"job": job, "threads": given.threads_per_worker},
        torch_config=TorchConfig(timeout_s=math.ceil(job.timeout_seconds)),
        scaling_config=ScalingConfig(
            num_workers=given.workers if fewest == given.workers else (fewest, given.workers),
            use_gpu=given.gpu,
            resources_per_worker={"CPU": given.cpus_per_worker} | ({"GPU": 1} if given.gpu else {}),
            elastic_resize_monitor_interval_s=job.resize_seconds,
        ),
        run_config=RunConfig(
            name=job.folder.name,
            storage_path=str(job.folder / "ray"),
            failure_config=FailureConfig(max_failures=job.max_failures),
            callbacks=[_Failures(job.folder)],
        ),
        datasets={"train": stream},
        dataset_config=LaneSplit(),
    )
    try:
        trainer.fit_interruptibly()
    except (RayError, ray.train.TrainingFailedError) as error:
        raise _as_user_error(error, job) from error
    folder, step = newest(job)
    if step < job.plan.num_steps:
        raise TrainingError(
            f"run {job.folder.name}: training is done, but its last checkpoint could not be written to "
            f"{job.checkpoints}: the newest one is of step {step} of {job.plan.num_steps}",
            f"make room there, then train the rest again with --resume {job.folder.name}",
        )
    return folder


class _Failures(ray.train.UserCallback):  # type: ignore[misc]
    """Tells of every failure of workers as soon as Ray Train has seen it, and ends the run where a restart cannot help.

    A damaged image or a loss that is no number is there again after a restart: what this raises ends the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def after_exception(self, run_context: object, worker_exceptions: Mapping[int, BaseException]) -> None:
        for failure in worker_exceptions.values():
            error = find_user_error(failure)
            if error is not None:
                raise error
        reasons = {rank: _last_line(failure) for rank, failure in worker_exceptions.items()}
        text = "; ".join(f"worker {rank}: {reason}" for rank, reason in reasons.items())
        EventLog(self._folder).write("failure", {"ranks": sorted(reasons), "text": text})
        refresh_for_a_while()


def _last_line(failure: BaseException) -> str:
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    return lines[-1][:200] if find_user_error(failure) is None else str(find_user_error(failure))


def find_user_error(failure: BaseException | None) -> RayoxError | None:
    """The RayoxError inside what Ray wrapped around it, on its way from a task to a worker to the driver."""
    if failure is None or isinstance(failure, RayoxError):
        return failure
    inner = [getattr(failure, name, None) for name in ("_base_exc", "cause", "controller_failure", "__cause__")]
    inner += getattr(failure, "worker_failures", {}).values()
    found = (find_user_error(cause) for cause in inner if isinstance(cause, BaseException))
    return next((error for error in found if error is not None), None)


def _as_user_error(error: Exception, job: TrainJob) -> RayoxError:
    """The worker's own message if it had one, else the last line of what Ray says."""
    own = find_user_error(error)
    if own is not None:
        return own
    last = str(error).strip().splitlines()[-1]
    return TrainingError(
        f"run {job.folder.name}: training stopped after {job.max_failures} restarts: {last}",
        f"continue from its last checkpoint with --resume {job.folder.name}",
    )
