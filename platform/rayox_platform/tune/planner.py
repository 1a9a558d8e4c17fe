"""What a campaign will take, solved before anything starts, so that no trial can wait forever for machines."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from rayox_model.core.errors import ClusterError
from rayox_platform.config.tree import Config
from rayox_platform.resources.capacity import best_share, capacity, gpu_places
from rayox_platform.resources.demand import Capacity, Demand, gpus_in_words
from rayox_platform.resources.machines import Cluster
from rayox_platform.resources.node_labels import divided, selector
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.rungs import brackets, interval, rungs
from rayox_platform.tune.schedule import bracket_of

# Of a forward pass at 640 × 640 pixels, as published; a training step is about three of them.
GFLOPS = {"nano": 2.54, "tiny": 15.1, "s": 26.8, "m": 73.8, "l": 155.6, "x": 281.9, "darknet53": 185.3}
CPU_GFLOPS_PER_SECOND = 13.0  # of a core, data and all: measured with nano at 224 × 224 on two cores
GPU_GFLOPS_PER_SECOND = 6000.0  # of a data-centre GPU that is fed
START_SECONDS = 15.0  # of each part of a trial: its process, its data, its checkpoint


@dataclass(frozen=True)
class Plan:
    """What `rayox tune --plan` prints."""

    concurrency: int  # trials at a time
    trials: int  # of the search; the schedule may end with fewer
    confirmations: int  # whole trainings at the end
    epochs: int  # of all trials, as the schedule lets them train on average
    waves: int
    hours: float
    hours_from: str  # "measured" or "estimate"
    cost: float | None  # of the machines, where price.node_hour says what one costs
    fits: bool
    workers_per_trial: int
    cpus_per_worker: float
    gpu: bool
    gpus_per_worker: float  # 0 where there is no GPU
    budget: str  # what ends it first

    @property
    def device(self) -> str:
        """What each worker has beside its CPUs, in words with the "and"; empty where that is nothing."""
        return f"{gpus_in_words(self.gpus_per_worker)} and " if self.gpu else ""

    @property
    def duration(self) -> str:
        """In words."""
        rough = "" if self.hours_from == "measured" else " (a rough estimate)"
        if self.hours >= 1:
            return f"{self.hours:.1f} hours{rough}"
        minutes = max(1, round(60 * self.hours))
        return f"{minutes} minute{'s' if minutes > 1 else ''}{rough}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(
    campaign: Campaign,
    config: Config,
    cluster: Cluster,
    *,
    num_images: int,
    block_bytes: int,
    epoch_seconds: float | None = None,
) -> Plan:
    """epoch_seconds is that of one epoch where it was measured.

    Raises ClusterError, with the numbers, when not even one trial fits.
    """
    given = one_trial(config, cluster, block_bytes)
    concurrency = most_at_once(campaign, config, cluster, block_bytes)
    trials, epochs = expected(campaign, config.train.epochs)
    confirmations = num_confirmations(campaign)
    seconds = epoch_seconds or _estimated(config, given, num_images)
    parts = trials * _parts(campaign, config.train.epochs) + confirmations
    busy = (epochs + confirmations * config.train.epochs) * seconds + parts * START_SECONDS
    hours = busy / concurrency / 3600
    ends, hours = _ends(campaign, trials, epochs, hours, concurrency * given.gpus)
    price = campaign.price
    return Plan(
        concurrency=concurrency,
        trials=trials,
        confirmations=confirmations,
        epochs=epochs,
        waves=math.ceil(trials / concurrency),
        hours=round(hours, 3),
        hours_from="measured" if epoch_seconds else "estimate",
        cost=round(price.node_hour * price.nodes * hours, 2) if price.node_hour else None,
        fits=True,
        workers_per_trial=given.workers,
        cpus_per_worker=given.cpus_per_worker,
        gpu=given.gpu,
        gpus_per_worker=given.gpus_per_worker if given.gpu else 0.0,
        budget=ends,
    )


def one_trial(config: Config, cluster: Cluster, block_bytes: int) -> Capacity:
    """What one trial gets when it is alone. Raises ClusterError when it does not fit at all."""
    return capacity(_demand(config, block_bytes, 1), _nodes(config, cluster))


def most_at_once(campaign: Campaign, config: Config, cluster: Cluster, block_bytes: int) -> int:
    """Trials that run beside each other and all find room for their workers and their data, wherever Ray puts them."""
    there = _nodes(config, cluster)
    limit = min(campaign.concurrency or campaign.budget.trials, campaign.budget.trials)
    if campaign.schedule.kind == "pbt":
        limit = min(limit, campaign.schedule.population)
    fits, refused = 1, limit + 1
    while refused - fits > 1:
        middle = (fits + refused) // 2
        if _all_fit(config, there, block_bytes, middle):
            fits = middle
        else:
            refused = middle
    return fits


def trial_capacity(config: Config, cluster: Cluster, block_bytes: int, concurrency: int) -> Capacity:
    """What each of so many trials at once gets."""
    together = capacity(_demand(config, block_bytes, concurrency), _nodes(config, cluster))
    workers = config.train.workers[1]
    return replace(
        together,
        workers=workers,
        fewest_workers=workers,
        threads_per_worker=max(1, together.threads_per_worker),
        data_cpus=round(together.data_cpus / concurrency, 2),
    )


def _nodes(config: Config, cluster: Cluster) -> Cluster:
    """Those that trials and their data may take. Raises ClusterError when there is none."""
    return divided(cluster, selector(config.train.nodes), selector(config.data.nodes))


def _all_fit(config: Config, cluster: Cluster, block_bytes: int, count: int) -> bool:
    demand = _demand(config, block_bytes, count)
    if cluster.gpus and gpu_places(demand, cluster) < demand.workers:
        return False
    if best_share(demand, cluster) is None:
        return False
    try:
        capacity(demand, cluster)
    except ClusterError:  # the object store
        return False
    return True


def _demand(config: Config, block_bytes: int, count: int) -> Demand:
    """What so many trials at once need. A trial never grows or shrinks: its loss depends on nobody else there."""
    cpus = None if config.train.cpus_per_worker == "auto" else config.train.cpus_per_worker
    return Demand(
        config.train.workers[1] * count,
        cpus,
        block_bytes,
        config.data.lanes,
        streams=count,
        gpus_per_worker=config.train.gpus_per_worker,
    )


def expected(campaign: Campaign, epochs: int) -> tuple[int, int]:
    """(trials, epochs over all of them) if each rung lets one in eta go on."""
    schedule, trials = campaign.schedule, campaign.budget.trials
    if campaign.search.kind == "grid":
        count = math.prod(len(one.points(campaign.search.points)) for one in campaign.dimensions)
        trials = min(trials, count + 1)
    match schedule.kind:
        case "none":
            total = trials * epochs
        case "pbt":
            trials = min(trials, schedule.population)
            total = trials * epochs
        case "median":
            total = math.ceil(trials * epochs * 0.6)
        case "hyperband":
            found = brackets(schedule, epochs)
            counts = [0] * len(found)
            for number in range(trials):
                counts[bracket_of(number, found)] += 1
            total = sum(_halved(count, steps, schedule.eta) for count, steps in zip(counts, found, strict=True))
        case _:
            total = _halved(trials, rungs(schedule, epochs), schedule.eta)
    if campaign.budget.epochs is not None and total > campaign.budget.epochs:
        return max(1, trials * campaign.budget.epochs // total), campaign.budget.epochs
    return trials, total


def num_confirmations(campaign: Campaign) -> int:
    """Whole trainings that compare the best trials with the base recipe."""
    return (campaign.confirm.top + 1) * campaign.confirm.seeds if campaign.confirm.top else 0


def _halved(trials: int, steps: tuple[int, ...], eta: float) -> int:
    total, before, count = 0, 0, trials
    for step in steps:
        total += count * (step - before)
        before, count = step, max(1, int(count / eta)) if count else 0
    return total


def _parts(campaign: Campaign, epochs: int) -> float:
    """Times that a trial is started, on average."""
    schedule = campaign.schedule
    if schedule.kind == "none":
        return 1.0
    if schedule.kind in ("median", "pbt"):
        return float(math.ceil(epochs / interval(schedule, epochs)))
    return sum(schedule.eta**-number for number in range(len(rungs(schedule, epochs))))


def _estimated(config: Config, given: Capacity, num_images: int) -> float:
    """Seconds of an epoch, by arithmetic alone: within a factor of two or three."""
    height, width = config.image_size
    work = 3 * GFLOPS[config.model.size] * height * width / 640**2 * num_images
    on_gpu, on_cpu = GPU_GFLOPS_PER_SECOND * given.gpus_per_worker, CPU_GFLOPS_PER_SECOND * given.cpus_per_worker
    return work / ((on_gpu if given.gpu else on_cpu) * given.workers)


def _ends(campaign: Campaign, trials: int, epochs: int, hours: float, gpus: float) -> tuple[str, float]:
    """What ends it first, and after how long; gpus are those that are used at a time."""
    limits: Mapping[str, float | None] = {"budget.hours": campaign.budget.hours}
    if campaign.budget.gpu_hours and gpus:
        limits = {**limits, "budget.gpu_hours": campaign.budget.gpu_hours / gpus}
    price = campaign.price
    if campaign.budget.cost and price.node_hour:
        limits = {**limits, "budget.cost": campaign.budget.cost / price.node_hour / price.nodes}
    for name, most in limits.items():
        if most is not None and most < hours:
            return name, most
    if campaign.budget.epochs is not None and epochs >= campaign.budget.epochs:
        return "budget.epochs", hours
    if trials == campaign.budget.trials:
        return "budget.trials", hours
    return ("schedule.population" if campaign.schedule.kind == "pbt" else "the points of the grid"), hours
