"""The champion of a name: found by replaying its versions, and used only when it is what was signed.

The alias is a cache. A promotion commits its version first, then sets the alias, then notes on its own MLflow run that
it is complete (the receipt). Until then the alias may lag behind; if it is wrong afterwards, somebody has moved it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.exceptions import MlflowException

from rayox_model.core.errors import ModelError
from rayox_platform.config.tree import Promotion
from rayox_platform.models.bundle import (
    ONNX,
    RECORD,
    VERDICT,
    PromotionRecord,
    file_digest,
    folder_digest,
    read_record,
)
from rayox_platform.models.chain import Link, head, live_versions
from rayox_platform.models.signature import Trust, trusted, verify_signature
from rayox_platform.track.registry import MODEL_TAG, Version, versions
from rayox_platform.track.tracking import STORE_ERRORS, Store, connect, refused

EXPERIMENT = "promotions"
ALIAS = "champion"
CACHE = "cache/champions"  # in the state folder
PREDECESSOR = "rayox.predecessor"
ARTIFACT = "rayox.artifact"
NAME, RECEIPT = "rayox.name", "rayox.version"  # tags of a promotion's MLflow run


@dataclass(frozen=True)
class Receipt:
    """What a complete promotion has noted on its run."""

    version: int
    run_id: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class History:
    """Everything that is known of the promotions to a name."""

    name: str
    versions: Mapping[int, Version]  # all that are there, promoted or not
    receipts: Mapping[int, Receipt]
    live: tuple[int, ...]  # ever champion, in this order
    alias: int  # the version that it points to; 0 for none

    @property
    def head(self) -> int:
        """The champion's number; 0 for none."""
        return head(self.live)


def read_history(store: Store, name: str) -> History:
    """Versions and receipts of a name that need not exist. Raises one of STORE_ERRORS."""
    found = {one.version: one for one in versions(store, f"name = '{name}'")} if "'" not in name else {}
    receipts = _receipts(store, name)
    alias = next((number for number, one in found.items() if ALIAS in one.aliases), 0)
    return History(name, found, receipts, live_versions(_links(found, receipts)), alias)


def champion(store: Store, name: str, trust: Trust, cache: Path) -> tuple[Version, Path]:
    """The champion's version and its verified folder, kept in a cache by its digest.

    Raises ModelError naming what is wrong and the last good version, or one of STORE_ERRORS.
    """
    history = read_history(store, name)
    if not history.versions and not history.live:
        raise ModelError(f"{name}: no registered model of that name", "`rayox models list` shows what there is")
    if not history.live:
        raise ModelError(f"{name}: has no champion", f"make one: rayox promote models:/{name}/VERSION --to {name}")
    wrong = problems(history)
    if wrong:
        raise ModelError(f"models:/{name}@{ALIAS}: {'; '.join(wrong)}", last_good(store, history, trust, cache))
    one = history.versions[history.head]
    try:
        return one, verified(store, one, trust, cache)
    except ModelError as error:
        raise ModelError(error.message, last_good(store, history, trust, cache)) from error


def fetch_champion(name: str, tracking_uri: str | None, state: Path, promotion: Promotion) -> Path:
    """The ONNX file of a name's verified champion. Raises ModelError, ConfigError or TrackingError."""
    trust = trusted(promotion, tracking_uri, state)
    store = connect(tracking_uri, state, experiment=None)
    try:
        return champion(store, name, trust, state / CACHE)[1] / ONNX
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error


def champion_version(name: str, tracking_uri: str | None, state: Path, promotion: Promotion) -> Version:
    """The version that is a name's verified champion. Raises ModelError, ConfigError or TrackingError."""
    trust = trusted(promotion, tracking_uri, state)
    store = connect(tracking_uri, state, experiment=None)
    try:
        return champion(store, name, trust, state / CACHE)[0]
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error


def problems(history: History) -> list[str]:
    """What the registry says of the champion that cannot be true, without looking at any file."""
    found = []
    one, receipt = history.versions.get(history.head), history.receipts.get(history.head)
    if one is None and history.head:
        found.append(f"version {history.head}, the champion, was deleted from the registry")
    if one is not None and receipt is not None:
        found += [
            f"the tag {key} of version {one.version} is {one.tags.get(key)!r}, but was {value!r} at its promotion"
            for key, value in receipt.tags.items()
            if one.tags.get(key) != value
        ]
    if history.head in history.receipts and history.alias != history.head:
        points = f"points to version {history.alias}" if history.alias else "is gone"
        found.append(f"the alias {ALIAS} {points}, but the champion is version {history.head}")
    elif history.alias and history.alias not in history.live:
        found.append(f"the alias {ALIAS} points to version {history.alias}, which was never champion")
    return found


