"""What the nodes of a cluster have, judged: each thing that is wrong with the node it is on and what mends it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from rayox_cluster.versions import python_range, works_with
from rayox_model.core.errors import ClusterError, ConfigError, DataError, RayoxError, TrackingError

if TYPE_CHECKING:
    from rayox_cluster.preflight import NodeFacts

NEEDED = ("ray", "torch", "torchvision", "numpy", "mlflow", "pyarrow")
OPENCV = ("opencv-python-headless", "opencv-python")
LEAST_DISK_BYTES = 2 << 30
LEAST_SHARED_BYTES = 1 << 30
CLOCK_SECONDS = 5.0
MARKET, SPOT = "ray.io/market-type", "spot"

Kind = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Verdict:
    """One thing that was looked at."""

    check: str
    kind: Kind
    detail: str
    fix: str = ""
    error: type[RayoxError] = ClusterError


def refuse(nodes: "Sequence[NodeFacts]") -> None:
    """Raise the first thing that a job would fail of."""
    wrong = [verdict for verdict in judge(nodes) if verdict.kind == "error"]
    if wrong:
        raise wrong[0].error("\n".join(f"{one.check}: {one.detail}" for one in wrong), wrong[0].fix)


def judge(nodes: "Sequence[NodeFacts]") -> list[Verdict]:
    """A verdict for everything that the nodes told of."""
    dead = [Verdict("nodes", "error", f"{node}: {node.error}", DEAD) for node in nodes if node.error]
    alive = [node for node in nodes if not node.error]
    if not alive:
        return dead or [Verdict("nodes", "error", "the cluster has none", "start it again")]
    found = [*dead]
    for check in (_pythons, _packages, _opencv, _clocks, _disks, _shared_memory, _gpus, _storage, _tracking, _paths):
        wrong = list(check(alive))
        found += wrong or [Verdict(NAMES[check.__name__], "ok", _summary(check.__name__, alive))]
    return [*found, *_outputs(alive)]


def driver_label(nodes: "Sequence[NodeFacts]") -> dict[str, str] | None:
    """A driver is lost with its node: never one that can be taken away, where labels tell them apart."""
    markets = {node.labels.get(MARKET, "") for node in nodes}
    return {MARKET: f"!{SPOT}"} if SPOT in markets and len(markets) > 1 else None


def may_drive(nodes: "Sequence[NodeFacts]") -> "list[NodeFacts]":
    """Where Ray may start a job's driver: on the head, or wherever its label lets it."""
    if driver_label(nodes) is None:
        return [node for node in nodes if node.is_head]
    return [node for node in nodes if node.labels.get(MARKET, "") != SPOT]


NAMES = {
    "_pythons": "python",
    "_packages": "packages",
    "_opencv": "opencv",
    "_clocks": "clocks",
    "_disks": "disks",
    "_shared_memory": "shared memory",
    "_gpus": "gpus",
    "_storage": "storage",
    "_tracking": "tracking",
    "_paths": "data",
}
DEAD = (
    "look at its raylet's log: a node that starts no process has a Python that does not run or no memory left; "
    "`rayox doctor --timeout` waits longer"
)


def counted(nodes: int) -> str:
    return f"{nodes} node{'' if nodes == 1 else 's'}"


def _summary(name: str, nodes: "Sequence[NodeFacts]") -> str:
    first = nodes[0]
    match name:
        case "_pythons":
            return f"{first.python} on {counted(len(nodes))}"
        case "_packages":
            return ", ".join(f"{package} {first.packages[package]}" for package in NEEDED)
        case "_disks":
            return f"{min(node.disk_free_bytes for node in nodes) / 2**30:.0f} GiB free at least"
        case "_shared_memory":
            return f"{min(node.shared_memory_bytes for node in nodes) / 2**30:.1f} GiB at least"
        case "_gpus":
            count = sum(len(node.gpus) for node in nodes)
            return f"{count} GPUs" if count else "none: training runs on CPUs"
        case "_paths" if not any(node.checks.get("paths") for node in nodes):
            return "none are named, so none were looked for; give a RECIPE"
        case "_storage" | "_tracking" | "_paths":
            return f"as it should be on {counted(sum(bool(node.checks) for node in nodes))}"
    return f"as it should be on {counted(len(nodes))}"


def _pythons(nodes: "Sequence[NodeFacts]") -> Iterator[Verdict]:
    for node in nodes:
        if not works_with(node.python, python_range()):
            fix = f"rayox needs Python {python_range()} on every node"
            yield Verdict("python", "error", f"{node} has {node.python}", fix)
    if len({tuple(node.python.split(".")[:2]) for node in nodes}) > 1:
        each = ", ".join(f"{node} {node.python}" for node in nodes)
        yield Verdict("python", "error", f"differs between nodes: {each}", "Ray needs the same one on all of them")


