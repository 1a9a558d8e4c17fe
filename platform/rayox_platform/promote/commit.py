"""A promotion's writes, in the order that makes it safe: bytes and evidence first, one committing call, the cache last.

A crash before `create_model_version` leaves a run of the experiment `promotions` that nothing refers to; one after it
leaves a champion whose alias and receipt `settle` puts right.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException

from rayox_model.core.errors import GateError
from rayox_platform.models.bundle import (
    ONNX,
    PAGE,
    RECORD,
    VERDICT,
    PromotionRecord,
    file_digest,
    folder_digest,
)
from rayox_platform.models.champion import ALIAS, ARTIFACT, NAME, PREDECESSOR, RECEIPT, History, read_history
from rayox_platform.models.signature import Trust
from rayox_platform.promote.signing import SigningKey, sign_folder
from rayox_platform.track.registration import make_name, save_pyfunc, version_source
from rayox_platform.track.registry import MODEL_TAG, SOURCE_RUN, Version, set_alias, versions
from rayox_platform.track.tracking import STORE_ERRORS, Store

COLLISIONS = 20  # other versions that may take the next number at the same moment


@dataclass(frozen=True)
class Files:
    """What goes into the signed folder beside what is made for it."""

    onnx: Path
    verdict: str
    page: str
    metrics: Mapping[str, float]
    operating: Mapping[str, object] | None = None  # thresholds


def publish(store: Store, record: PromotionRecord, files: Files, key: SigningKey, trust: Trust) -> Version:
    """Make the champion that a record describes; its ids are filled in here. store is that of `promotions`.

    Raises GateError when another promotion was faster, ConfigError for the key, or one of STORE_ERRORS.
    """
    client = store.client
    run = client.create_run(
        store.experiment_id,
        run_name=f"{record.action} {record.name}",
        tags={
            NAME: record.name,
            "rayox.action": record.action,
            PREDECESSOR: str(record.predecessor),
            SOURCE_RUN: record.source_run_id,
        },
    )
    run_id = str(run.info.run_id)
    try:
        logged = client.create_logged_model(
            store.experiment_id, name=record.name, source_run_id=run_id, model_type="detector"
        )
        with TemporaryDirectory(prefix="rayox-promote-") as draft:
            folder = Path(draft) / "model"
            whole = replace(record, run_id=run_id, model_id=logged.model_id)
            _build(folder, whole, files)
            sign_folder(folder, key, trust)
            digest = folder_digest(folder)
            _keep(store, run_id, logged, folder, files)
        client.set_tag(run_id, ARTIFACT, digest)
        one = _commit(store, whole, logged, digest)
    except BaseException:
        with suppress(*STORE_ERRORS):
            client.set_terminated(run_id, "FAILED")
        raise
    settle(store, one, digest)
    return next(found for found in versions(store, f"name = '{record.name}'") if found.version == one.version)


def keep_refusal(store: Store, name: str, verdict: str, page: str, tags: Mapping[str, str]) -> None:
    """A refused candidate's evidence, in a run that nothing refers to. store is that of `promotions`."""
    run = store.client.create_run(
        store.experiment_id, run_name=f"refused {name}", tags={NAME: name, "rayox.action": "refused", **tags}
    )
    store.client.log_text(run.info.run_id, verdict, Path(VERDICT).name)
    store.client.log_text(run.info.run_id, page, Path(PAGE).name)
    store.client.set_terminated(run.info.run_id, "FAILED")


def settle(store: Store, one: Version, digest: str) -> None:
    """What follows a commit: the alias, then the receipt on the promotion's run. Done again it changes nothing."""
    set_alias(store, one, ALIAS)
    store.client.set_tag(one.run_id, PREDECESSOR, one.tags[PREDECESSOR])
    store.client.set_tag(one.run_id, ARTIFACT, digest)
    store.client.set_tag(one.run_id, RECEIPT, str(one.version))
    store.client.set_terminated(one.run_id, "FINISHED")


def _build(folder: Path, record: PromotionRecord, files: Files) -> None:
    save_pyfunc(folder, files.onnx, record.model_id, record.run_id, files.operating)
    (folder / RECORD).parent.mkdir()
    (folder / VERDICT).write_text(files.verdict, encoding="utf-8")
    (folder / PAGE).write_text(files.page, encoding="utf-8")
    assert file_digest(folder / ONNX) == record.onnx  # the bytes that were measured
    assert file_digest(folder / VERDICT) == record.report
    (folder / RECORD).write_text(record.as_json(), encoding="utf-8")


def _keep(store: Store, run_id: str, logged: LoggedModel, folder: Path, files: Files) -> None:
    """Bytes and evidence reach the store before anything refers to them."""
    client = store.client
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    stamp = int(logged.creation_timestamp)
    data = json.loads(files.verdict).get("data", {})
    measured_on = {
        "dataset_name": Path(data.get("annotations", "unknown")).stem,
        "dataset_digest": data.get("fingerprint", "unknown")[:36],  # MLflow keeps no more
    }
    points = [
        Metric(name, value, stamp, 0, model_id=logged.model_id, **measured_on) for name, value in files.metrics.items()
    ]
    client.log_batch(run_id, metrics=points)
    client.log_artifact(run_id, str(folder / VERDICT))
    client.log_artifact(run_id, str(folder / PAGE))


def _commit(store: Store, record: PromotionRecord, logged: LoggedModel, digest: str) -> Version:
    """The one call that counts, and whether it has counted."""
    make_name(store, record.name)
    tags = record.version_tags() | {ARTIFACT: digest, MODEL_TAG: logged.model_id}
    for left in reversed(range(COLLISIONS)):
        before = read_history(store, record.name)
        if before.head != record.predecessor:
            raise lost(before, record.predecessor)
        try:
            store.client.create_model_version(
                record.name,
                source=version_source(store, logged),
                run_id=record.run_id,
                model_id=logged.model_id,
                tags=tags,
                await_creation_for=0,  # it is there at once; to wait would be said as "up to 300 seconds"
            )
            break
        except MlflowException as error:
            if not left or not _is_collision(error):
                raise
    after = read_history(store, record.name)
    one = next(found for found in after.versions.values() if found.run_id == record.run_id)
    if one.version not in after.live:
        raise lost(after, record.predecessor)
    return one


def _is_collision(error: MlflowException) -> bool:
    """MLflow tries three numbers and gives up, before anything is written."""
    return "Model Version creation error" in str(error) or "Giving up" in str(error)


def lost(history: History, predecessor: int) -> GateError:
    """What to tell the loser of a race."""
    number = next((number for number in history.live if number > predecessor), history.head)
    winner = history.versions.get(number)
    by = f" by {winner.tags.get('rayox.actor', 'somebody')}" if winner else ""
    was = f"version {predecessor}" if predecessor else "no champion"
    return GateError(
        f"{history.name}: version {number} was made champion{by} in the meantime; this gate has measured against {was}",
        "run the same command again: it will measure against the new champion",
    )