def last_good(store: Store, history: History, trust: Trust, cache: Path) -> str:
    """A hint that names the newest champion that still verifies."""
    for number in reversed(history.live):
        one = history.versions.get(number)
        if one is not None and not _contradicted(history, number):
            try:
                verified(store, one, trust, cache)
            except ModelError:
                continue
            mend = f"`rayox models reconcile {history.name}` or `rayox rollback {history.name}` puts it right"
            return f"the last good one is models:/{history.name}/{number}; {mend}"
    return f"no earlier champion of {history.name} verifies either; promote one anew"


def verified(store: Store, one: Version, trust: Trust, cache: Path) -> Path:
    """The folder of a promoted version, fetched and checked: digest, signature, record, report and tags.

    Raises ModelError, or one of STORE_ERRORS.
    """
    digest = one.tags.get(ARTIFACT, "")
    kept = cache / digest if len(digest) == 64 and digest.isalnum() else None
    if kept is not None and kept.is_dir() and folder_digest(kept) == digest:
        check_folder(kept, one, trust)
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".fetch-", dir=cache) as draft:
        folder = fetch_folder(store, one, Path(draft))
        found = folder_digest(folder)
        if found != digest:
            raise ModelError(
                f"{one.uri}: its files are not those that were promoted (digest {found[:16]}, promoted {digest[:16]})"
            )
        check_folder(folder, one, trust)
        assert kept is not None  # it is the digest of what was fetched
        if not kept.is_dir():
            folder.rename(kept)
        return kept


def check_folder(folder: Path, one: Version, trust: Trust) -> PromotionRecord:
    """The record of a fetched version that is what it says it is. Raises ModelError."""
    verify_signature(folder, trust, one.uri)
    record = read_record(folder, one.uri)
    if record.signer == "demo" and not trust.demo:
        raise ModelError(
            f"{one.uri}: signed with a demo key, which counts only in the store that a machine keeps for itself",
            "promote it again with promotion.key",
        )
    said = {"name": record.name, "onnx": record.onnx, "report": record.report, "run_id": record.run_id}
    found = {
        "name": one.name,
        "onnx": _digest_of(folder / ONNX),
        "report": _digest_of(folder / VERDICT),
        "run_id": one.run_id,
    }
    wrong = [
        f"{key} is {found[key]!r}, but {RECORD} says {value!r}" for key, value in said.items() if value != found[key]
    ]
    wrong += [
        f"the tag {key} is {one.tags.get(key)!r}, but {RECORD} says {value!r}"
        for key, value in record.version_tags().items()
        if one.tags.get(key) != value
    ]
    if wrong:
        raise ModelError(f"{one.uri}: {'; '.join(wrong)}")
    return record


def fetch_folder(store: Store, one: Version, draft: Path) -> Path:
    """A version's folder as it lies in the store now. Raises ModelError when it cannot be fetched."""
    from mlflow.artifacts import download_artifacts

    try:
        location = store.client.get_logged_model(one.model_id).artifact_location
        target = draft / "model"
        target.mkdir()
        return Path(download_artifacts(artifact_uri=location, dst_path=str(target), tracking_uri=store.uri))
    except (MlflowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{one.uri}: its files ({MODEL_TAG} {one.model_id}) cannot be fetched: {text}") from error


def _digest_of(path: Path) -> str:
    return file_digest(path) if path.is_file() else "missing"


def _contradicted(history: History, number: int) -> bool:
    one, receipt = history.versions[number], history.receipts.get(number)
    return receipt is not None and any(one.tags.get(key) != value for key, value in receipt.tags.items())


def _links(found: Mapping[int, Version], receipts: Mapping[int, Receipt]) -> list[Link]:
    """A receipt outlives its version, and the version's tags."""
    said = {number: one.tags[PREDECESSOR] for number, one in found.items() if PREDECESSOR in one.tags}
    said |= {number: receipt.tags[PREDECESSOR] for number, receipt in receipts.items() if PREDECESSOR in receipt.tags}
    return [Link(number, int(text)) for number, text in said.items() if text.isdecimal()]


def _receipts(store: Store, name: str) -> dict[int, Receipt]:
    experiment = store.client.get_experiment_by_name(EXPERIMENT)
    found: dict[int, Receipt] = {}
    token = None
    while experiment is not None and "'" not in name:
        query = f"tags.`{NAME}` = '{name}'"
        page = store.client.search_runs([experiment.experiment_id], query, max_results=1000, page_token=token)
        for run in page:
            number = run.data.tags.get(RECEIPT, "")
            if number.isdecimal():
                tags = {key: run.data.tags[key] for key in (PREDECESSOR, ARTIFACT) if key in run.data.tags}
                found[int(number)] = Receipt(int(number), run.info.run_id, tags)
        token = page.token
        if not token:
            break
    return found