def _packages(nodes: "Sequence[NodeFacts]") -> Iterator[Verdict]:
    for name in NEEDED:
        lacking = [node for node in nodes if not node.packages.get(name)]
        for node in lacking:
            yield Verdict("packages", "error", f"{node} has no {name}", f"pip install {_pinned(name)} there")
        if not lacking and len({node.packages[name] for node in nodes}) > 1:
            each = ", ".join(f"{node} {node.packages[name]}" for node in nodes)
            kind: Kind = "error" if name in ("ray", "torch", "numpy") else "warning"
            wanted = _pinned(name) if name != "ray" else f"ray=={nodes[0].packages[name]}"  # Ray is the cluster's own
            yield Verdict("packages", kind, f"{name} differs: {each}", f"install {wanted} on all nodes")
    versions = {node.rayox.get("version") or "none" for node in nodes}
    if len({node.rayox.get("digest") for node in nodes}) > 1:
        each = ", ".join(f"{node} {node.rayox.get('version') or 'none'}" for node in nodes)
        fix = "a job brings its own rayox, so this does no harm to `submit`; --address needs the same on all nodes"
        yield Verdict("rayox", "warning", f"differs between nodes: {each}", fix)
    elif versions not in ({"none"}, {version("rayox")}):
        detail = f"the nodes have {versions.pop()}, this machine {version('rayox')}"
        yield Verdict("rayox", "warning", detail, "a job brings its own; for --address install the same version")


def _pinned(name: str) -> str:
    """As this machine has it; a client may have rayox alone."""
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:
        return name


def _opencv(nodes: "Sequence[NodeFacts]") -> Iterator[Verdict]:
    for node in nodes:
        if not any(node.packages.get(name) for name in OPENCV):
            yield Verdict("packages", "error", f"{node} has no OpenCV", "pip install opencv-python-headless there")


def _clocks(nodes: "Sequence[NodeFacts]") -> Iterator[Verdict]:
    for node in nodes:
        if abs(node.clock_ahead_seconds) > CLOCK_SECONDS:
            way = "ahead of" if node.clock_ahead_seconds > 0 else "behind"
            detail = f"{node} is {abs(node.clock_ahead_seconds):.0f} s {way} the head"
            yield Verdict(
                "clocks", "error", detail, "set its clock (chrony, systemd-timesyncd): locks and tokens go by it"
            )


def _disks(nodes: "Sequence[NodeFacts]") -> Iterator[Verdict]:
    for node in nodes:
        if node.disk_free_bytes < LEAST_DISK_BYTES:
            detail = f"{node} has {node.disk_free_bytes / 2**30:.1f} GiB free for Ray's files"
            yield Verdict(
                "disks",
                "error",
                detail,
                "make room in Ray's temp folder (/tmp/ray): it spills there and stops at 95 % full",
            )


def _shared_memory(nodes: "Sequence[NodeFacts]") -> Iterator[Verdict]:
    for node in nodes:
        if node.shared_memory_bytes < LEAST_SHARED_BYTES:
            detail = (
                f"{node} has {node.shared_memory_bytes / 2**20:.0f} MiB in /dev/shm, and Ray's object store is there"
            )
            yield Verdict(
                "shared memory", "warning", detail, "docker run --shm-size=4g, or an emptyDir of medium Memory"
            )


def _gpus(nodes: "Sequence[NodeFacts]") -> Iterator[Verdict]:
    for node in nodes:
        told, seen = int(node.resources.get("GPU", 0)), len(node.gpus)
        if told > seen:
            detail = f"{node} gives Ray {told} GPUs, and its driver shows {seen}"
            yield Verdict("gpus", "error", detail, "look at nvidia-smi on it: the driver or the container's runtime")


def _storage(nodes: "Sequence[NodeFacts]") -> Iterator[Verdict]:
    fix = "mount the same folder on every node, or give a bucket and its credentials to all of them"
    for node, problem in _problems(nodes, "storage"):
        yield Verdict("storage", "error", f"on {node} it {problem}", fix, ConfigError)


def _tracking(nodes: "Sequence[NodeFacts]") -> Iterator[Verdict]:
    fix = "start the server where all nodes reach it; its credentials are MLFLOW_TRACKING_… on the nodes"
    for node, problem in _problems(nodes, "tracking"):
        yield Verdict("tracking", "error", f"from {node} MLflow {problem}", fix, TrackingError)


def _problems(nodes: "Sequence[NodeFacts]", check: str) -> "Iterator[tuple[NodeFacts, str]]":
    """What a check has found on each node, as a verb and what follows it."""
    return ((node, str(node.checks[check])) for node in nodes if node.checks.get(check))


def _paths(nodes: "Sequence[NodeFacts]") -> Iterator[Verdict]:
    fix = "put it where all nodes read it: a mounted folder, or `rayox data shard … s3://bucket/prefix`"
    for node in nodes:
        for path, problem in node.checks.get("paths", {}).items():
            if problem:
                yield Verdict("data", "error", f"on {node} {path} {problem}", fix, DataError)
    looked: list[Mapping[str, Any]] = [node.checks for node in nodes if node.checks.get("sizes")]
    for path in looked[0]["sizes"] if looked else ():
        sizes = {checks["sizes"].get(path) for checks in looked if not checks["paths"].get(path)}
        if len(sizes) > 1:
            yield Verdict("data", "error", f"{path} is not the same file on every node", fix, DataError)


def _outputs(nodes: "Sequence[NodeFacts]") -> Iterator[Verdict]:
    fix = "name a place in a folder that all nodes share, and that whoever runs Ray may write to"
    for node in may_drive(nodes):
        for path, problem in node.checks.get("outputs", {}).items():
            if problem:
                yield Verdict("output", "error", f"on {node} {path} {problem}", fix, ConfigError)
