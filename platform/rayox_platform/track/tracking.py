"""MLflow runs, written by the driver alone: a store that answers, and one open run of it."""

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic.util.exc import CommandError
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from rayox_model.core.errors import ConfigError, TrackingError
from rayox_model.core.secrets import HIDDEN, masked_address, without_secrets
from rayox_platform.runs.outbox_entries import Points
from rayox_platform.track.moved_store import follow_moved_state
from rayox_platform.track.quiet import quiet_mlflow

DATABASE = "mlflow.db"  # of the default store, in the state folder
RUN_TAG = "rayox.run"
RUN_KIND_TAG = "rayox.kind"  # of what is not a training: campaign or trial
OF_MODELS = "?workflowType=machine_learning"  # a fresh browser shows the pages of chats and prompts otherwise
KIND_TAG, KIND = (
    "mlflow.experimentKind",
    "custom_model_development",
)  # else its pages open as those of chats and prompts
PARAM_LIMIT = 500  # characters of a value
BATCH_LIMIT = 100  # parameters of one request
TRIES = 3  # at opening a store or a run
# ImportError: SQLAlchemy imports a database's driver when it is asked for it.
STORE_ERRORS = (MlflowException, SQLAlchemyError, CommandError, OSError, ImportError)
DRIVERS = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient", "pyodbc": "pyodbc", "pymysql": "pymysql"}
"""Packages by the module that a database's address asks for."""


@dataclass(frozen=True)
class Store:
    """An MLflow tracking store that has answered, and the experiment runs go to."""

    client: MlflowClient
    uri: str
    experiment_id: str

    @property
    def shown(self) -> str:
        """The address as it may be shown and kept: without credentials."""
        return masked_address(self.uri)


@dataclass(frozen=True)
class Tracking:
    """An open MLflow run."""

    store: Store
    run_id: str

    @property
    def page(self) -> str:
        """The web address of the run, among the pages of models; empty where it is a database and not a server."""
        if not self.uri.startswith("http"):
            return ""
        server = self.store.shown.replace(f"{HIDDEN}@", "").partition("?")[0].rstrip("/")
        return f"{server}/#/experiments/{self.store.experiment_id}/runs/{self.run_id}{OF_MODELS}"

    @property
    def client(self) -> MlflowClient:
        return self.store.client

    @property
    def uri(self) -> str:
        return self.store.uri

    def log_points(self, points: Iterable[Points]) -> None:
        """Points of curves in one request, at most 1000; the same point again changes nothing."""
        metrics = [
            Metric(key, value, int(point.time * 1000), point.step)
            for point in points
            for key, value in point.metrics.items()
        ]
        self.client.log_batch(self.run_id, metrics=metrics)

    def log_text(self, text: str, name: str) -> None:
        self.client.log_text(self.run_id, text, name)

    def log_folder(self, folder: Path, name: str) -> None:
        self.client.log_artifacts(self.run_id, str(folder), name)

    def log_dataset(self, name: str, digest: str, source: str, context: str, profile: str) -> None:
        """What the run used: context is training or evaluation, profile a JSON object of counts."""
        kind = source.partition("://")[0] if "://" in source else "local"  # s3 and gs are kinds of MLflow's too
        where = json.dumps({"uri": source})  # as mlflow.data.get_source reads it
        dataset = Dataset(name, digest[:36], kind, where, profile=profile)  # MLflow keeps 36 characters
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def set_status(self, status: str, time_seconds: float) -> None:
        """RUNNING, or FINISHED, FAILED or KILLED since a time."""
        if status == "RUNNING":
            self.client.update_run(self.run_id, status=status)
        else:
            self.client.set_terminated(self.run_id, status, end_time=int(time_seconds * 1000))


def default_uri(state: Path) -> str:
    """SQLite in the state folder."""
    return f"sqlite:///{state / DATABASE}"


def connect(uri: str | None, state: Path, experiment: str | None) -> Store:
    """Open the store, making a fresh database and the experiment; without an experiment, MLflow's own default.

    Without an address, runs are kept in SQLite and plain folders under the state folder. Raises TrackingError when
    nothing answers, or the database is of another MLflow.
    """
    quiet_mlflow()
    uri = uri or default_uri(state)
    try:
        with _set_up_by_one(uri, state):
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            if uri == default_uri(state):
                _tried(lambda: client.search_experiments(max_results=1))  # a database of another MLflow is refused here
                follow_moved_state(state / DATABASE, state)
            local = state if uri.startswith("sqlite:") else None
            found = _tried(lambda: _experiment(client, experiment, local)) if experiment else "0"
            return Store(client, uri, found)
    except STORE_ERRORS as error:
        raise refused(uri, error) from error


def open_run(
    store: Store, name: str, params: Mapping[str, str], tags: Mapping[str, str], *, kind: str = ""
) -> Tracking:
    """The run of this name, found again after a restart or made. Raises TrackingError.

    One of a kind of its own, such as a campaign, is not that of a training of the same name.
    """
    try:
        return Tracking(store, _tried(lambda: _found_or_made(store, name, params, tags, kind)))
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error


