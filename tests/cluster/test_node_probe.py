"""What a node says of itself, and what whoever asks makes of the lines."""

import json

import pytest

from rayox_cluster import node_probe
from rayox_cluster.node_probe import ANSWER, facts
from rayox_cluster.preflight import Question, read_told


@pytest.mark.slow
def test_a_python_that_is_too_old_for_rayox_tells_its_version_and_is_asked_no_more(monkeypatch, tmp_path):
    question = Question("rayox.submission.node_checks", storage=str(tmp_path)).to_json("mark")
    assert question["oldest_python"] == (3, 11)
    assert facts(question)["checks"]["storage"] == "is not the storage that the head has"
    monkeypatch.setattr(node_probe.sys, "version_info", (3, 10, 4, "final", 0))
    told = facts(question)
    assert "checks" not in told
    assert told["python"]


def test_what_has_been_said_by_a_deadline_is_kept():
    """A line each: the nodes there are, what one of them has, and at the end whether they reach each other."""
    nodes = {"nodes": [{"node": "a"}, {"node": "b"}]}
    lines = [nodes, {"node": "a", "answer": {"host": "one"}}, {"all_reduce": 0.1}]
    log = ["a warning of Ray's", *(ANSWER + json.dumps(line) for line in lines)]
    assert read_told("").nodes == []
    early = read_told("\n".join(log[:-1]))
    assert (len(early.nodes), early.answers, early.is_whole) == (2, {"a": {"host": "one"}}, False)
    whole = read_told("\n".join(log))
    assert (whole.all_reduce, whole.is_whole) == (0.1, True)


def test_a_line_that_is_cut_off_or_written_into_is_left_out():
    """The log is read while the job writes it, and Ray's processes write there too."""
    line = ANSWER + json.dumps({"nodes": [{"node": "a"}]})
    told = read_told(f'{ANSWER}{{"node": (raylet) something\n{line}\n{line[:-4]}')
    assert [node["node"] for node in told.nodes] == ["a"]


def test_what_a_node_was_asked_is_told_without_a_password():
    question = Question(storage="s3://runs", tracking="http://bob:hush@mlflow", paths=("/data",))
    assert question.wanted == "versions, the data, storage s3://runs, tracking http://***@mlflow"
