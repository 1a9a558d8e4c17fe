"""A campaign with train.nodes and data.nodes on real raylets: nothing of it goes elsewhere, also when one is lost."""

import json
from pathlib import Path

import pytest
from campaign_runs import CampaignRun, assert_each_once
from patience import wait_until
from small_cluster import kill_raylet, nodes

from rayox_cluster.local import RAY_SETTINGS
from rayox_platform.runs.event_kinds import Start
from rayox_platform.runs.events import read_events

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(1800)]
STORE = {"object_store_memory": 200 * 2**20}
NO_RAYOX = "import sys\nsys.modules['rayox_platform'] = None\n"  # whoever imports it fails
CAMPAIGN = {"budget": {"trials": 2}, "confirm": {"top": 1, "seeds": 1, "samples": 50}}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A head without CPUs; two nodes for trials, one for data, and a large one that cannot run rayox at all."""
    for name, value in (RAY_SETTINGS | {"RAY_health_check_period_ms": "1000", "OMP_NUM_THREADS": "1"}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_RAYOX)
    train, data = ({"num_cpus": 2, "labels": {"role": role}} | STORE for role in ("train", "data"))
    other = {"num_cpus": 8, "env_vars": {"PYTHONPATH": str(tmp_path / "site")}} | STORE
    with nodes({"num_cpus": 0, "object_store_memory": 10**8}, train, train, data, other) as cluster:
        yield cluster


def test_nothing_goes_elsewhere_and_a_lost_node_costs_no_trial(cluster, toy_data, tmp_path):
    run = CampaignRun(tmp_path / "mine", toy_data, CAMPAIGN, epochs=6, nodes="role=train")
    arguments = ("mine.yaml", "data.nodes=role=data", "--address", cluster.address, "--json")
    process = run.start(*arguments)
    first = run.folder / "state" / "runs" / "mine-000"
    try:
        wait_until(lambda: starts(first) or process.poll() is not None, 300, run.log())
        (lost,) = starts(first)[0].nodes
        kill_raylet(cluster, lost)
        output, _ = process.communicate()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, (output, run.log())
    assert json.loads(output.splitlines()[-1])["confirmed"], run.log()
    assert_each_once(run, trials=2)
    assert not [trial.why for trial in run.state().trials if trial.state == "failed"]
    assert len(starts(first)) > 1, "it was begun again"
    used = {node for trial in run.state().trials for one in starts(first.with_name(trial.run)) for node in one.nodes}
    labels = {node.node_id: node.node_labels.get("role") for node in cluster.worker_nodes}
    assert {labels[node] for node in used} == {"train"}
    assert len(used) == 2


def starts(run: Path) -> list[Start]:
    return [event for event in read_events(run) if isinstance(event, Start)]
