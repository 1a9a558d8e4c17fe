"""`rayox doctor`: looks at a cluster node by node, as a job would find it: a verdict on each thing, and its remedy."""

import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import click

from rayox.config import load_recipe
from rayox.submission.verdicts import Verdict, judge
from rayox.terminal.console import Console, json_option
from rayox_model.core.errors import RayoxError

if TYPE_CHECKING:
    from rayox_cluster.cluster_record import ClusterRecord
    from rayox_cluster.jobs_api import JobsApi
    from rayox_platform.config.tree import Config

SECONDS = 30.0
LAST_SECONDS = 2.0  # of them, to hear what there is by then
SIGNS = {"ok": "ok", "warning": "warn", "error": "WRONG"}


@click.command("doctor")
@click.argument("overrides", nargs=-1, metavar="[RECIPE] [KEY=VALUE]...")
@click.option(
    "--address",
    envvar="RAYOX_ADDRESS",
    help="Dashboard of the cluster; by default that of RAY_ADDRESS or `cluster up`.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=5),
    default=SECONDS,
    show_default=True,
    help="Seconds for all of it; what has not answered by then is wrong.",
)
@json_option
def command(overrides: tuple[str, ...], address: str | None, timeout: float, as_json: bool) -> None:
    """Look at this machine and at every node of a cluster: versions, clocks, disks, GPUs, storage, data, MLflow.

    With a RECIPE, also at its data. The exit code is that of the first fault: 0 when a job would find all it needs.
    """
    from rayox_cluster.access import find_cluster, named_dashboard
    from rayox_platform.storage.state import state_folder

    console, began = Console(as_json), time.monotonic()
    recipe = overrides[0] if overrides and "=" not in overrides[0] else None
    config = load_recipe(recipe, overrides[1:] if recipe else overrides).config
    verdicts = [Verdict("this machine", "ok", _here())]
    try:
        dashboard, record = find_cluster(named_dashboard(address), state_folder())
        verdicts += examine(dashboard, record, config, console, began + timeout)
    except RayoxError as error:
        verdicts.append(Verdict("cluster", "error", error.message, error.hint, type(error)))
    _show(console, verdicts, time.monotonic() - began)
    worst = next((verdict for verdict in verdicts if verdict.kind == "error"), None)
    if worst is not None:
        raise click.exceptions.Exit(worst.error.exit_code)


def examine(
    dashboard: str, record: "ClusterRecord | None", config: "Config", console: Console, deadline: float
) -> list[Verdict]:
    """Verdicts on a cluster by a time of time.monotonic(). Raises ClusterError when it cannot be asked at all."""
    from rayox.submission.job_places import DATA, WEIGHTS, image_folders, paths_of
    from rayox.submit import require_ray
    from rayox_cluster.jobs_api import JobsApi
    from rayox_cluster.preflight import Question, ask

    api = JobsApi(dashboard, deadline=deadline)
    require_ray(api)
    found = [Verdict("dashboard", "ok", f"{dashboard} answers, Ray {api.ray_version()}"), _auth(api, deadline)]
    storage, tracking, wrong = _places(config, record)
    paths, own = paths_of(config, WEIGHTS + DATA)
    console.note(f"asking the nodes of {dashboard}")
    left = max(deadline - LAST_SECONDS - time.monotonic(), 1.0)
    question = Question(
        "rayox.submission.node_checks",
        storage,
        tracking,
        paths,
        all_reduce=True,
        patience_seconds=left,
        images=() if own else image_folders(config),
    )
    answers = ask(api, question, longest_seconds=left)
    judged = judge(answers.nodes)
    if own:
        wrong.append(_local(own))
    said = {one.check for one in wrong}
    kept = [one for one in judged if one.kind == "error" or one.check not in said]
    return [*found, *kept, *wrong, _all_reduce(answers.all_reduce)]


def _places(config: "Config", record: "ClusterRecord | None") -> tuple[str | None, str | None, list[Verdict]]:
    """Storage and tracking that nodes can be asked about, and verdicts on those that cannot.

    What nodes are asked stands where all who reach the cluster can read it.
    """
    from rayox.submission.job_places import check_storage, check_tracking, places_of

    named = places_of(config, record)
    found: list[Verdict] = []
    storage = _asked(named.storage, "storage", "storage=…", check_storage, found)
    return storage, _asked(named.tracking, "tracking", "tracking.uri=…", check_tracking, found), found


def _asked(
    place: str | None, name: str, example: str, check: Callable[[str], None], found: list[Verdict]
) -> str | None:
    if place is None:
        found.append(Verdict(name, "warning", "none is named, so none was tried", f"give {example}, as submit needs"))
        return None
    try:
        check(place)
    except RayoxError as error:
        found.append(Verdict(name, "error", error.message, error.hint, type(error)))
        return None
    return place


def _local(paths: Sequence[str]) -> Verdict:
    from rayox.submission.job_places import local

    error = local(", ".join(paths))
    return Verdict("data", "error", error.message, error.hint, type(error))


def _here() -> str:
    names = ("rayox", "ray", "torch", "opencv-python-headless", "numpy")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {_version(name)}" for name in names)


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError

    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _auth(api: "JobsApi", deadline: float | None = None) -> Verdict:
    """Whether the cluster lets in whoever reaches it."""
    from rayox_cluster.access import is_beyond_loopback
    from rayox_cluster.jobs_api import JobsApi, NotLetInError
    from rayox_model.core.errors import ClusterError

    try:
        JobsApi(api.url, headers={}, deadline=deadline).jobs()
    except NotLetInError:
        return Verdict("auth", "ok", "nobody gets in without the token")
    except ClusterError as error:
        return Verdict("auth", "error", f"asked for its jobs without a token: {error.message}", error.hint)
    fix = "start Ray with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE on all nodes"
    if is_beyond_loopback(api.url):
        return Verdict("auth", "warning", "whoever reaches the dashboard can run programs on the cluster", fix)
    return Verdict("auth", "warning", "every user of this machine can run programs on the cluster", fix)


def _all_reduce(seconds: "float | str | None") -> Verdict:
    match seconds:
        case None:
            return Verdict("all-reduce", "ok", "there is only one node")
        case str():
            fix = "open all ports between the nodes; set GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME to their interface"
            return Verdict("all-reduce", "error", f"workers of two nodes do not reach each other: {seconds}", fix)
    return Verdict("all-reduce", "ok", f"a gradient's sum between all nodes in {seconds * 1000:.0f} ms")


def _show(console: Console, verdicts: list[Verdict], seconds: float) -> None:
    console.table(("", "check", "found"), [(SIGNS[one.kind], one.check, one.detail) for one in verdicts])
    for one in verdicts:
        if one.kind != "ok":
            console.text(f"{one.check}: {one.fix}")
    values = [
        {"check": one.check, "verdict": one.kind, "detail": one.detail, "fix": one.fix}
        | ({"exit_code": one.error.exit_code} if one.kind == "error" else {})
        for one in verdicts
    ]
    console.text(f"looked at in {seconds:.0f} s")
    console.result({"ok": all(one.kind != "error" for one in verdicts), "checks": values, "seconds": round(seconds, 1)})
