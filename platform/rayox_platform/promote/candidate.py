"""The candidate of a promotion: its bytes in a folder of the gate's own, and what its training run says of it."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rayox_model.checkpoint.snapshot import averaged_weights, verify
from rayox_model.checkpoint.weights import read_pth, transfer
from rayox_model.core.errors import ModelError
from rayox_model.detect.onnx_export import export_onnx
from rayox_model.nets.spec import network_of
from rayox_model.nets.yolox import VARIANTS, YOLOX
from rayox_platform.models.bundle import file_digest
from rayox_platform.models.champion import ALIAS, CACHE, champion, check_folder
from rayox_platform.models.open_model import REGISTERED, local_model
from rayox_platform.models.signature import Trust
from rayox_platform.runs.outbox import read_target
from rayox_platform.track.registry import ONNX, Version, fetch_onnx, find_registered
from rayox_platform.track.tracking import Store


@dataclass(frozen=True)
class Registry:
    """Where registered models are: MLflow's store, the keys that count there, and this machine's state folder."""

    store: Store
    trust: Trust
    state: Path

    def champion(self, name: str) -> tuple[Version, Path]:
        """The champion's version and its verified folder. Raises ModelError or one of STORE_ERRORS."""
        return champion(self.store, name, self.trust, self.state / CACHE)


@dataclass(frozen=True)
class Candidate:
    """What is to be promoted."""

    model: str  # as it was asked for
    onnx: Path
    sha256: str
    run_id: str  # MLflow's of its training; empty when unknown
    params: Mapping[str, str]  # of that run
    tags: Mapping[str, str]

    def setting(self, key: str) -> str | None:
        """A setting of its training; None for one that is unset or unknown."""
        value = self.params.get(key)
        return None if value in (None, "None") else value


def open_candidate(model: str, registry: Registry, folder: Path) -> Candidate:
    """Fetch or export any MODEL into the folder as ONNX and hash it. Raises ModelError or one of STORE_ERRORS."""
    onnx, store = folder / "candidate.onnx", registry.store
    if model.startswith("models:/") and model.endswith(f"@{ALIAS}"):
        one, verified = registry.champion(model.removeprefix("models:/").rpartition("@")[0])
        shutil.copyfile(verified / ONNX, onnx)
        run_id = check_folder(verified, one, registry.trust).source_run_id
    elif model.startswith(REGISTERED):
        one = find_registered(store, model)
        fetch_onnx(store, store.client.get_logged_model(one.model_id).artifact_location, onnx, model)
        run_id = one.run_id
    else:
        path = Path(local_model(model, store.uri, registry.state)).expanduser()
        _as_onnx(path, model, onnx)
        run_id = _run_of(path)
    run = store.client.get_run(run_id) if run_id else None
    return Candidate(
        model,
        onnx,
        file_digest(onnx),
        run_id,
        dict(run.data.params) if run else {},
        dict(run.data.tags) if run else {},
    )


def _as_onnx(path: Path, model: str, onnx: Path) -> None:
    if not path.exists():
        raise ModelError(f"{model}: no such model", "give a checkpoint folder, a .pth, an .onnx or a registered model")
    if path.is_dir():
        checkpoint = verify(path)
        facts = checkpoint.facts
        network = network_of(facts.model, len(facts.classes))
        network.load_state_dict(averaged_weights(checkpoint))
        export_onnx(network, facts.classes, facts.image_size, onnx)
    elif path.suffix.lower() == ".onnx":
        shutil.copyfile(path, onnx)
    else:
        weights = read_pth(path)
        if weights.classes is None:
            raise ModelError(f"{model}: does not say what its classes are called", "promote a checkpoint or an .onnx")
        network = YOLOX(weights.size, weights.num_classes)
        transfer(weights, network, weights.classes)
        export_onnx(network, weights.classes, VARIANTS[weights.size].image_size, onnx)


def _run_of(path: Path) -> str:
    """The MLflow run of a checkpoint or of the ONNX file that lies in a run's folder."""
    for folder in (path.parent, path.parent.parent):
        target = read_target(folder)
        if target is not None:
            return target.run_id
    return ""
