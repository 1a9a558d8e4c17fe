"""Registered models: what is in MLflow's registry, found by name, number, alias and run."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.exceptions import MlflowException

from rayox_model.core.errors import ModelError
from rayox_model.core.secrets import without_secrets
from rayox_platform.storage.state import state_folder
from rayox_platform.track.tracking import STORE_ERRORS, Store, connect, refused

ONNX, FACTS = "artifacts/model.onnx", "artifacts/detector.json"  # in a model's folder
MODEL_TAG = "rayox.model_id"  # a SQL registry does not give the id of a version's model back
SOURCE_RUN = "rayox.source_run"  # a tag of a promotion's run: the one that the model was trained in
PROMOTED = {"promoted by": "actor", "promoted at": "time", "reason": "reason", "overruled": "overrides"}
_NUMBERS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as people ask for it."""

    name: str
    version: int
    aliases: tuple[str, ...]
    run_id: str
    model_id: str
    created: float  # seconds since 1970
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


def set_alias(store: Store, chosen: Version, alias: str) -> None:
    """Let an alias of the name point to a version; the last writer wins."""
    store.client.set_registered_model_alias(chosen.name, alias, str(chosen.version))


def versions(store: Store, query: str = "") -> list[Version]:
    """Versions of registered models by MLflow's query, the latest first."""
    found: list[Any] = []
    token = None
    while True:
        page = store.client.search_model_versions(query, max_results=200, page_token=token)
        found += page
        token = page.token
        if not token:
            break
    aliases = {model.name: _by_version(model.aliases) for model in store.client.search_registered_models()}
    read = [_version(one, aliases.get(one.name, {})) for one in found]
    return sorted(read, key=lambda one: (one.name, -one.version))


def versions_of(store: Store, name: str) -> list[Version]:
    """All versions under a name. Raises ModelError when there is none."""
    found = versions(store, f"name = '{name}'") if "'" not in name else []
    if not found:
        names = ", ".join(sorted({one.name for one in versions(store)}))
        hint = f"Registered are {names}." if names else "No model is registered yet; a training registers its best."
        raise ModelError(f"{name}: no registered model of that name", hint)
    return found


def find_version(store: Store, name: str, wanted: str | None) -> Version:
    """A version by number or alias; None is the latest. Raises ModelError."""
    found = versions_of(store, name)
    if wanted is None or wanted == "latest":
        return found[0]
    for one in found:
        if wanted in one.aliases or (_NUMBERS.fullmatch(wanted) and int(wanted) == one.version):
            return one
    there = ", ".join(str(one.version) + "".join(f" @{alias}" for alias in one.aliases) for one in found[:8])
    raise ModelError(f"{name}: has no version or alias {wanted!r}", f"it has {there}")


def all_versions(tracking_uri: str | None) -> list[Version]:
    """Everything in the registry. Raises TrackingError when it does not answer."""
    store = connect(tracking_uri, state_folder(), experiment=None)
    try:
        return versions(store)
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error


def describe(name: str, tracking_uri: str | None) -> tuple[Version, dict[str, str]]:
    """A version (NAME, NAME@ALIAS or NAME/VERSION) and what its run says of it. Raises ModelError, TrackingError."""
    store = connect(tracking_uri, state_folder(), experiment=None)
    try:
        one = _of_name(store, name)
        run = training_run(store, one.run_id)
        location = store.client.get_logged_model(one.model_id).artifact_location
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error
    metrics = {key: value for key, value in run.data.metrics.items() if key[:2] in ("AP", "AR")}
    details = {
        "classes": run.data.tags.get("classes", "–"),
        "size": f"yolox-{run.data.params.get('model.size', '?')} at {run.data.params.get('image_size', '?')}",
        "metrics": "  ".join(f"{key} {metrics[key]:.3f}" for key in ("AP", "AP50", "AP75", "AR_100") if key in metrics),
        "train data": _data(run, "train"),
        "val data": _data(run, "val"),
        "commit": run.data.tags.get("mlflow.source.git.commit", "–"),
        "files": location,
    } | {key: one.tags[f"rayox.{tag}"] for key, tag in PROMOTED.items() if one.tags.get(f"rayox.{tag}")}
    return one, details


