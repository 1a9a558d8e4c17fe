"""Putting an earlier champion back: forward, as a new version of the same bytes, gated by their verification alone."""

from dataclasses import dataclass, replace
from pathlib import Path

from rayox_model.core.errors import ModelError
from rayox_platform.config.tree import Config
from rayox_platform.evaluate.operating import read_operating
from rayox_platform.models.bundle import ONNX, PAGE, VERDICT, PromotionRecord
from rayox_platform.models.champion import CACHE, EXPERIMENT, History, check_folder, read_history, verified
from rayox_platform.models.signature import Trust, trusted
from rayox_platform.promote.commit import Files, publish
from rayox_platform.promote.signing import SigningKey, signing_key
from rayox_platform.promote.verdict import actor, now
from rayox_platform.track.registry import Version
from rayox_platform.track.tracking import STORE_ERRORS, Store, connect, refused


@dataclass(frozen=True)
class RolledBack:
    """A champion put back."""

    version: Version  # the new one
    restores: int
    predecessor: int


def rollback(name: str, wanted: int | None, reason: str, config: Config, state: Path) -> RolledBack:
    """Make the champion before the present one, or a wanted earlier one, champion again.

    Raises ModelError when there is none that verifies, GateError when another promotion was faster, ConfigError or
    TrackingError.
    """
    uri = config.tracking.uri
    key = signing_key(config.promotion, uri, state)
    trust = trusted(config.promotion, uri, state)
    store = connect(uri, state, EXPERIMENT)
    try:
        history = read_history(store, name)
        number = _target(history, wanted)
        one = history.versions[number]
        folder = verified(store, one, trust, state / CACHE)
        record = replace(
            check_folder(folder, one, trust),
            action="rollback",
            predecessor=history.head,
            restores=number,
            signer=key.kind,
            actor=actor(),
            time=now(),
            reason=reason,
        )
        made = publish_again(store, record, folder, key, trust)
        return RolledBack(made, number, history.head)
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error


def publish_again(store: Store, record: PromotionRecord, folder: Path, key: SigningKey, trust: Trust) -> Version:
    """The bytes of a verified folder under a new record."""
    verdict, page = (folder / VERDICT).read_text(encoding="utf-8"), (folder / PAGE).read_text(encoding="utf-8")
    metrics = {name: float(record.tags[name]) for name in ("AP", "AP50") if name in record.tags}
    operating = read_operating(folder / ONNX)
    files = Files(folder / ONNX, verdict, page, metrics, operating.as_json() if operating else None)
    return publish(store, record, files, key, trust)


def _target(history: History, wanted: int | None) -> int:
    """The version whose bytes come back."""
    there = [number for number in history.live if number in history.versions]
    earlier = [number for number in there if number != history.head]
    if wanted is not None:
        if wanted not in earlier:
            raise ModelError(
                f"{history.name}: version {wanted} is not an earlier champion",
                f"earlier champions are: {', '.join(map(str, earlier)) or 'none'}",
            )
        return wanted
    now_serving = _origin(history, history.head)
    before = [number for number in earlier if number < now_serving and _origin(history, number) == number]
    if not before:
        raise ModelError(
            f"{history.name}: no champion came before version {history.head}"
            if history.head
            else f"{history.name}: has no champion",
            f"`rayox models history {history.name}` shows what there was; --version N puts one of them back",
        )
    return before[-1]


def _origin(history: History, number: int) -> int:
    """The version whose bytes these are: for a rollback, the one that it put back."""
    one = history.versions.get(number)
    restores = int(one.tags.get("rayox.restores", "0")) if one else 0
    return _origin(history, restores) if restores else number
