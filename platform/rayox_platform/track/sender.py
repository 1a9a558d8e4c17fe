"""The one thread that brings a run's outbox to MLflow: in order, in batches, again after every failure."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from threading import Event, Thread

from mlflow.exceptions import MlflowException, RestException

from rayox_model.core.secrets import without_secrets
from rayox_platform.runs.outbox import Line, Outbox, Target, open_outbox
from rayox_platform.runs.outbox_entries import (
    DatasetUse,
    Entry,
    Pictures,
    Points,
    Registration,
    Status,
    Tags,
    TextFile,
)
from rayox_platform.track.registration import register
from rayox_platform.track.tracking import STORE_ERRORS, Tracking

POINTS_AT_ONCE = 1000  # MLflow's limit of a request
POLL_SECONDS = 1.0  # in which points gather to a batch
SYNC_SECONDS = 5.0  # what a power cut may cost of what MLflow does not have yet; the disk slows writers down meanwhile
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0  # seconds between two tries at a store that fails
LONGEST_DRAINS = 10  # times the seconds without progress: what a wait may take in all
# What MLflow imports at its first use, which would be from the thread that sends, beside whatever imports meanwhile.
IMPORTED_LATE = (
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.utils.search_logged_model_utils",
    "mlflow.pyfunc",
)
# The store has understood the request and will never take it.
REFUSALS = frozenset(("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "BAD_REQUEST"))


class Sender:
    """Sends what a outbox has and gets; started once, stopped once."""

    def __init__(self, outbox: Outbox, tracking: Tracking, folder: Path) -> None:
        self.outbox, self.tracking, self._folder = outbox, tracking, folder
        self._wake, self._stop = Event(), Event()
        self._synced = 0.0
        self._progress = 0  # sends that went through
        self._gave_up = False
        self.problem = ""  # why the store did not take the last try
        self.refused: list[str] = []  # reasons of entries it will never take
        self._thread = Thread(target=self._run, name="rayox-tracking", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; one that hangs in a request is left behind, as its lines are on disk."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=1.0)

    def drain(self, seconds: float, waiting: Callable[[], None] | None = None) -> bool:
        """Wait until everything is sent; False once nothing has got through for so many seconds, or at Ctrl-C.

        waiting is called when that is not a matter of a moment. After a first time in vain this hardly waits.
        """
        end = self.outbox.size
        self._wake.set()
        seconds = min(seconds, 1.0) if self._gave_up else seconds
        began = since = time.monotonic()
        seen = self._progress
        try:
            while self.outbox.sent < end:
                time.sleep(0.05)
                now = time.monotonic()
                if waiting and now - began > POLL_SECONDS:
                    waiting()
                    waiting = None
                if self._progress != seen:
                    seen, since = self._progress, now
                if now - since > seconds or now - began > LONGEST_DRAINS * seconds:
                    self._gave_up = True
                    return False
        except KeyboardInterrupt:
            self._gave_up = True
            return False
        return True

    def _run(self) -> None:
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # each try at a dead server is not news
        wait = FIRST_WAIT
        while not self._stop.is_set():
            try:
                sent = self._send_next()
                self.problem, wait = "", FIRST_WAIT
            except STORE_ERRORS as error:
                self.problem = without_secrets(" ".join(str(error).split()))[:200]
                self._stop.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            if not sent:
                self._wake.wait(POLL_SECONDS)
                self._wake.clear()

    def _send_next(self) -> bool:
        """Send the first lines of the outbox that go together; False when there are none."""
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.outbox.sync()
            self._synced = time.monotonic()
        lines = self.outbox.unsent()
        if not lines:
            return False
        self._send(_batch(lines))
        self._progress += 1
        return True

    def _send(self, batch: Sequence[Line]) -> None:
        """What the store refuses for good is counted and left behind: alone, so that it takes no other with it."""
        try:
            deliver([line.entry for line in batch if line.entry is not None], self.tracking, self._folder)
        except STORE_ERRORS as error:
            if not _is_refusal(error, over_http=self.tracking.uri.startswith("http")):
                raise
            if len(batch) > 1:
                for line in batch:
                    self._send([line])
                return
            self.refused.append(without_secrets(" ".join(str(error).split()))[:200])
        except Exception as error:  # noqa: BLE001 - an entry that cannot be told, whoever answers; it is reported
            self.refused.append(without_secrets(f"{type(error).__name__}: {error}"))
        self.outbox.acknowledge(batch[-1].end)


@contextmanager
def sending(folder: Path, tracking: Tracking) -> Iterator[Sender]:
    """Send what the outbox in a run's folder has, and all that is added to it, while the with block runs."""
    for module in IMPORTED_LATE:
        with suppress(ImportError):  # not every MLflow has all of them
            import_module(module)
    folder.mkdir(parents=True, exist_ok=True)
    outbox = open_outbox(folder, Target(tracking.store.shown, tracking.store.experiment_id, tracking.run_id))
    sender = Sender(outbox, tracking, folder)
    sender.start()
    try:
        yield sender
    finally:
        sender.stop()
        outbox.close()


def deliver(entries: Sequence[Entry], tracking: Tracking, folder: Path) -> None:
    """Send entries: points all in one request, or one of another kind. Raises one of STORE_ERRORS, or ValueError."""
    points = [entry for entry in entries if isinstance(entry, Points)]
    if points:
        tracking.log_points(points)
    for entry in entries:
        match entry:
            case Tags(tags):
                tracking.set_tags(tags)
            case TextFile(name, text):
                tracking.log_text(text, name)
            case Pictures(source, name):
                if not (folder / source).is_dir():
                    raise ValueError(f"{folder / source} is gone")
                tracking.log_folder(folder / source, name)
            case DatasetUse(name, digest, source, context, profile):
                tracking.log_dataset(name, digest, source, context, profile)
            case Registration(model, onnx, metrics, epoch, tags, operating):
                if not (folder / onnx).is_file():
                    raise ValueError(f"{folder / onnx} is gone")
                register(tracking, model, folder / onnx, metrics, epoch, tags, operating)
            case Status(status, at):
                tracking.set_status(status, at)


def _batch(lines: Sequence[Line]) -> list[Line]:
    """The first line, and if it has points all that follow with points, as many as one request takes."""
    first = list(takewhile(lambda line: isinstance(line.entry, Points), lines)) or list(lines[:1])
    batch, count = first[:1], _num_points(first[0])
    for line in first[1:]:
        count += _num_points(line)
        if count > POINTS_AT_ONCE:
            break
        batch.append(line)
    return batch


def _num_points(line: Line) -> int:
    return len(line.entry.metrics) if isinstance(line.entry, Points) else 0


def _is_refusal(error: Exception, over_http: bool) -> bool:
    """Only by MLflow's own word: a proxy before a server that restarts says 404 as well."""
    if not isinstance(error, MlflowException) or error.error_code not in REFUSALS:
        return False
    return isinstance(error, RestException) or not over_http
