"""What a training would take on other machines than these, reckoned from the time of one sample and one step."""

import math
from dataclasses import dataclass

from rayox_platform.resources.demand import DATA_TASK_BYTES, DATA_TASK_CPUS, GIB, WORKER_BYTES

LONGEST_WAIT = 0.05  # share of a step that may be spent waiting for data
STREAM_EFFICIENCY = 0.9  # of what plain processes make, that the stream brings into a worker (see README, Measured)
WORTHWHILE = 0.5  # of a worker's speed alone, below which another one is not worth its price
GIGABIT = 1e9 / 8


@dataclass(frozen=True)
class Rates:
    """Seconds of one worker or one core."""

    sample_seconds: float  # of one augmented image, on one core
    step_seconds: float  # of a step, however small; of one core where there is no GPU
    image_seconds: float  # of each image of a step beside that
    evaluation_seconds: float  # of each image of an evaluation
    gradient_bytes: int
    checkpoint_bytes: int
    gpu: bool


@dataclass(frozen=True)
class Work:
    """What is to be done."""

    train_images: int
    val_images: int
    batch_size: int
    epochs: int
    evaluate_every: int
    checkpoints: int  # that are kept
    lanes: int


@dataclass(frozen=True)
class Outlook:
    """A training on so many workers."""

    workers: int
    images_per_second: float
    data_cpus: int  # beside the workers, so that they wait for data less than LONGEST_WAIT of the time
    epoch_seconds: float
    hours: float
    memory_gib: float
    storage_gib: float
    cost: float | None
    limit: str  # workers, data, network, batch
    efficiency: float  # speed of a worker against one alone


def outlook(
    rates: Rates,
    work: Work,
    workers: int,
    *,
    cpus: float | None = None,
    network_gigabits: float = 10.0,
    per_hour: float | None = None,
) -> Outlook:
    """cpus are all that there are (None: as many as it takes); per_hour is the price of a worker with its CPUs."""
    used = min(workers, work.batch_size)
    alone, together = _speed(rates, work, 1, network_gigabits), _speed(rates, work, used, network_gigabits)
    speed, limit = together, _what_limits(rates, work, used, workers, network_gigabits)
    possible = _possible(rates, cpus, used)
    if possible is not None and possible < together:
        speed, limit = possible, "data" if rates.gpu else "workers"
    data_cpus = math.ceil(speed * rates.sample_seconds / STREAM_EFFICIENCY / (1 - LONGEST_WAIT))
    evaluations = math.ceil(work.epochs / work.evaluate_every)
    evaluating = work.val_images * rates.evaluation_seconds / used * evaluations
    seconds = work.train_images * work.epochs / speed + evaluating
    tasks = math.ceil(data_cpus / DATA_TASK_CPUS)
    return Outlook(
        workers=workers,
        images_per_second=round(speed, 2),
        data_cpus=max(data_cpus, 1),
        epoch_seconds=round(seconds / work.epochs, 2),
        hours=round(seconds / 3600, 4),
        memory_gib=round((workers * WORKER_BYTES + tasks * DATA_TASK_BYTES) / GIB, 1),
        storage_gib=round(rates.checkpoint_bytes * (work.checkpoints + 1) / GIB, 3),
        cost=None if per_hour is None else round(seconds / 3600 * per_hour * workers, 2),
        limit=limit,
        efficiency=round(speed / (alone * workers), 2),
    )


def stops_at(rates: Rates, work: Work, network_gigabits: float = 10.0) -> int:
    """The most workers that are each worth half of one alone; more than the images of a batch never are."""
    alone, fits = _speed(rates, work, 1, network_gigabits), 1
    for workers in range(2, work.batch_size + 1):
        if _speed(rates, work, workers, network_gigabits) < WORTHWHILE * workers * alone:
            break
        fits = workers
    return fits


def _speed(rates: Rates, work: Work, workers: int, network_gigabits: float) -> float:
    """Images a second when no worker ever waits for data: the worker of the largest share sets the pace."""
    share = math.ceil(work.batch_size / workers)
    step = rates.step_seconds + share * rates.image_seconds + _reduce_seconds(rates, workers, network_gigabits)
    return work.batch_size / step


def _reduce_seconds(rates: Rates, workers: int, network_gigabits: float) -> float:
    """A ring's all-reduce sends each gradient almost twice."""
    return 2 * (workers - 1) / workers * rates.gradient_bytes / (network_gigabits * GIGABIT)


def _possible(rates: Rates, cpus: float | None, workers: int) -> float | None:
    """What so many cores make: of samples beside GPUs; of samples and steps where workers compute on them too."""
    if cpus is None:
        return None
    if rates.gpu:
        return max(cpus, DATA_TASK_CPUS) * STREAM_EFFICIENCY / rates.sample_seconds
    return cpus / (rates.sample_seconds / STREAM_EFFICIENCY + rates.image_seconds)


def _what_limits(rates: Rates, work: Work, used: int, workers: int, network_gigabits: float) -> str:
    if used < workers:
        return "batch"
    share = math.ceil(work.batch_size / used) * rates.image_seconds
    return "network" if _reduce_seconds(rates, used, network_gigabits) > share + rates.step_seconds else "workers"
