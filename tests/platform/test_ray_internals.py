"""Private parts of Ray, torch and MLflow are touched in one room alone, which does without those that have moved."""

import ast
import logging
import re
import sys
import threading
from functools import cache
from pathlib import Path

import pytest
import ray
from ray.exceptions import GetTimeoutError, RpcError

from rayox_model.core.plain_ray import PLAIN
from rayox_platform.ray_internals import cluster_state, preloading, prestart, reservations, switch
from rayox_platform.ray_internals.switch import attempt
from rayox_platform.storage.folders import open_folder
from rayox_platform.train import preemption
from rayox_platform.train.preemption import STOP, Preemption

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("jobs/rayox", "platform/rayox_platform", "model/rayox_model", "cluster/rayox_cluster")
# Those of rayox_cluster are needed before a connection, in a package that may not import rayox_platform.
ROOMS = (
    "platform/rayox_platform/ray_internals/",
    "cluster/rayox_cluster/connection.py",
    "cluster/rayox_cluster/ray_start.py",
    "cluster/rayox_cluster/loopback_node.py",
)
WATCHED = re.compile(r"(ray|torch|mlflow)(\.\w+)*$")
PRIVATE_PATH = re.compile(r"(ray|torch|mlflow)(\.\w+)*\._[a-z]")
NAMED_TUPLES = {"_asdict", "_replace", "_fields"}  # public, says Python


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@cache
def defined_in(folder: Path) -> set[str]:
    """Private functions and attributes of a room's own classes: they may use each other's."""
    nodes = [node for path in folder.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    stored = [node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)]
    return functions | {node.attr for node in stored if ast.unparse(node.value) == "self"}


