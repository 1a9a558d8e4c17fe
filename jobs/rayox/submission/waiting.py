"""What a job that has not started waits for, node by node, and the largest setting of its run that fits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml

from rayox_model.core.errors import ClusterError, RayoxError

if TYPE_CHECKING:
    from rayox_cluster.jobs_api import JobsApi, Node, Waiting
    from rayox_platform.resources.machines import Cluster, Machine


def what_it_waits_for(api: "JobsApi", submission_id: str, recipe: bytes = b"") -> list[str]:
    """Lines for people. recipe is that of a training, empty of another verb; what cannot be asked is left out."""
    try:
        nodes, driver = api.nodes(), api.waiting_driver(submission_id)
    except (ClusterError, KeyError, TypeError):  # a Ray that tells this in another way
        return ["`rayox doctor` looks at the nodes"]
    lines = [_wanted(driver, nodes)] if driver is not None else []
    lines.append(f"nodes: {_described(nodes)}")
    if recipe:
        lines.append(_room_for(recipe, nodes))
    return lines


def _wanted(driver: "Waiting", nodes: "Sequence[Node]") -> str:
    """What the process that is to drive the job asks for, and what of it nobody has."""
    from rayox_platform.resources.node_labels import fits

    asked = [f"{amount:g} {name}" for name, amount in sorted(driver.resources.items())] or ["a process"]
    labels = ", ".join(f"{key}={value}" for key, value in sorted(driver.labels.items()))
    text = f"its driver waits for {', '.join(asked)} on a node{f' with {labels}' if labels else ''}"
    there = [node for node in nodes if fits(node.labels, driver.labels)]
    if not nodes:
        return f"{text}; the cluster has no node now"
    if not there:
        return f"{text}; no node has such labels: start one that has (`ray start --labels`)"
    for name, amount in driver.resources.items():
        most = max(node.total.get(name, 0.0) for node in there)
        free = max(node.total.get(name, 0.0) - node.used.get(name, 0.0) for node in there)
        if most < amount:
            return f"{text}; the largest has {most:g} {name}, which is the most that fits"
        if free < amount:
            return f"{text}; {free:g} {name} is free on one now: wait for the others to finish"
    return f"{text}; it fits, so a process starts slowly or not at all: `rayox doctor` looks at the nodes"


def _described(nodes: "Sequence[Node]") -> str:
    from rayox_platform.resources.machines import described

    told = [
        f"{described(cluster)}{f' ({labels})' if labels else ''}"
        for node in nodes
        for cluster, labels in [(_cluster([node]), _own_labels(node))]
    ]
    return "; ".join(told) or "there is none"


def _room_for(recipe: bytes, nodes: "Sequence[Node]") -> str:
    """Whether the workers of a training fit on the nodes of their labels now, else the largest settings that do."""
    from rayox_platform.config.tree import Config
    from rayox_platform.resources.capacity import best_share, most_that_fits
    from rayox_platform.resources.demand import Demand
    from rayox_platform.resources.node_labels import divided, selector

    config = Config.model_validate(yaml.safe_load(recipe))
    fewest, most = config.train.workers
    cpus = None if config.train.cpus_per_worker == "auto" else config.train.cpus_per_worker
    demand = Demand(fewest, cpus, 0, config.data.lanes, gpus_per_worker=config.train.gpus_per_worker)
    try:
        cluster = divided(_cluster(nodes), selector(config.train.nodes), selector(config.data.nodes))
    except RayoxError as error:
        return f"the run: {error.message}"
    if best_share(demand, cluster) is not None:
        return f"the run itself fits: {most} worker{'s' if most > 1 else ''}"
    fitting = most_that_fits(demand, cluster)
    wants = f"{fewest} worker{'s' if fewest > 1 else ''}" + (f" at {cpus:g} CPU" if cpus else "")
    return f"the run: {wants} do not fit now; " + (f"{fitting} would" if fitting else "nothing would beside its data")


def _cluster(nodes: "Sequence[Node]") -> "Cluster":
    from rayox_platform.resources.machines import Cluster

    return Cluster(tuple(_machine(node) for node in nodes))


def _machine(node: "Node") -> "Machine":
    from rayox_platform.resources.machines import Machine, Room

    def room(name: str, used: bool) -> float:
        return node.total.get(name, 0.0) - (node.used.get(name, 0.0) if used else 0.0)

    total, free = (Room(room("CPU", used), room("GPU", used), room("memory", used)) for used in (False, True))
    return Machine(f"node {node.node_id[:8]} ({node.address})", total, free, tuple(sorted(node.labels.items())))


def _own_labels(node: "Node") -> str:
    own = {key: value for key, value in node.labels.items() if not key.startswith("ray.io/node-")}
    return ", ".join(f"{key}={value}" for key, value in sorted(own.items()))
