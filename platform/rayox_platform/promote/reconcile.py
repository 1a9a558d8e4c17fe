"""Checking that the registry says what was signed, and putting right what differs."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rayox_model.core.errors import ModelError
from rayox_platform.config.tree import Config
from rayox_platform.models.bundle import PromotionRecord, folder_digest, read_record
from rayox_platform.models.champion import (
    ALIAS,
    ARTIFACT,
    CACHE,
    EXPERIMENT,
    History,
    check_folder,
    fetch_folder,
    problems,
    read_history,
    verified,
)
from rayox_platform.models.signature import Trust, trusted
from rayox_platform.promote.commit import settle
from rayox_platform.promote.rollback import publish_again
from rayox_platform.promote.signing import SigningKey, signing_key
from rayox_platform.promote.verdict import actor, now
from rayox_platform.track.registry import MODEL_TAG, Version, set_alias
from rayox_platform.track.tracking import STORE_ERRORS, Store, connect, refused


@dataclass(frozen=True)
class Verified:
    """What a look at a name's champions found."""

    head: int
    problems: tuple[str, ...]  # of the registry
    versions: dict[int, str]  # champions, present and past: what is wrong with their files; empty for nothing

    @property
    def good(self) -> bool:
        return not self.problems and self.versions.get(self.head) == ""


def verify(name: str, config: Config, state: Path) -> Verified:
    """Fetch every champion a name has had and check it whole. Raises ModelError when it never had one."""
    uri = config.tracking.uri
    trust = trusted(config.promotion, uri, state)
    store = connect(uri, state, experiment=None)
    try:
        history = read_history(store, name)
        if not history.live:
            raise ModelError(f"{name}: has no champion", "`rayox models list` shows what there is")
        said = {number: _wrong(store, history, number, trust) for number in history.live}
        return Verified(history.head, tuple(problems(history)), said)
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error


def reconcile(name: str, config: Config, state: Path) -> list[str]:
    """Put right what can be: alias, receipts, tags, a deleted champion; what was done, a line each.

    Raises ModelError for what cannot be mended, ConfigError or TrackingError.
    """
    uri = config.tracking.uri
    key = signing_key(config.promotion, uri, state)
    trust = trusted(config.promotion, uri, state)
    store = connect(uri, state, EXPERIMENT)
    done = []
    try:
        history = read_history(store, name)
        if not history.live:
            raise ModelError(f"{name}: has no champion", "`rayox models list` shows what there is")
        for number in history.live:
            if number in history.versions:
                done += _mend_tags(store, history.versions[number], history, trust)
        history = read_history(store, name)
        if history.head not in history.versions:
            done.append(_bring_back(store, history, key, trust))
            return done
        one = history.versions[history.head]
        verified(store, one, trust, state / CACHE)
        if history.alias != history.head:
            set_alias(store, one, ALIAS)
            done.append(f"the alias {ALIAS} points to version {one.version} again, not to {history.alias or 'none'}")
        if one.version not in history.receipts:
            settle(store, one, one.tags[ARTIFACT])
            done.append(f"version {one.version} has its receipt")
        return done
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error


def _wrong(store: Store, history: History, number: int, trust: Trust) -> str:
    one = history.versions.get(number)
    if one is None:
        return "deleted from the registry"
    try:
        with TemporaryDirectory(prefix="rayox-verify-") as draft:
            verified(store, one, trust, Path(draft))  # an empty cache: what lies in the store is looked at
    except ModelError as error:
        return error.message
    return ""


def _mend_tags(store: Store, one: Version, history: History, trust: Trust) -> list[str]:
    """Tags as the signed record has them, if the files are as they were signed."""
    with TemporaryDirectory(prefix="rayox-verify-") as draft:
        try:
            model_id = _model_of(store, one.run_id)
            folder = fetch_folder(store, replace(one, model_id=model_id), Path(draft))
            record = read_record(folder, one.uri)
            right = _right_tags(record, folder, model_id)
            check_folder(folder, replace(one, tags={**one.tags, **right}), trust)
        except ModelError:
            return []  # its files are not what was signed: nothing of it may be believed
    receipt = history.receipts.get(one.version)
    if receipt and any(right.get(key) != value for key, value in receipt.tags.items()):
        return []
    wrong = {key: value for key, value in right.items() if one.tags.get(key) != value}
    for key, value in wrong.items():
        store.client.set_model_version_tag(one.name, str(one.version), key, value)
    return [f"the tag {key} of version {one.version} is {value!r} again" for key, value in wrong.items()]


def _right_tags(record: PromotionRecord, folder: Path, model_id: str) -> dict[str, str]:
    return record.version_tags() | {ARTIFACT: folder_digest(folder), MODEL_TAG: model_id}


def _model_of(store: Store, run_id: str) -> str:
    found = store.client.search_logged_models(
        [store.experiment_id], filter_string=f"source_run_id = '{run_id}'", max_results=1
    )
    if not found:
        raise ModelError(f"the promotion's run {run_id} has no model any more")
    return str(found[0].model_id)


def _bring_back(store: Store, history: History, key: SigningKey, trust: Trust) -> str:
    """A deleted champion's bytes are still with its promotion's run: they become the next version."""
    receipt = history.receipts[history.head]
    shown = f"{history.name}: version {history.head}, the champion, was deleted"
    with TemporaryDirectory(prefix="rayox-verify-") as draft:
        model_id = _model_of(store, receipt.run_id)
        ghost = Version(history.name, history.head, (), receipt.run_id, model_id, 0.0, {})
        folder = fetch_folder(store, ghost, Path(draft))
        if folder_digest(folder) != receipt.tags.get(ARTIFACT):
            raise ModelError(
                f"{shown}, and its files are not those that were promoted", f"rayox rollback {history.name}"
            )
        record = read_record(folder, ghost.uri)
        check_folder(folder, replace(ghost, tags=_right_tags(record, folder, model_id)), trust)
        again = replace(
            record,
            action="restore",
            predecessor=history.head,
            restores=0,
            signer=key.kind,
            actor=actor(),
            time=now(),
            reason=f"version {history.head} was deleted from the registry",
        )
        one = publish_again(store, again, folder, key, trust)
    return f"{shown}: its bytes are version {one.version}, the champion"
