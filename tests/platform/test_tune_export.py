"""A campaign in optuna-dashboard: what its pages are made of, asked for over HTTP as a browser would."""

import json
import sqlite3
import threading
from contextlib import closing, contextmanager
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import pytest
from optuna_dashboard import wsgi
from simulate import play
from tune_toys import BASE, campaign, curve

from rayox_model.core.errors import ConfigError
from rayox_platform.tune.optuna_export import export_study


class Quiet(WSGIRequestHandler):
    def log_message(self, *said: object) -> None:
        """Nobody reads it."""


@contextmanager
def dashboard(url: str):
    """How to ask it for a path."""
    server = make_server("127.0.0.1", 0, wsgi(optuna.storages.RDBStorage(url)), handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield lambda path: json.load(urlopen(f"http://127.0.0.1:{server.server_port}/api/{path}", timeout=60))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::optuna.exceptions.ExperimentalWarning")
def test_the_dashboard_shows_the_campaign_with_its_curves_and_times(tmp_path):
    state, _ = play(campaign("promote", "tpe", trials=12), BASE, curve)
    url = f"sqlite:///{tmp_path}/study.db"
    assert export_study(state, url) == 12
    assert export_study(state, url) == 12, "written anew, not twice"
    with dashboard(url) as ask:
        (study,) = ask("studies")["study_summaries"]
        assert (study["study_name"], study["directions"]) == ("campaign", ["maximize"])
        shown = ask(f"studies/{study['study_id']}?after=0")
    assert shown["objective_names"] == ["AP"]
    assert len(shown["trials"]) == 12
    for trial, seen in zip(state.search, shown["trials"], strict=True):
        assert seen["state"] == ("Complete" if trial.state == "finished" else "Pruned")
        curve_seen = {point["step"]: point["value"] for point in seen["intermediate_values"]}
        assert curve_seen == pytest.approx({epoch: report["AP"] for epoch, report in trial.reports.items()})
        values = {one["name"]: float(one["param_external_value"]) for one in seen["params"]}
        assert values == pytest.approx(dict(trial.values))
        assert {"key": "run", "value": trial.run} in seen["user_attrs"]
        assert seen["datetime_start"] < seen["datetime_complete"]
    best = max((trial for trial in state.search if trial.state == "finished"), key=state.score)
    assert [one["number"] for one in shown["best_trials"]] == [best.number]


def test_a_database_that_cannot_be_written_is_named(tmp_path):
    state, _ = play(campaign("none", "random", trials=2), BASE, curve)
    for url in ("nothing://x", f"sqlite:///{tmp_path}/none/study.db"):
        with pytest.raises(ConfigError, match=r"--optuna: .* cannot be written"):
            export_study(state, url)


def test_a_database_of_something_else_is_refused_without_a_traceback(tmp_path):
    state, _ = play(campaign("none", "random", trials=2), BASE, curve)
    url = f"sqlite:///{tmp_path}/other.db"
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("create table studies (x int)")
    with pytest.raises(ConfigError, match=r"--optuna: .*other.db cannot be written \(.*studies"):
        export_study(state, url)


def test_a_study_that_is_not_of_the_campaign_is_replaced_by_force_alone(tmp_path):
    state, _ = play(campaign("none", "random", trials=2), BASE, curve)
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(study_name="campaign", storage=url).add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(ConfigError, match="has a study campaign of another campaign") as no:
        export_study(state, url)
    assert "--force" in no.value.hint
    assert len(optuna.load_study(study_name="campaign", storage=url).trials) == 1
    assert export_study(state, url, force=True) == 2
    assert export_study(state, url) == 2, "its own from then on"
