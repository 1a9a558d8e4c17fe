"""The GPUs and the memory of one machine, shared out over the nodes of a cluster on it."""

from pathlib import Path

import psutil
import pytest

from rayox_cluster import box_shares, local_nodes
from rayox_cluster.cluster_record import ClusterRecord

GIB = 2**30


def record(temp_folder: Path, **more: object) -> ClusterRecord:
    temp = str(temp_folder)
    return ClusterRecord(
        "m", "127.0.0.1:1", "http://127.0.0.1:2", 3, 1, "/runs", "http://127.0.0.1:3", temp, "/f", **more
    )


@pytest.mark.parametrize(
    ("found", "nodes", "shares"),
    [("0", 3, ["0", "", ""]), ("0123", 2, ["01", "23"]), ("01234", 3, ["01", "23", "4"]), ("", 2, ["", ""])],
)
def test_the_first_nodes_get_the_gpus_and_no_two_the_same(found, nodes, shares):
    given = [box_shares.share_of_gpus(tuple(found), nodes, number) for number in range(nodes)]
    assert ["".join(share) for share in given] == shares
    assert box_shares.share_of_gpus(tuple(found), nodes, nodes) == ()


@pytest.mark.parametrize(("visible", "found"), [("2,3", ("2", "3")), ("", ()), ("-1", ()), ("GPU-1a", ("GPU-1a",))])
def test_gpus_that_this_process_may_not_use_are_nobody_s(monkeypatch, visible, found):
    monkeypatch.setenv(box_shares.VISIBLE, visible)
    assert box_shares.gpus() == found


def test_nodes_together_have_no_more_memory_than_there_is(tmp_path):
    there = psutil.virtual_memory().total
    assert 3 * (box_shares.share_of_memory(3, GIB // 4) + GIB // 4) < there or box_shares.free_bytes() < 2 * GIB
    assert box_shares.share_of_memory(1000, GIB) == box_shares.LEAST_BYTES
    (tmp_path / "memory.max").write_text(f"{2 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    assert box_shares.free_bytes(tmp_path) <= GIB
    (tmp_path / "memory.max").write_text("max\n")
    assert box_shares.free_bytes(tmp_path) > 0


def test_each_node_is_told_its_share(tmp_path):
    whole = record(tmp_path, gpus=("4", "5"), memory_per_node=GIB)
    words = [local_nodes._head_command(whole), *(local_nodes._node_command(whole, number) for number in (1, 2))]
    assert [command[command.index("--num-gpus") + 1] for command in words] == ["1", "1", "0"]
    assert {command[command.index("--memory") + 1] for command in words} == {str(GIB)}