def private_parts(text: str, own: frozenset[str] | set[str] = frozenset()) -> list[str]:
    """Every private module, name or attribute that a file reaches for, other than its room's own."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if any(map(is_private, alias.name.split(".")))]
        elif isinstance(node, ast.ImportFrom) and WATCHED.match(str(node.module)):
            names = [*str(node.module).split("."), *(alias.name for alias in node.names)]
            found += [f"{node.module}: {name}" for name in names if is_private(name)]
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in NAMED_TUPLES | own:
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and PRIVATE_PATH.match(node.value):
            found.append(node.value)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_private_parts_are_touched_in_one_room_alone(package):
    files = [path for path in (ROOT / package).rglob("*.py") if not any(room in path.as_posix() for room in ROOMS)]
    assert files
    found = {path: private_parts(path.read_text(), defined_in(path.parent)) for path in files}
    assert {str(path.relative_to(ROOT)): parts for path, parts in found.items() if parts} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import ray._private.state",
        "from ray._private import worker",
        "from ray.data._internal.execution import streaming_executor",
        "from torch.nn.modules.batchnorm import _BatchNorm",
        "torch._foreach_mul_(values, 2)",
        "key = ray._raylet.RAY_NODE_ID_KEY",
        "del op._output_blocks_stats[:-1]",
        "import_module('torch._dynamo')",
    ],
)
def test_the_search_finds_each_kind(line):
    assert private_parts(line)


@pytest.fixture
def fresh(monkeypatch):
    """As in a process that has tried nothing yet, with the tricks on."""
    for known in ("_off", "_has_worked", "_has_failed"):
        monkeypatch.setattr(switch, known, set())
    monkeypatch.delenv(PLAIN, raising=False)


def moved():
    import ray._private.nowhere

    return ray._private.nowhere


def test_a_trick_whose_parts_have_moved_is_off_and_said_once(fresh, caplog):
    with caplog.at_level(logging.WARNING, "rayox"):
        assert [attempt("magic", moved, "public") for _ in range(3)] == ["public"] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "this version of Ray does without rayox's magic (ModuleNotFoundError: No module named 'ray._private.nowhere')"
    ]
    assert attempt("other magic", lambda: "private", "public") == "private"


@pytest.mark.parametrize(("value", "expected"), [("1", "public"), ("0", "private"), ("", "private")])
def test_plain_ray_turns_every_trick_off_and_says_nothing(fresh, monkeypatch, caplog, value, expected):
    monkeypatch.setenv("RAYOX_PLAIN_RAY", value)
    assert attempt("magic", lambda: "private", "public") == expected
    assert not caplog.records


PASSING = [
    RpcError("the head is away"),
    RuntimeError("not connected"),
    AssertionError(),
    OSError("closed"),
    ValueError("not now"),
    KeyError("node"),
    StopIteration(),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_a_trick_that_fails_is_done_without_and_tried_again(fresh, caplog, error):
    answers = iter([error, error])

    def call():
        for answer in answers:
            raise answer
        return "private"

    assert [attempt("magic", call, "public") for _ in range(3)] == ["public", "public", "private"]
    (record,) = caplog.records
    assert record.getMessage() == (
        f"rayox's magic failed and is done without for now ({type(error).__name__}: {error})"
    )


def test_what_has_worked_has_not_moved(fresh):
    """None is what a part of Ray is for a moment while it is connected anew."""
    parts = iter(["private", None, "private"])
    assert [attempt("magic", lambda: next(parts).upper(), "public") for _ in range(3)] == [
        "PRIVATE",
        "public",
        "PRIVATE",
    ]


@pytest.mark.parametrize("keep", [prestart.keep_spare_worker, prestart.keep_spare_helpers])
@pytest.mark.parametrize("nodes", [[], RpcError("the head is away")], ids=["unknown node", "no answer"])
def test_a_spare_that_cannot_be_asked_for_ends_nothing(fresh, monkeypatch, caplog, keep, nodes):
    class Here:
        def get_node_id(self):
            return "a"

    def ask():
        if isinstance(nodes, Exception):
            raise nodes
        return nodes

    monkeypatch.setattr(ray, "get_runtime_context", Here)
    monkeypatch.setattr(ray, "nodes", ask)
    keep()
    assert ["processes started ahead" in record.getMessage() for record in caplog.records] == [True]


def test_the_table_of_machines_is_asked_for_until_nobody_is_there(fresh, monkeypatch):
    """Neither an answer that does not come nor a head that is away ends the questions."""
    answers = iter([RpcError("the head is away"), GetTimeoutError(), None, None, ValueError("no such actor")])
    asked = []

    def get_actor(name, namespace):
        asked.append(next(answers))
        if asked[-1]:
            raise asked[-1]
        return Coordinator()

    class Coordinator:
        class get_reserved_resources:
            remote = staticmethod(lambda *arguments, **options: None)

    monkeypatch.setattr(ray, "get_actor", get_actor)
    monkeypatch.setattr(ray, "get", lambda asked, timeout: None)
    monkeypatch.setattr(reservations, "EVERY_SECONDS", 0.0)
    reservations._refresh()
    assert len(asked) == 5


def test_imports_ahead_of_their_thread_are_said_to_have_moved(fresh, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "ray.data._internal.operator_event_exporter", None)
    monkeypatch.setenv(PLAIN, "1")
    preloading.import_waiting()
    assert not caplog.records
    monkeypatch.delenv(PLAIN)
    preloading.import_waiting()
    assert ["this version of Ray does without" in record.getMessage() for record in caplog.records] == [True]


def test_an_error_while_asking_for_notices_does_not_end_the_watch(fresh, monkeypatch, tmp_path):
    """The first answers fail as where Ray's head is away; then a stop is asked for, and a machine is to go."""
    import ray._private.state

    answers = iter([*PASSING, {"a" * 56: 0}])

    def ask():
        answer = next(answers, {"a" * 56: 0})
        if isinstance(answer, Exception):
            (tmp_path / STOP).touch()
            raise answer
        return answer

    monkeypatch.setattr(ray._private.state.state, "get_draining_nodes", ask)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(preemption, "LOOK_SECONDS", 0.01)
    notice = Preemption(open_folder(str(tmp_path)))
    notice.start()
    try:
        while (reason := notice.taken()) is None:
            assert [one for one in threading.enumerate() if one.name == "rayox-preemption"], "the watch has ended"
        assert reason == "node aaaaaaaa is being taken away"
        assert notice.asked_to_stop
    finally:
        notice.stop()


def test_without_the_view_of_nodes_those_of_several_count_as_empty(fresh, monkeypatch):
    monkeypatch.setenv("RAYOX_PLAIN_RAY", "1")
    nodes = [{"NodeID": name, "Alive": name != "gone", "Resources": {"CPU": 4.0}} for name in ("a", "b", "gone")]
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 3.0})
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert cluster_state.free_resources() == {"a": {"CPU": 4.0}, "b": {"CPU": 4.0}}
    monkeypatch.setattr(ray, "nodes", lambda: nodes[:1])
    assert cluster_state.free_resources() == {"a": {"CPU": 3.0}}
    assert cluster_state.object_stores() is None
    assert cluster_state.draining_nodes() == {}
