"""What a training asks of a cluster, and what it is given."""

from dataclasses import dataclass

GIB = 2**30
DATA_CPUS = 1.0  # the least for a stream at its start
DATA_TASK_CPUS = 0.66  # one and a half tasks a core: between two tasks Ray leaves it idle for a fifth of the time
WORKER_BYTES = int(1.2 * GIB)  # resident memory of a training process on a CPU: torch, gradients, activations of nano
DATA_TASK_BYTES = 0.4 * GIB  # of a data task's process


@dataclass(frozen=True)
class Demand:
    """What one training asks for, or several that run at once."""

    workers: int  # of all of them
    cpus_per_worker: float | None  # None: as many as go round
    block_bytes: int  # of one block of the stream
    lanes: int  # of the stream
    fewest_workers: int | None = None  # of an elastic training, which may grow to `workers`; None: always as many
    streams: int = 1  # trainings at once: each has a stream of its own, and needs room for a data task
    gpus_per_worker: float = 1.0  # where the cluster has any; at most 1


@dataclass(frozen=True)
class Capacity:
    """What each training worker reserves and uses, and what is left for the data."""

    workers: int
    cpus_per_worker: float  # reserved with Ray; below 1 the workers share cores with the data tasks
    threads_per_worker: int  # of torch
    gpu: bool
    data_cpus: float
    fewest_workers: int  # equal to `workers` unless the training is elastic
    cpus_per_data_task: float = DATA_TASK_CPUS
    gpus_per_worker: float = 1.0  # reserved where gpu is true; below 1 several workers share one
    mark: int = 0  # bytes of memory reserved less, by which this training's places are told from all others

    @property
    def gpus(self) -> float:
        """All workers' together."""
        return self.workers * self.gpus_per_worker if self.gpu else 0.0

    @property
    def reserved(self) -> dict[str, float]:
        """What a worker reserves, in Ray's words."""
        gpus = {"GPU": self.gpus_per_worker} if self.gpu else {}
        return {"CPU": self.cpus_per_worker, "memory": WORKER_BYTES - self.mark, **gpus}

    def __str__(self) -> str:
        device = f"{gpus_in_words(self.gpus_per_worker)} and " if self.gpu else ""
        fewest = f"{self.fewest_workers} to " if self.fewest_workers < self.workers else ""
        workers = f"{fewest}{self.workers} worker{'s' if self.workers > 1 else ''}"
        return f"{workers} with {device}{self.cpus_per_worker:g} CPU each, {self.data_cpus:g} CPU for data"


def gpus_in_words(gpus_per_worker: float) -> str:
    return "a GPU" if gpus_per_worker == 1 else f"{gpus_per_worker:g} of a GPU"
