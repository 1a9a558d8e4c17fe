"""What a training would take on other machines than these, estimated from the time of one sample and one step."""

import math
from dataclasses import dataclass

from rayox_platform.resources.demand import DATA_TASK_BYTES, DATA_TASK_CPUS, GIB, WORKER_BYTES

LONGEST_WAIT = 0.05  # share of a step that may be spent waiting for data
BLOCK_SECONDS = 0.15  # of a core, that Ray takes for a block of the stream however large it is
RAY_CPUS = 0.4  # that Ray's own processes, the driver and MLflow take of a machine without a GPU while it trains
WORTHWHILE = 0.5  # of a worker's speed alone, below which another one is not worth its price
GIGABIT = 1e9 / 8
ROUNDS = 8


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
    together: float = 1.0  # speed of a core while all cores work, against one that works alone


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
    block_images: int = 64  # of the stream


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
    alone, speed = (_speed(rates, work, count, network_gigabits, cpus) for count in (1, used))
    limit = _what_limits(rates, work, used, workers, network_gigabits)
    possible = _possible(rates, work, cpus, used)
    if possible < speed:
        speed, limit = possible, "data" if rates.gpu else "workers"
    alone = min(alone, _possible(rates, work, cpus, 1))
    data_cpus = math.ceil(speed * _made_seconds(rates, work) / rates.together / (1 - LONGEST_WAIT))
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
    """The most workers of which each still adds half of what one alone does; at most one for each image of a batch."""
    alone, fits = _speed(rates, work, 1, network_gigabits), 1
    for workers in range(2, work.batch_size + 1):
        if _speed(rates, work, workers, network_gigabits) < WORTHWHILE * workers * alone:
            break
        fits = workers
    return fits


def _speed(rates: Rates, work: Work, workers: int, network_gigabits: float, cpus: float | None = None) -> float:
    """Images a second when no worker ever waits for data: the worker of the largest share sets the pace."""
    share = math.ceil(work.batch_size / workers)
    computing = rates.step_seconds + share * rates.image_seconds / _threads(rates, workers, cpus)
    reducing = _reduce_seconds(rates, workers, network_gigabits)
    speed = work.batch_size / (computing + reducing)
    if rates.gpu:
        return speed
    for _ in range(ROUNDS):  # how busy the other cores are depends on the speed, and the speed on that
        speed = work.batch_size / (computing * _slower(rates, work, workers, cpus, speed) + reducing)
    return speed


def _slower(rates: Rates, work: Work, workers: int, cpus: float | None, speed: float) -> float:
    """How many times longer a core takes than alone, as the other cores compute too (all of them, if unknown)."""
    busy = 1.0
    if cpus is not None and cpus > 1:
        computing = workers * _threads(rates, workers, cpus)
        busy = min(1.0, (computing - 1 + RAY_CPUS + speed * _made_seconds(rates, work)) / (cpus - 1))
    return 1 + (1 / rates.together - 1) * busy


def _threads(rates: Rates, workers: int, cpus: float | None) -> int:
    """Of torch in each worker, which computes an image's part of a step with them: the cores, shared out."""
    return 1 if rates.gpu or cpus is None else max(1, int(cpus // workers))


def _made_seconds(rates: Rates, work: Work) -> float:
    """Seconds of a core that a sample costs until the stream has brought it into a worker."""
    return rates.sample_seconds + BLOCK_SECONDS / work.block_images


def _reduce_seconds(rates: Rates, workers: int, network_gigabits: float) -> float:
    """A ring's all-reduce sends each gradient almost twice."""
    return 2 * (workers - 1) / workers * rates.gradient_bytes / (network_gigabits * GIGABIT)


def _possible(rates: Rates, work: Work, cpus: float | None, workers: int) -> float:
    """Images a second that the cores allow: they make the samples and, without GPUs, take the steps as well."""
    if cpus is None:
        return math.inf
    if rates.gpu:
        return max(cpus, DATA_TASK_CPUS) * rates.together / _made_seconds(rates, work)
    each_image = _made_seconds(rates, work) + rates.image_seconds + rates.step_seconds * workers / work.batch_size
    return max(cpus - RAY_CPUS, cpus / 2) * rates.together / each_image


def _what_limits(rates: Rates, work: Work, used: int, workers: int, network_gigabits: float) -> str:
    if used < workers:
        return "batch"
    share = math.ceil(work.batch_size / used) * rates.image_seconds
    return "network" if _reduce_seconds(rates, used, network_gigabits) > share + rates.step_seconds else "workers"
