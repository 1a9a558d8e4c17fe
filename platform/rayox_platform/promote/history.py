"""Every promotion and rollback of a name, as people read it."""

from dataclasses import dataclass
from pathlib import Path

from rayox_model.core.errors import ModelError
from rayox_platform.models.champion import EXPERIMENT, NAME, History, problems, read_history
from rayox_platform.track.tracking import STORE_ERRORS, Store, connect, refused


@dataclass(frozen=True)
class Entry:
    """One version of a name that was to be champion, or a candidate that the gate refused."""

    version: int | None  # None for a refused one
    state: str  # champion, was champion, lost (another was faster), deleted or refused
    action: str
    time: str
    actor: str
    ap: str
    overrides: str
    reason: str
    run_id: str


@dataclass(frozen=True)
class NameHistory:
    entries: tuple[Entry, ...]  # the newest first
    problems: tuple[str, ...]


def name_history(name: str, tracking_uri: str | None, state: Path) -> NameHistory:
    """Raises ModelError for a name that nothing was promoted to, TrackingError when the registry does not answer."""
    store = connect(tracking_uri, state, experiment=None)
    try:
        history = read_history(store, name)
        entries = [_entry(history, number) for number in _numbers(history)] + _refused(store, name)
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error
    if not entries:
        raise ModelError(f"{name}: nothing was ever promoted to it", f"rayox promote MODEL --to {name}")
    entries.sort(key=lambda entry: (entry.time, entry.version or 0), reverse=True)  # times are whole seconds
    return NameHistory(tuple(entries), tuple(problems(history)))


def _numbers(history: History) -> list[int]:
    promoted = {number for number, one in history.versions.items() if "rayox.predecessor" in one.tags}
    return sorted(promoted | set(history.receipts))


def _entry(history: History, number: int) -> Entry:
    one, receipt = history.versions.get(number), history.receipts.get(number)
    tags = one.tags if one else {}
    if number == history.head:
        state = "champion" if one else "champion, deleted"
    else:
        state = "deleted" if one is None else "was champion" if number in history.live else "lost"
    return Entry(
        version=number,
        state=state,
        action=tags.get("rayox.action", "–"),
        time=tags.get("rayox.time", "–"),
        actor=tags.get("rayox.actor", "–"),
        ap=tags.get("AP", "–"),
        overrides=tags.get("rayox.overrides", "–"),
        reason=tags.get("rayox.reason", ""),
        run_id=one.run_id if one else receipt.run_id if receipt else "",
    )


def _refused(store: Store, name: str) -> list[Entry]:
    experiment = store.client.get_experiment_by_name(EXPERIMENT)
    if experiment is None or "'" in name:
        return []
    query = f"tags.`{NAME}` = '{name}' and tags.`rayox.action` = 'refused'"
    runs = store.client.search_runs([experiment.experiment_id], query, max_results=100)
    return [
        Entry(
            version=None,
            state="refused",
            action="promote",
            time=run.data.tags.get("rayox.time", "–"),
            actor=run.data.tags.get("rayox.actor", "–"),
            ap=run.data.tags.get("AP", "–"),
            overrides="none",
            reason=run.data.tags.get("rayox.refused", ""),
            run_id=run.info.run_id,
        )
        for run in runs
    ]