def training_run(store: Store, run_id: str) -> Any:
    """A version's run; of a promoted one the run that it was trained in, if that is still there."""
    run = store.client.get_run(run_id)
    source = run.data.tags.get(SOURCE_RUN)
    if source:
        with suppress(MlflowException):  # deleted for good: what the promotion has kept is all there is
            return store.client.get_run(source)
    return run


def _data(run: Any, split: str) -> str:
    source = run.data.params.get(f"data.{split}.annotations", "–")
    digest = run.data.tags.get(f"data.{split}.fingerprint", "")
    return f"{source} (fingerprint {digest[:16]})" if digest else source


def fetch_registered(model: str, tracking_uri: str | None, state: Path) -> Path:
    """The ONNX file of models:/NAME[@ALIAS], models:/NAME/VERSION or runs:/RUN_ID, kept in the cache by model id.

    Raises ModelError when there is none, TrackingError when the registry does not answer.
    """
    store = connect(tracking_uri, state, experiment=None)
    try:
        chosen = find_registered(store, model)
        path = state / "cache" / "models" / chosen.model_id / "model.onnx"
        if not path.is_file():
            source = store.client.get_logged_model(chosen.model_id).artifact_location
            with suppress(ModelError):  # one that was not made by rayox has no thresholds
                _fetch(store, f"{source.rstrip('/')}/{FACTS}", path.with_name("detector.json"), model)
            fetch_onnx(store, source, path, model)
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error
    return path


def find_registered(store: Store, model: str) -> Version:
    """The version that models:/NAME[@ALIAS], models:/NAME/VERSION or runs:/RUN_ID means. Raises ModelError."""
    return _of_run(store, model) if model.startswith("runs:/") else _of_name(store, model)


def _of_name(store: Store, model: str) -> Version:
    name, at, wanted = model.removeprefix("models:/").partition("@")
    if not at:
        name, _, wanted = name.partition("/")
    return find_version(store, name, wanted or None)


def _of_run(store: Store, model: str) -> Version:
    run_id = model.removeprefix("runs:/").partition("/")[0]
    found = versions(store, f"run_id = '{run_id}'") if run_id.isalnum() else []
    if not found:
        raise ModelError(f"{model}: no registered model of such a run", "`rayox models list` shows the runs of models")
    return found[0]


def fetch_onnx(store: Store, source: str, path: Path, shown: str) -> Path:
    """The ONNX file of an MLflow model's folder, whole or not at all. Raises ModelError."""
    return _fetch(store, f"{source.rstrip('/')}/{ONNX}", path, shown)


def _fetch(store: Store, address: str, path: Path, shown: str) -> Path:
    from mlflow.artifacts import download_artifacts

    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".fetch-", dir=path.parent) as draft:
        try:
            fetched = download_artifacts(artifact_uri=address, dst_path=draft, tracking_uri=store.uri)
        except (MlflowException, OSError) as error:
            text = without_secrets(" ".join(str(error).split()))
            raise ModelError(
                f"{shown}: {address} cannot be fetched: {text[:200]}",
                "its run's artifacts may be deleted; `rayox models list` shows the others",
            ) from error
        Path(fetched).replace(path)
    return path


def _by_version(aliases: Mapping[str, Any]) -> dict[int, tuple[str, ...]]:
    grouped: dict[int, tuple[str, ...]] = {}
    for alias, number in sorted(aliases.items()):
        grouped[int(number)] = (*grouped.get(int(number), ()), alias)
    return grouped


def _version(one: Any, aliases: Mapping[int, tuple[str, ...]]) -> Version:
    return Version(
        name=one.name,
        version=int(one.version),
        aliases=aliases.get(int(one.version), ()),
        run_id=one.run_id or "",
        model_id=one.model_id or one.tags.get(MODEL_TAG, ""),
        created=one.creation_timestamp / 1000,
        tags=dict(one.tags),
    )
