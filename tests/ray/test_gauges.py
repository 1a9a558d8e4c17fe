"""A run's gauges as Prometheus reads them: from the metrics agent of the node that trains."""

import urllib.request

import pytest
import ray
from patience import wait_until

from rayox_platform.runs.event_kinds import Epoch, Progress, Start

pytestmark = pytest.mark.ray

EVENTS = (
    Start(time=100.0, step=0, workers=2, checkpoint_time=90.0),
    Progress(
        time=130.0,
        step=320,
        epoch=4,
        images_per_second=58.5,
        data_seconds=0.0,
        data_wait_fraction=0.25,
        learning_rate=0.0078125,
        gradient_norm=1.5,
        loss_total=9.0,
        loss_iou=3.5,
    ),
    Epoch(time=140.0, epoch=5, step=400, metrics={"AP": 0.3125, "loss_total": 9.0}),
)
EXPECTED = {
    'ray_rayox_step{run="toy"}': 320,
    'ray_rayox_epoch{run="toy"}': 4,
    'ray_rayox_images_per_second{run="toy"}': 58.5,
    'ray_rayox_data_wait_ratio{run="toy"}': 0.25,
    'ray_rayox_learning_rate{run="toy"}': 0.0078125,
    'ray_rayox_gradient_norm{run="toy"}': 1.5,
    'ray_rayox_loss{run="toy",term="total"}': 9.0,
    'ray_rayox_loss{run="toy",term="iou"}': 3.5,
    'ray_rayox_score{run="toy",metric="AP"}': 0.3125,
    'ray_rayox_checkpoint_timestamp_seconds{run="toy"}': 90.0,
    'ray_rayox_checkpoint_age_seconds{run="toy"}': 50.0,
    'ray_rayox_workers{run="toy"}': 2,
    'ray_rayox_restarts{run="toy"}': 1,
}


@ray.remote(num_cpus=0)
class Rank0:
    """Sets gauges as a worker does, and lives on while they are read."""

    def __init__(self, folder):
        from rayox_platform.runs.home import FolderHome
        from rayox_platform.train.prometheus import RunGauges

        self.gauges = RunGauges(FolderHome(folder))

    def take(self, event):
        self.gauges.take(event)


def scraped() -> dict[str, float]:
    """rayox's series on all nodes, with the tags that Ray adds left out."""
    found = {}
    for node in ray.nodes():
        url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        for line in urllib.request.urlopen(url, timeout=10).read().decode().splitlines():
            if line.startswith("ray_rayox_"):
                name, _, rest = line.partition("{")
                tags, _, value = rest.rpartition("} ")
                own = [f for f in tags.split(",") if f.partition("=")[0] in ("run", "term", "metric")]
                found[f"{name}{{{','.join(sorted(own, key=lambda tag: not tag.startswith('run=')))}}}"] = float(value)
    return found


def test_prometheus_finds_a_run_s_gauges_at_its_node(cluster, tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "events.jsonl").write_text('{"kind": "start", "time": 1.0, "step": 0}\n')  # the run's first start
    rank0 = Rank0.remote(folder)
    for event in EVENTS:
        ray.get(rank0.take.remote(event))
    wait_until(lambda: EXPECTED.items() <= scraped().items())
