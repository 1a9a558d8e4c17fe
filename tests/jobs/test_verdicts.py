"""Faults planted in what nodes tell of themselves, each found with its node and what mends it."""

from dataclasses import replace

import pytest

from rayox.submission.verdicts import NEEDED, driver_label, judge, may_drive, refuse
from rayox_cluster.preflight import NodeFacts
from rayox_model.core.errors import ClusterError, ConfigError, DataError, TrackingError

GIB = 2**30
PATH = "/data/train.json"


def node(number: int, **facts: object) -> NodeFacts:
    sound = NodeFacts(
        node=f"{number:056x}"[::-1],
        address=f"10.0.0.{number}",
        is_head=number == 0,
        resources={"CPU": 4, "GPU": 0},
        labels={},
        error="",
        host=f"host{number}",
        python="3.11.7",
        packages={**dict.fromkeys(NEEDED, "1.0"), "opencv-python-headless": "4.12"},
        rayox={"version": "", "digest": ""},
        clock_ahead_seconds=0.0,
        disk_free_bytes=50 * GIB,
        shared_memory_bytes=8 * GIB,
        gpus=(),
        variables=(),
        checks={"storage": "", "tracking": "", "paths": {PATH: ""}, "sizes": {PATH: 1000}},
    )
    return replace(sound, **facts)


def checks(**changed: object) -> dict[str, object]:
    return {**node(0).checks, **changed}


PACKAGES = node(0).packages
FAULTS = [
    ("nodes", {"error": "no process has started on it for 60 s"}, ClusterError, "no process has started"),
    ("python", {"python": "3.12.1"}, ClusterError, "differs between nodes"),
    ("python", {"python": "3.9.2"}, ClusterError, "has 3.9.2"),
    ("packages", {"packages": {**PACKAGES, "torch": ""}}, ClusterError, "has no torch"),
    ("packages", {"packages": {**PACKAGES, "ray": "2.50"}}, ClusterError, "ray differs"),
    ("packages", {"packages": {**PACKAGES, "opencv-python-headless": ""}}, ClusterError, "has no OpenCV"),
    ("clocks", {"clock_ahead_seconds": 90.0}, ClusterError, "90 s ahead of the head"),
    ("clocks", {"clock_ahead_seconds": -90.0}, ClusterError, "90 s behind the head"),
    ("disks", {"disk_free_bytes": GIB // 4}, ClusterError, "has 0.2 GiB free"),
    (
        "gpus",
        {"resources": {"GPU": 2}, "gpus": ["H200, 570"]},
        ClusterError,
        "gives Ray 2 GPUs, and its driver shows 1",
    ),
    ("storage", {"checks": checks(storage="cannot be written (Read-only file system)")}, ConfigError, "Read-only"),
    ("storage", {"checks": checks(storage="is not the storage that the head has")}, ConfigError, "is not the storage"),
    ("tracking", {"checks": checks(tracking="wants credentials that this node has not (401)")}, TrackingError, "401"),
    ("data", {"checks": checks(paths={PATH: "is not there"})}, DataError, f"{PATH} is not there"),
    ("data", {"checks": checks(sizes={PATH: 999})}, DataError, "is not the same file"),
]


@pytest.mark.parametrize(("check", "facts", "kind", "said"), FAULTS)
def test_a_fault_of_one_node_is_found(check, facts, kind, said):
    nodes = [node(0), node(1, **facts), node(2)]
    found = [verdict for verdict in judge(nodes) if verdict.kind == "error"]
    assert {verdict.check for verdict in found} == {check}
    assert any(said in verdict.detail for verdict in found)
    assert all(verdict.fix for verdict in found)
    with pytest.raises(kind, match=check):
        refuse(nodes)


def test_sound_nodes_have_a_verdict_for_everything_and_no_error():
    nodes = [node(0), node(1)]
    refuse(nodes)
    assert {verdict.kind for verdict in judge(nodes)} == {"ok"}
    assert len(judge(nodes)) == 10


def test_what_nobody_has_looked_at_is_not_said_to_be_as_it_should():
    """No data are named without a recipe, and a node whose Python is too old looks at nothing."""
    nothing = {"storage": "", "tracking": "", "paths": {}}
    detail = {one.check: one.detail for one in judge([node(0, checks=nothing), node(1, python="3.9.2", checks={})])}
    assert detail["data"] == "none are named, so none were looked for; give a RECIPE"
    assert detail["storage"] == detail["tracking"] == "as it should be on 1 node"
    assert judge([node(0), node(1)])[-1].detail == "as it should be on 2 nodes"


def test_what_this_machine_has_not_itself_is_asked_for_without_a_version(monkeypatch):
    monkeypatch.setattr("rayox.submission.verdicts.NEEDED", ("a-package-of-nodes",))
    (wrong, *_) = [one for one in judge([node(0, packages={"opencv-python": "4"})]) if one.kind == "error"]
    assert (wrong.check, wrong.fix) == ("packages", "pip install a-package-of-nodes there")


def test_another_rayox_on_a_node_is_a_warning_as_a_job_brings_its_own():
    nodes = [node(0, rayox={"version": "0.0.9", "digest": "a"}), node(1)]
    refuse(nodes)
    assert [verdict.check for verdict in judge(nodes) if verdict.kind == "warning"] == ["rayox"]


def test_little_shared_memory_is_a_warning_with_its_remedy():
    nodes = [node(0), node(1, shared_memory_bytes=64 << 20)]
    refuse(nodes)
    (warning,) = [verdict for verdict in judge(nodes) if verdict.kind == "warning"]
    assert (warning.check, "64 MiB" in warning.detail, "--shm-size" in warning.fix) == ("shared memory", True, True)


SPOT, LASTING = {"ray.io/market-type": "spot"}, {"ray.io/market-type": "on-demand"}


def test_a_driver_is_put_on_no_node_that_can_be_taken_away():
    head, spot, lasting, plain = node(0), node(1, labels=SPOT), node(2, labels=LASTING), node(3)
    assert driver_label([head, spot, lasting]) == driver_label([spot, plain]) == {"ray.io/market-type": "!spot"}
    assert [one.host for one in may_drive([head, spot, lasting, plain])] == ["host0", "host2", "host3"]


def test_without_a_choice_a_driver_is_where_ray_puts_it():
    """On the head, also where all nodes are alike or can be taken away."""
    for nodes in ([node(0), node(1)], [node(0, labels=SPOT), node(1, labels=SPOT)], [node(0, labels=LASTING), node(1)]):
        assert driver_label(nodes) is None
        assert [one.host for one in may_drive(nodes)] == ["host0"]


def test_what_a_job_writes_has_to_be_writable_where_its_driver_may_be():
    wrong = checks(outputs={"/shared/new": "cannot be written: there is no folder /shared"})
    refuse([node(0), node(1, checks=wrong)])
    with pytest.raises(ConfigError, match="output: on node"):
        refuse([node(0, checks=wrong), node(1)])
    with pytest.raises(ConfigError, match=r"there is no folder /shared"):
        refuse([node(0), node(1, checks=wrong), node(2, labels=SPOT)])


def test_a_node_whose_python_is_too_old_to_be_asked_is_told_alone():
    with pytest.raises(ClusterError, match=r"has 3\.10\.4") as error:
        refuse([node(0), node(1, python="3.10.4", checks={})])
    assert ">=3.11" in error.value.hint
