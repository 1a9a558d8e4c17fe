"""What two registered models differ in: settings, data, code, metrics."""

from pathlib import Path

from rayox_platform.track.registry import find_registered, training_run
from rayox_platform.track.tracking import STORE_ERRORS, Store, connect, refused

TAGS = ("data.train.fingerprint", "data.val.fingerprint", "classes", "mlflow.source.git.commit")


def diff(first: str, second: str, tracking_uri: str | None, state: Path) -> list[tuple[str, str, str]]:
    """(what, of the first, of the second) of all that is not equal. Raises ModelError or TrackingError."""
    store = connect(tracking_uri, state, experiment=None)
    try:
        ours, theirs = _facts(store, first), _facts(store, second)
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error
    keys = [*ours, *(key for key in theirs if key not in ours)]
    return [
        (key, ours.get(key, "–"), theirs.get(key, "–")) for key in keys if ours.get(key, "–") != theirs.get(key, "–")
    ]


def _facts(store: Store, model: str) -> dict[str, str]:
    one = find_registered(store, model)
    source = training_run(store, one.run_id)
    facts = {"version": one.uri} | {key: value for key, value in one.tags.items() if not key.startswith("rayox.")}
    facts |= {key: one.tags[key] for key in ("rayox.onnx",) if key in one.tags}
    metrics = {key: f"{value:.4f}" for key, value in source.data.metrics.items() if key[:2] in ("AP", "AR")}
    tags = {key: source.data.tags[key] for key in source.data.tags if key in TAGS or key.startswith("version.")}
    return facts | metrics | tags | dict(source.data.params)
