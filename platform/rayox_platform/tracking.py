"""One MLflow run for one training, written by the driver alone."""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# An unreachable server must not hold a command for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import logging

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from rayox_model.errors import TrackingError

logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # each new table is no news to a user

RUN_TAG = "rayox.run"
PARAM_LIMIT = 500  # characters of a value
BATCH_LIMIT = 100  # parameters of one request


@dataclass(frozen=True)
class Tracking:
    """An open MLflow run."""

    client: MlflowClient
    run_id: str
    uri: str

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(key, value, now, step) for key, value in metrics.items()])

    def log_file(self, path: Path, name: str) -> None:
        self.client.log_artifact(self.run_id, str(path), name)

    def log_folder(self, folder: Path, name: str) -> None:
        self.client.log_artifacts(self.run_id, str(folder), name)

    def finish(self, status: str) -> None:
        """FINISHED, FAILED or KILLED."""
        self.client.set_terminated(self.run_id, status)


def open_run(
    uri: str | None, state: Path, experiment: str, name: str, params: Mapping[str, str], tags: Mapping[str, str]
) -> Tracking:
    """The run of this name, found again after a restart or made. Raises TrackingError.

    Without an address, runs are kept in SQLite and plain folders under the state folder.
    """
    state.mkdir(parents=True, exist_ok=True)
    uri = uri or f"sqlite:///{state / 'mlflow.db'}"
    try:
        with _one_at_a_time(state / "mlflow.lock"):  # a fresh database must be set up by one process
            client = MlflowClient(tracking_uri=uri)
            experiment_id = _experiment(client, experiment, state if uri.startswith("sqlite:") else None)
        run_id = _find_run(client, experiment_id, name) or _create_run(client, experiment_id, name, params, tags)
        client.update_run(run_id, status="RUNNING")
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise TrackingError(
            f"tracking.uri: cannot keep runs at {uri}: {str(error).splitlines()[0]}",
            "start the tracking server, or leave tracking.uri out to keep runs on this machine",
        ) from error
    return Tracking(client, run_id, uri)


def _experiment(client: MlflowClient, name: str, local: Path | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = (local / "artifacts" / name).as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=location))


def _find_run(client: MlflowClient, experiment_id: str, name: str) -> str | None:
    quoted = name.replace("'", "\\'")
    runs = client.search_runs([experiment_id], filter_string=f"tags.`{RUN_TAG}` = '{quoted}'", max_results=1)
    return str(runs[0].info.run_id) if runs else None


def _create_run(
    client: MlflowClient, experiment_id: str, name: str, params: Mapping[str, str], tags: Mapping[str, str]
) -> str:
    run = client.create_run(experiment_id, run_name=name, tags={RUN_TAG: name})
    run_id = str(run.info.run_id)
    entries = [Param(key, value[:PARAM_LIMIT]) for key, value in params.items()]
    for start in range(0, len(entries), BATCH_LIMIT):
        client.log_batch(run_id, params=entries[start : start + BATCH_LIMIT])
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    return run_id


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
