"""Which machines a part of a training may run on: label selectors as a setting and what they leave of a cluster."""

from collections.abc import Mapping
from dataclasses import replace

from rayox_model.core.errors import ClusterError
from rayox_platform.resources.capacity import LEAST_SHARE, STEPS, capacity, worker_room
from rayox_platform.resources.demand import DATA_TASK_CPUS, Capacity, Demand
from rayox_platform.resources.machines import Cluster, Machine, described, places

Selector = Mapping[str, str]


def selector(text: str | None) -> dict[str, str]:
    """From "key=value,key=!value,key=in(a;b)"; empty for None. Ray's own forms, with ; where Ray has a comma."""
    parts = [part.strip().partition("=") for part in (text or "").split(",") if part.strip()]
    return {key.strip(): value.strip().replace(";", ",") for key, _, value in parts}


def has_labels(machine: Machine, selected: Selector) -> bool:
    return fits(dict(machine.labels), selected)


def fits(labels: Mapping[str, str], selected: Selector) -> bool:
    """Whether a machine's labels have all that is selected."""
    return all(_fits(labels.get(key, ""), wanted) for key, wanted in selected.items())


def where(cluster: Cluster, selected: Selector, setting: str) -> Cluster:
    """The machines with these labels. Raises ClusterError when there is none."""
    machines = tuple(machine for machine in cluster.machines if has_labels(machine, selected))
    if machines:
        return replace(cluster, machines=machines)
    wanted = ",".join(f"{key}={value}" for key, value in selected.items())
    labels = sorted({f"{key}={value}" for machine in cluster.machines for key, value in machine.labels})
    own = [label for label in labels if not label.startswith("ray.io/node-")]
    raise ClusterError(
        f"{setting}: no node has {wanted}; labels there are: {', '.join(own) or 'none'}",
        f"start nodes with `ray start --labels {wanted}`, or leave {setting} out",
    )


def placed(demand: Demand, cluster: Cluster, train: Selector, data: Selector) -> Capacity:
    """As capacity, with the workers on machines of some labels and the data on those of others.

    Machines that are not the workers' keep no part of theirs free for the data. Raises ClusterError.
    """
    workers_on, data_on = where(cluster, train, "train.nodes"), where(cluster, data, "data.nodes")
    if set(workers_on.machines) & set(data_on.machines):
        return capacity(demand, workers_on)
    if all(machine.free.cpus < DATA_TASK_CPUS for machine in data_on.machines):
        raise ClusterError(
            f"data.nodes: no node of these has {DATA_TASK_CPUS:g} CPU free: {described(data_on)}",
            "wait for the others to finish, or name more nodes",
        )
    fewest = demand.workers if demand.fewest_workers is None else demand.fewest_workers
    gpu = workers_on.gpus > 0
    share = _largest_share(demand, workers_on, fewest)
    if share is None:
        asked = f" at {demand.cpus_per_worker:g} CPU" if demand.cpus_per_worker else ""
        raise ClusterError(
            f"train.workers: {fewest} workers{asked} do not fit on the nodes of train.nodes: {described(workers_on)}",
            "lower train.workers or train.cpus_per_worker, or name more nodes",
        )
    threads = max(1, int(min(machine.total.cpus for machine in workers_on.machines) * len(workers_on.machines)))
    return Capacity(
        demand.workers,
        share,
        max(1, threads // demand.workers),
        gpu,
        round(data_on.free_cpus, 2),
        fewest,
        DATA_TASK_CPUS,
        demand.gpus_per_worker,
    )


def _largest_share(demand: Demand, cluster: Cluster, workers: int) -> float | None:
    asked = demand.cpus_per_worker
    shares = [asked] if asked else [part / STEPS for part in range(STEPS, int(LEAST_SHARE * STEPS) - 1, -1)]
    rooms = ((share, worker_room(demand, share, cluster)) for share in shares)
    return next((share for share, each in rooms if places(cluster, each) >= workers), None)


def _fits(label: str, wanted: str) -> bool:
    denied, rest = wanted.startswith("!"), wanted.removeprefix("!")
    values = rest[3:-1].split(",") if rest.startswith("in(") and rest.endswith(")") else [rest]
    return (label in [value.strip() for value in values]) != denied
