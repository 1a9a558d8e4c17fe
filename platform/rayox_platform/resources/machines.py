"""The machines of a cluster as data, and what fits on them: a worker has one machine, whatever the sum of all is.

Nothing here asks Ray: whoever plans can make a cluster up.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

ROUNDING = 1e-6  # Ray counts in parts of 1e-4
NAMES_SHOWN = 4  # of machines that are alike


@dataclass(frozen=True)
class Room:
    """What a machine has or a process takes."""

    cpus: float
    gpus: float = 0.0
    memory_bytes: float = math.inf

    def takes(self, each: "Room") -> int:
        """How many processes of that size fit in."""
        sizes = ((self.cpus, each.cpus), (self.memory_bytes, each.memory_bytes))
        counts = [math.floor((has + ROUNDING) / one) for has, one in sizes if 0 < one < math.inf and has < math.inf]
        if each.gpus:
            counts.append(_on_devices(self.gpus, each.gpus))
        return max(min(counts, default=0), 0)


def _on_devices(gpus: float, each: float) -> int:
    """How many parts of a GPU there is room for: each lies on one device, and of two devices 0.4 fits on twice each.

    Ray tells the sum of what is free alone: what others have taken counts as whole devices and a part of one.
    """
    if each >= 1:
        return math.floor((gpus + ROUNDING) / each)
    whole = math.floor(gpus + ROUNDING)
    return whole * math.floor((1 + ROUNDING) / each) + math.floor(max(gpus - whole + ROUNDING, 0.0) / each)


@dataclass(frozen=True)
class Machine:
    """One node of a cluster."""

    name: str
    total: Room
    free: Room  # what nobody has reserved
    labels: tuple[tuple[str, str], ...] = ()
    takes_workers: bool = True
    takes_data: bool = True
    store_bytes: float = math.inf  # of its object store

    def takes(self, each: Room) -> int:
        """How many workers of that size find room on it now."""
        return self.free.takes(each) if self.takes_workers else 0


@dataclass(frozen=True)
class Cluster:
    """All machines, and the object store that they have together."""

    machines: tuple[Machine, ...]
    object_store_bytes: float = math.inf

    @property
    def cpus(self) -> float:
        return sum(machine.total.cpus for machine in self.machines)

    @property
    def free_cpus(self) -> float:
        return sum(machine.free.cpus for machine in self.machines)

    @property
    def gpus(self) -> float:
        """Those that workers can have."""
        return sum(machine.total.gpus for machine in self.machines if machine.takes_workers)

    @property
    def free_gpus(self) -> float:
        return sum(machine.free.gpus for machine in self.machines if machine.takes_workers)

    @property
    def memory_bytes(self) -> float:
        return sum(machine.total.memory_bytes for machine in self.machines)

    @property
    def for_workers(self) -> "Cluster":
        """The machines that take workers."""
        return replace(self, machines=tuple(machine for machine in self.machines if machine.takes_workers))

    @property
    def for_data(self) -> "Cluster":
        """The machines that take data tasks, and the object store of these."""
        machines = tuple(machine for machine in self.machines if machine.takes_data)
        store = sum(machine.store_bytes for machine in machines)
        return Cluster(machines, min(self.object_store_bytes, store))

    @property
    def is_divided(self) -> bool:
        """Whether some machines take workers or data alone."""
        return not all(machine.takes_workers and machine.takes_data for machine in self.machines)

    def idle(self) -> "Cluster":
        """The same machines when nobody uses them."""
        return replace(self, machines=tuple(replace(one, free=one.total) for one in self.machines))

    def without_memory(self) -> "Cluster":
        """The same machines with as much memory as anybody wants."""
        endless = [
            replace(
                one,
                total=replace(one.total, memory_bytes=math.inf),
                free=replace(one.free, memory_bytes=math.inf),
            )
            for one in self.machines
        ]
        return replace(self, machines=tuple(endless))

    def losses(self) -> list["Cluster"]:
        """What is left when one machine is lost: every case that differs; none of a single machine."""
        if len(self.machines) < 2:
            return []
        kinds = [(machine.free, machine.takes_workers, machine.takes_data) for machine in self.machines]
        lost = [kinds.index(kind) for kind in dict.fromkeys(kinds)]
        return [replace(self, machines=self.machines[:at] + self.machines[at + 1 :]) for at in lost]


def cluster_of(*rooms: Room, object_store_bytes: float = math.inf) -> Cluster:
    """A cluster of idle machines."""
    machines = tuple(Machine(f"machine {number}", room, room) for number, room in enumerate(rooms, 1))
    return Cluster(machines, object_store_bytes)


def places(cluster: Cluster, each: Room) -> int:
    """How many workers of that size fit on the machines now."""
    return sum(machine.takes(each) for machine in cluster.machines)


def workers_beside_data(cluster: Cluster, each: Room, count: int) -> int:
    """How many of `count` workers of that size may come to lie on machines of the data."""
    return min(count, sum(machine.takes(each) for machine in cluster.machines if machine.takes_data))


def cpus_for_data(cluster: Cluster, each: Room, count: int) -> float:
    """CPUs that `count` workers of that size leave on the machines of the data, however badly they are placed."""
    return cluster.for_data.free_cpus - each.cpus * workers_beside_data(cluster, each, count)


def tasks_beside(cluster: Cluster, each: Room, count: int, task_cpus: float) -> int | None:
    """How many tasks of so many CPUs fit beside `count` workers of that size, however badly these are placed.

    Ray chooses the machines, so only the worst case is sure. None when the workers themselves do not fit.
    """
    if places(cluster, each) < count:
        return None
    fewest = np.full(count + 1, np.inf)  # beside so many processes on the machines looked at so far
    fewest[0] = 0
    for machine in cluster.machines:
        before, fewest = fewest, np.full(count + 1, np.inf)
        for here in range(min(machine.takes(each), count) + 1):
            left = machine.free.cpus - here * each.cpus
            tasks = math.floor((left + ROUNDING) / task_cpus) if machine.takes_data else 0
            np.minimum(fewest[here:], before[: count + 1 - here] + tasks, out=fewest[here:])
    return int(fewest[count])


def leaves_a_task(cluster: Cluster, each: Room, count: int, task_cpus: float) -> bool:
    """Whether at least one task fits beside `count` workers, however badly these are placed: as tasks_beside, faster.

    For none to fit, every machine with room for it has to be filled up by enough of the workers.
    """
    if places(cluster, each) < count:
        return False
    filling = 0
    for machine in cluster.machines:
        spare = machine.free.cpus - task_cpus
        if spare < -ROUNDING or not machine.takes_data:
            continue
        enough = math.floor((spare + ROUNDING) / each.cpus) + 1
        if enough > machine.takes(each):
            return True
        filling += enough
    return filling > count


def described(cluster: Cluster) -> str:
    return described_machines(cluster.machines)


def described_machines(machines: Sequence[Machine]) -> str:
    """What each machine has, those that are alike together."""
    if not machines:
        return "there is no machine"
    alike: dict[tuple[Room, Room], list[str]] = {}
    for machine in machines:
        alike.setdefault((machine.total, machine.free), []).append(machine.name)
    with_gpus = any(machine.total.gpus for machine in machines)
    with_memory = all(machine.total.memory_bytes < math.inf for machine in machines)
    return "; ".join(
        f"{_names(names)} {'have' if len(names) > 1 else 'has'} {_what(total, free, with_gpus, with_memory)}"
        for (total, free), names in alike.items()
    )


def _names(names: list[str]) -> str:
    more = [f"{len(names) - NAMES_SHOWN} more"] if len(names) > NAMES_SHOWN else []
    *first, last = names[:NAMES_SHOWN] + more
    return f"{', '.join(first)} and {last}" if first else last


def _what(total: Room, free: Room, with_gpus: bool, with_memory: bool) -> str:
    parts = [_amount(total.cpus, free.cpus, "CPU")]
    if with_gpus:
        parts.append(_amount(total.gpus, free.gpus, "GPU"))
    if with_memory:
        parts.append(f"{free.memory_bytes / 2**30:.1f} GiB of memory")
    return ", ".join(parts)


def _amount(total: float, free: float, unit: str) -> str:
    taken = f" ({free:g} free)" if total - free > ROUNDING else ""
    return f"{total:g} {unit}{'' if total == 1 else 's'}{taken}"


def smallest_part(rooms: Iterable[Room], each: Room) -> float:
    """CPUs that are left on the machine where as many processes as fit leave the least; machines without are passed."""
    return min((room.cpus - room.takes(each) * each.cpus for room in rooms if room.takes(each)), default=math.inf)