def find_run(store: Store, name: str) -> str | None:
    """The id of the run that rayox made under a name."""
    query = f"tags.`{RUN_TAG}` = '{name}'"  # MLflow's queries have no escape for quotes; names have none
    runs = store.client.search_runs([store.experiment_id], filter_string=query, max_results=1)
    return str(runs[0].info.run_id) if runs else None


def refused(uri: str, error: Exception) -> TrackingError:
    """What to tell a user of a store that fails."""
    uri, text = masked_address(uri), without_secrets(" ".join(str(error).split()))
    driver = _missing_driver(error)
    if driver:
        package = DRIVERS.get(driver, driver)
        return TrackingError(
            f"tracking.uri: {uri} needs the Python module {driver}, which is not installed",
            f"pip install {package}, or give the address of an MLflow server that has the database",
        )
    if "schema" in text or "revision" in text:
        return TrackingError(
            f"tracking.uri: the database {uri} was made by another MLflow: {text[:200]}",
            f"back it up, then bring it to this MLflow with `mlflow db upgrade {uri}`, or name another database",
        )
    return TrackingError(
        f"tracking.uri: cannot keep runs at {uri}: {text[:200]}",
        "start the tracking server, or leave tracking.uri and MLFLOW_TRACKING_URI out to keep runs on this machine",
    )


def check_store(uri: str | None, state: Path) -> None:
    """Ask the store that a run would be recorded in whether it answers; nothing is made there or here.

    Raises TrackingError, or ConfigError for a state folder that cannot be written.
    """
    quiet_mlflow()
    if uri is None:
        there = next(path for path in (state, *state.parents) if path.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise ConfigError(
                f"RAYOX_STATE: the state folder {state} cannot be written", "set RAYOX_STATE to one that can"
            )
        return
    if uri.startswith("sqlite:") and not os.path.exists(uri.removeprefix("sqlite:///")):
        return  # it is made at the start
    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        _tried(lambda: str(client.search_experiments(max_results=1)))
    except STORE_ERRORS as error:
        raise refused(uri, error) from error


def _missing_driver(error: BaseException | None) -> str:
    """The module that an error, or one that it came of, says is not installed; empty when none does."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return error.name
        found = re.search(r"No module named '([\w.]+)'", str(error))
        if found:
            return found[1]
        error = error.__cause__ or error.__context__
    return ""


def _experiment(client: MlflowClient, name: str, local: Path | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage != "active":
            client.restore_experiment(found.experiment_id)
        if KIND_TAG not in found.tags:
            client.set_experiment_tag(found.experiment_id, KIND_TAG, KIND)
        return str(found.experiment_id)
    location = (local / "artifacts" / name).as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=location, tags={KIND_TAG: KIND}))


def _tried(call: Callable[[], str]) -> str:
    """The result of a call, tried again while the store is away; it must find what an earlier try has made."""
    for left in reversed(range(TRIES)):
        try:
            return call()
        except (MlflowException, OSError):
            if not left:
                raise
            time.sleep(1.0)
    raise AssertionError("unreachable")


def _found_or_made(store: Store, name: str, params: Mapping[str, str], tags: Mapping[str, str], kind: str) -> str:
    known_as = f"{kind}/{name}" if kind else name
    found = find_run(store, known_as) or (kind and _of_kind(store, find_run(store, name), kind))
    if not found:
        return _create_run(store, name, params, tags, known_as)
    store.client.update_run(found, status="RUNNING")
    return found


def _of_kind(store: Store, run_id: str | None, kind: str) -> str | None:
    """The run, if it is one of that kind that an earlier version has made under its bare name."""
    return run_id if run_id and store.client.get_run(run_id).data.tags.get(RUN_KIND_TAG) == kind else None


def _create_run(store: Store, name: str, params: Mapping[str, str], tags: Mapping[str, str], known_as: str) -> str:
    run = store.client.create_run(store.experiment_id, run_name=name, tags={RUN_TAG: known_as})
    run_id = str(run.info.run_id)
    entries = [Param(key, value[:PARAM_LIMIT]) for key, value in params.items()]
    for start in range(0, len(entries), BATCH_LIMIT):
        store.client.log_batch(run_id, params=entries[start : start + BATCH_LIMIT])
    store.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    return run_id


@contextmanager
def _set_up_by_one(uri: str, state: Path) -> Iterator[None]:
    """A fresh database must be set up by one process; a server does that itself.

    Raises ConfigError when the state folder cannot be written, unless the database in it is there to be read.
    """
    if uri.startswith("http"):
        yield
        return
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / "mlflow.lock").open("w")
    except OSError as error:
        if uri == default_uri(state) and not (state / DATABASE).is_file():
            raise ConfigError(
                f"RAYOX_STATE: the state folder {state} cannot be written ({error.strerror})",
                "set RAYOX_STATE to a folder that can be written, or give tracking.uri",
            ) from error
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
