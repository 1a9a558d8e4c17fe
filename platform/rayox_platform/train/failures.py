"""What went wrong with a training, told from what Ray wrapped around it: which kind, where, and how to go on.

Ray has few errors of its own; a user wants to know whether the cluster is gone, has no room, or the training failed.
"""

from rayox_model.checkpoint.checkpoint_folder import step_of
from rayox_model.core.errors import ClusterError, ConfigError, ModelError, RayoxError, TrainingError
from rayox_platform.resources.connected import connected_cluster
from rayox_platform.resources.demand import Capacity
from rayox_platform.resources.machines import described
from rayox_platform.storage.errors import OTHERWISE
from rayox_platform.storage.object_store import explained
from rayox_platform.train.job import TrainJob, newest
from rayox_platform.train.room import what_would_fit

NO_ROOM = {"WorkerGroupStartupTimeoutError", "InsufficientClusterResourcesError"}  # Ray Train's, by their names


def as_user_error(error: Exception, job: TrainJob, given: Capacity, starts_before: int) -> RayoxError:
    """The worker's own message if it had one, else what Ray's error means.

    starts_before is how often the run had begun to train before this driver came.
    """
    own = find_user_error(error)
    if own is not None:
        return own
    going_on = how_to_go_on(job)
    if any(kind.__name__ in NO_ROOM for cause in causes(error) for kind in type(cause).__mro__):
        waited = f"{job.config.train.timeout_seconds:.0f} s"
        cluster = connected_cluster()
        return ClusterError(
            f"run {job.home.name}: {given} have found no room for {waited}, as machines were lost "
            f"or others use them: {described(cluster)}",
            f"bring machines back, or lower train.workers ({what_would_fit(job, cluster)}); {going_on}",
        )
    fault = next((cause for cause in causes(error) if _is_of_storage(cause, job)), None)
    if isinstance(fault, OSError):
        said, hint = explained(fault, OTHERWISE)
        return ConfigError(
            f"storage: a worker cannot use {job.home} any more ({said})", "; ".join(filter(None, (hint, going_on)))
        )
    restarts = _restarts(job, starts_before)
    after = f" after {restarts} restart{'s' if restarts > 1 else ''}" if restarts else ""
    return TrainingError(f"run {job.home.name}: training stopped{after}: {last_line(error)}", going_on)


def how_to_go_on(job: TrainJob) -> str:
    """What is true of this run's checkpoints now."""
    command = f"--resume {job.home.name}"
    try:
        step = step_of(newest(job).name)
    except (OSError, ModelError):
        return f"its checkpoints cannot be read now; when they can, {command} continues from the newest"
    if step:
        return f"continue from its checkpoint of step {step} with {command}"
    return f"it has trained no step that a checkpoint has: {command} begins it again"


def find_user_error(failure: BaseException | None) -> RayoxError | None:
    """The RayoxError inside what Ray wrapped around it, on its way from a task to a worker to the driver."""
    if failure is None:
        return None
    return next((cause for cause in causes(failure) if isinstance(cause, RayoxError)), None)


def causes(failure: BaseException) -> list[BaseException]:
    """The failure and all that it wraps, from the outside in."""
    inner = [getattr(failure, name, None) for name in ("cause", "controller_failure", "__cause__")]
    inner += failure.args  # Ray Train's wrapper of a worker's error is made with it
    inner += getattr(failure, "worker_failures", {}).values()
    found = [failure]
    for cause in inner:
        if isinstance(cause, BaseException):
            found += [one for one in causes(cause) if one not in found]
    return found


def last_line(failure: BaseException) -> str:
    """The failure in a line."""
    own = find_user_error(failure)
    if own is not None:
        return str(own)
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    return lines[-1][:200]


def _is_of_storage(cause: BaseException, job: TrainJob) -> bool:
    """Whether the system or a bucket has refused a file of the run; images that cannot be read are DataErrors."""
    if not isinstance(cause, OSError):
        return False
    of_run = str(cause.filename or "").startswith(str(job.home))
    return of_run or any(word in str(cause) for word in ("AWS Error", "google::cloud"))


def _restarts(job: TrainJob, starts_before: int) -> int:
    try:
        return max(job.home.events.num_starts() - starts_before - 1, 0)
    except OSError:
        return 0
