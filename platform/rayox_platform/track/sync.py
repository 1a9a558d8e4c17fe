"""Sends to MLflow what a run's driver could not send any more."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from rayox_model.core.errors import ConfigError, TrackingError
from rayox_platform.config.tree import Tracking as TrackingSettings
from rayox_platform.runs.ending import read_end
from rayox_platform.runs.home import RunHome
from rayox_platform.runs.outbox import TARGET, Outbox, Target, parse_target, read_target, written_entries
from rayox_platform.runs.outbox_entries import Status
from rayox_platform.storage.state import RESULT, state_folder
from rayox_platform.track.credentials import with_credentials
from rayox_platform.track.record import Record
from rayox_platform.track.registry import versions
from rayox_platform.track.sender import Sender, sending
from rayox_platform.track.tracking import DATABASE, STORE_ERRORS, Store, Tracking, connect, default_uri, refused


@dataclass(frozen=True)
class Synced:
    """What a sync has done."""

    run: str
    run_id: str
    sent: int
    refused: tuple[str, ...]  # reasons of entries that MLflow will never take
    registered: str  # models:/NAME/VERSION; empty when the run has none
    tracking_uri: str


def sync_run(
    home: RunHome, seconds: float, waiting: Callable[[], None] | None = None, tracking_uri: str | None = None
) -> Synced:
    """Send the rest of a run's outbox, giving up when nothing gets through for so many seconds.

    tracking_uri is what is given now: its credentials are needed where the run's own address had some.

    From another machine than the driver's, which alone has the outbox of a run in a bucket, all its events are sent
    again, which changes nothing in MLflow, and how it ended.

    Raises ConfigError when there is no such run or it is being trained, TrackingError when MLflow does not answer.
    """
    folder = home.folder
    here = read_target(folder)
    target = here or _target_in_bucket(home)
    if target is None:
        where = "check the name" if str(folder) == str(home) else "sync it on the machine of its driver, or --resume it"
        raise ConfigError(f"{home.name}: no run in {folder.parent} has anything for MLflow", where)
    uri = _found_again(with_credentials(target.uri, tracking_uri))
    store = Store(connect(uri, state_folder(), experiment=None).client, uri, target.experiment_id)
    with home.claim(), sending(folder, Tracking(store, target.run_id)) as sender:
        if here is None:
            Record(home, sender, lambda event: None, TrackingSettings())  # takes up every event
        _last_word(home, sender.outbox)
        before = sender.outbox.num_unsent()
        if not sender.drain(seconds, waiting):
            raise TrackingError(
                f"tracking.uri: {sender.outbox.num_unsent()} of {before} entries of {folder.name} are still unsent; "
                f"{target.uri} does not take them: {sender.problem or 'no answer'}",
                "start the tracking server and run the same command again; nothing is lost",
            )
        return Synced(folder.name, target.run_id, before, tuple(sender.refused), _registered(home, sender), target.uri)


def _target_in_bucket(home: RunHome) -> Target | None:
    """That of a run whose driver was elsewhere; none where its MLflow is a file of that machine."""
    try:
        target = parse_target(home.shared.read(TARGET))
    except FileNotFoundError:
        return None
    return None if target is None or target.uri.startswith(("sqlite:", "file:", "/")) else target


def _found_again(uri: str) -> str:
    """The default store's address when the state folder was moved: its database is not where it was."""
    path = uri.removeprefix("sqlite:///")
    gone = path != uri and path.endswith(f"/{DATABASE}") and not os.path.exists(path)
    return default_uri(state_folder()) if gone and (state_folder() / DATABASE).is_file() else uri


def _last_word(home: RunHome, outbox: Outbox) -> None:
    """A driver that was killed has left its run as running, and nobody else will ever end it."""
    said = [entry.status for entry in written_entries(home.folder) if isinstance(entry, Status)]
    if not said or said[-1] == "RUNNING":
        end = read_end(home)
        failed = end is not None and end.status == "failed"
        status = "FINISHED" if home.shared.has(RESULT) else "FAILED" if failed else "KILLED"
        outbox.add(Status(status, end.time if end else time.time()))


def _registered(home: RunHome, sender: Sender) -> str:
    """The run's model version, also written into its result, which did not know it yet."""
    store = sender.tracking.store
    try:
        found = versions(store, f"run_id = '{sender.tracking.run_id}'")
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error
    if found and home.shared.has(RESULT):
        result = json.loads(home.shared.read(RESULT)) | {"registered": found[0].uri}
        home.shared.write(RESULT, json.dumps(result, indent=1).encode())
    return found[0].uri if found else ""
