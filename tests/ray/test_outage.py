"""A tracking server dies in the middle of a training on Ray: the training does not notice, MLflow misses nothing."""

import threading
import time

import pytest
from mlflow_server import MlflowServer
from toy_runs import toy_config

from rayox_platform.config import Config
from rayox_platform.runs.event_kinds import Progress, Start
from rayox_platform.runs.events import read_events
from rayox_platform.track.record import recorded
from rayox_platform.track.tracking import connect
from rayox_platform.train.finishing import finish
from rayox_platform.train.prepare import prepare
from rayox_platform.train.training import fitted, train

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(600)]

AWAY_SECONDS = 60.0
STEPS_BEFORE = 60
EPOCHS = 200


@pytest.fixture
def server(tmp_path):
    (tmp_path / "mlflow").mkdir()
    server = MlflowServer(tmp_path / "mlflow")
    server.start()
    yield server
    server.close()


def test_a_minute_without_the_tracking_server_costs_no_step_and_no_point(cluster, server, toy_data, tmp_path):
    tracking = {"uri": server.uri, "step_seconds": 1.0, "flush_seconds": 60.0}
    given = toy_config(toy_data, tmp_path, "outage", epochs=EPOCHS, evaluate_every=EPOCHS)
    config = Config.model_validate(given.model_dump() | {"tracking": tracking})
    away: list[float] = []

    def outage(event):
        if not away and isinstance(event, Progress) and event.step > STEPS_BEFORE:
            away.append(event.time)
            server.kill()
            server.start_after(AWAY_SECONDS)
            back.start()

    def come_back():
        server.wait()
        away.append(time.time())

    server.prepare()
    back = threading.Thread(target=come_back)
    prepared = prepare(config, resume=False)
    store = connect(server.uri, tmp_path / "state", config.tracking.experiment)
    with prepared.home.claim(), recorded(prepared.config, prepared.home, prepared.images, store, outage) as record:
        finished = finish(prepared, train(*fitted(prepared), record.handle), record)
    back.join()

    events = read_events(tmp_path / "outage")
    progress = [event for event in events if isinstance(event, Progress)]
    assert len([event for event in events if isinstance(event, Start)]) == 1
    died, returned = away
    assert returned - died > AWAY_SECONDS
    assert progress[-1].time > returned  # it trained all the while
    rate = {name: steps_per_second(progress, span) for name, span in spans(progress, died, died + AWAY_SECONDS).items()}
    print(f"steps a second with the server {rate['with']:.1f}, without it {rate['without']:.1f}")
    assert rate["without"] > 0.8 * rate["with"]

    client, run_id = store.client, finished.run_id
    history = client.get_metric_history(run_id, "loss_total")
    assert sorted(point.step for point in history) == list(range(1, EPOCHS + 1))
    by_step = client.get_metric_history(run_id, "system/step/loss_total")
    during = [point for point in by_step if died < point.timestamp / 1000 < returned]
    told = [event for event in progress if died < event.time < returned]
    assert len(during) > 0.5 * AWAY_SECONDS
    assert {point.step for point in during} <= {event.step for event in told}
    assert client.get_run(run_id).info.status == "FINISHED"
    assert finished.registered
    assert [run.info.run_id for run in client.search_runs([store.experiment_id])] == [run_id]


def spans(progress, died, back):
    """Without the server, and with it before and after: (first, last) of the events' times."""
    return {"without": [(died, back)], "with": [(progress[5].time, died), (back + 15, progress[-1].time)]}


def steps_per_second(progress, parts):
    steps = seconds = 0.0
    for first, last in parts:
        inside = [event for event in progress if first <= event.time <= last]
        if len(inside) > 1:
            steps += inside[-1].step - inside[0].step
            seconds += inside[-1].time - inside[0].time
    return steps / seconds
