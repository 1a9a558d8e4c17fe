"""A run's detector becomes a version of a registered model; an interrupted attempt is completed."""

import json
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING

from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException

from rayox_model.detect import onnx_boxes
from rayox_platform.track import served_images
from rayox_platform.track.registry import MODEL_TAG, Version, versions
from rayox_platform.track.tracking import Store, Tracking

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

BESIDE = (onnx_boxes, served_images)  # modules that the code imports and that travel with it
CODE = Path(__file__).with_name("pyfunc_detector.py")
_SAVING = threading.Lock()
PACKAGES = ("mlflow", "numpy", "onnxruntime", "opencv-python-headless", "pandas")  # what that file imports


def register(
    tracking: Tracking,
    name: str,
    onnx: Path,
    metrics: Mapping[str, float],
    epoch: int,
    tags: Mapping[str, str],
    operating: Mapping[str, object] | None = None,
) -> Version:
    """Log the ONNX file as a model of the run, with its metrics after an epoch, and make it a name's next version.

    operating are its thresholds, see `rayox_platform.evaluate.operating`.
    Called again for the same run (after a crash in between) it gives the version that is there.
    """
    found = versions(tracking.store, f"run_id = '{tracking.run_id}'")
    if found:
        return found[0]
    client = tracking.client
    logged = _logged_before(tracking) or client.create_logged_model(
        tracking.store.experiment_id, name=name, source_run_id=tracking.run_id, model_type="detector", tags=dict(tags)
    )
    with TemporaryDirectory(prefix="rayox-model-") as folder:
        save_pyfunc(
            Path(folder) / "model", onnx, model_id=logged.model_id, run_id=tracking.run_id, operating=operating or None
        )
        client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    client.log_outputs(tracking.run_id, [LoggedModelOutput(logged.model_id, epoch)])
    stamp = int(logged.creation_timestamp)
    points = [Metric(key, value, stamp, epoch, model_id=logged.model_id) for key, value in metrics.items()]
    client.log_batch(tracking.run_id, metrics=points)
    make_name(tracking.store, name)
    client.create_model_version(
        name,
        source=version_source(tracking.store, logged),
        run_id=tracking.run_id,
        model_id=logged.model_id,
        tags={**tags, MODEL_TAG: logged.model_id},
        await_creation_for=0,  # it is there at once; to wait would be said as "up to 300 seconds"
    )
    return versions(tracking.store, f"run_id = '{tracking.run_id}'")[0]


def signature() -> "ModelSignature":
    """What a served detector takes and gives."""
    from mlflow.models import ModelSignature as Signature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array

    return Signature(
        inputs=Schema([ColSpec(AnyType(), "image")]),
        outputs=Schema(
            [
                ColSpec(Array(Array(DataType.double)), "boxes"),
                ColSpec(Array(DataType.double), "scores"),
                ColSpec(Array(DataType.string), "labels"),
                ColSpec(DataType.string, "error", required=False),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("score_threshold", DataType.double, -1.0),  # the model's own of each class
                ParamSpec("nms_threshold", DataType.double, 0.65),
            ]
        ),
    )


def save_pyfunc(
    folder: Path,
    onnx: Path,
    model_id: str | None = None,
    run_id: str | None = None,
    operating: Mapping[str, object] | None = None,
) -> None:
    """Write an MLflow model: the ONNX file, the code that runs it, and the packages that needs; no pickle.

    operating are its thresholds, see `rayox_platform.evaluate.operating`. MLflow traces nothing in this process any
    more: an older one (3.9) turns tracing on after it has saved, and makes `mlflow.db` in the working folder for that.
    """
    import mlflow.pyfunc
    import mlflow.tracing
    from mlflow.models import Model

    from rayox_model.detect.onnx_detector import load_onnx_detector  # imports torch, which `runs sync` can wait for

    mlflow.tracing.disable()
    detector = load_onnx_detector(onnx, num_threads=1)
    facts = {
        "classes": detector.classes,
        "image_size": detector.image_size,
        "layout": detector.layout,
        "operating": operating,
    }
    with TemporaryDirectory(prefix="rayox-model-") as draft, _importable(BESIDE), warnings.catch_warnings():
        # It would be stored as text: 25 MB. MLflow colours what it says, so the text does not begin with it.
        warnings.filterwarnings("ignore", ".*An input example was not provided")
        beside = Path(draft) / "detector.json"
        beside.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(CODE),
            code_paths=[module.__file__ for module in BESIDE],
            artifacts={"onnx": str(onnx), "detector": str(beside)},
            signature=signature(),
            pip_requirements=[f"{package}=={version(package)}" for package in PACKAGES],
            mlflow_model=Model(model_id=model_id, run_id=run_id),
        )


@contextmanager
def _importable(modules: Sequence[ModuleType]) -> Iterator[None]:
    """MLflow runs the code that it saves, once, and does not look into its code_paths meanwhile; a thread at a time."""
    named = {module.__name__.rpartition(".")[2]: module for module in modules}
    with _SAVING:
        sys.modules.update(named)
        try:
            yield
        finally:
            for name in named:
                del sys.modules[name]


def version_source(store: Store, logged: LoggedModel) -> str:
    """A server takes a model's id and looks it up itself; without one MLflow would look in its global store."""
    return str(logged.model_uri if store.uri.startswith("http") else logged.artifact_location)


def _logged_before(tracking: Tracking) -> LoggedModel | None:
    """The model that an earlier attempt has begun to log: another one would be a ghost beside it."""
    query = f"source_run_id = '{tracking.run_id}'"
    found = tracking.client.search_logged_models([tracking.store.experiment_id], filter_string=query, max_results=1)
    return found[0] if found else None


def make_name(store: Store, name: str) -> None:
    """Register a name, which may be there."""
    try:
        store.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
