"""MODEL, the same for every verb: a folder, a file or a registered model, as detector or as weights."""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import torch

from rayox_model.checkpoint.snapshot import Facts, averaged_weights, read_facts, verify
from rayox_model.checkpoint.weights import NamelessClassesError, PretrainedWeights, Transfer, read_pth, transfer
from rayox_model.core.errors import ModelError
from rayox_model.detect.detector import Detector, TorchDetector, load_pth_detector
from rayox_model.detect.onnx_detector import load_onnx_detector
from rayox_model.nets.spec import network_of
from rayox_model.nets.yolox import YOLOX
from rayox_platform.config.tree import Promotion
from rayox_platform.storage.bucket import Bucket
from rayox_platform.storage.folders import is_remote, missing_bucket, open_folder, split_address
from rayox_platform.storage.object_store import explained

FORMS = (
    "a checkpoint folder here or in a bucket (s3://, gs://), an official .pth, an .onnx, models:/NAME@ALIAS, "
    "models:/NAME/VERSION or runs:/RUN_ID"
)
REGISTERED = ("models:/", "runs:/")
CHAMPION = "champion"  # the alias that a promotion sets
CHECKPOINT_NAME = re.compile(r"step-\d+-\d+")  # in a bucket


def local_model(model: str, tracking_uri: str | None, state: Path, promotion: Promotion | None = None) -> str:
    """A MODEL as a path: one of a registry or a run is fetched into the state folder's cache first.

    models:/NAME@champion is the verified champion; promotion says whose signature counts. A checkpoint in a bucket
    comes into this machine's cache. Raises ModelError when there is no such model or it is not what was promoted,
    TrackingError when the registry does not answer.
    """
    if is_remote(model):
        return str(_fetched_checkpoint(model))
    if not model.startswith(REGISTERED):
        return model
    if model.endswith(f"@{CHAMPION}"):
        from rayox_platform.models.champion import fetch_champion

        name = model.removeprefix("models:/").rpartition("@")[0]
        return str(fetch_champion(name, tracking_uri, state, promotion or Promotion()))
    from rayox_platform.track.registry import fetch_registered

    return str(fetch_registered(model, tracking_uri, state))


def bare_name(model: str) -> str | None:
    """What to tell whoever names a registered model without a version or alias."""
    name = model.removeprefix("models:/")
    if not model.startswith("models:/") or not name or "@" in name or "/" in name:
        return None
    return f"{model} takes the latest version, not the champion, which is {model}@{CHAMPION}"


def _fetched_checkpoint(address: str) -> Path:
    from rayox_platform.runs.bucket_checkpoints import BucketCheckpoints

    folder, name = split_address(address.rstrip("/"))
    checkpoints = open_folder(folder)
    if not (isinstance(checkpoints, Bucket) and CHECKPOINT_NAME.fullmatch(name)):
        raise ModelError(f"{address}: no checkpoint of a run", "give the address of one: s3://…/checkpoints/step-…")
    try:
        absent = missing_bucket(checkpoints)
        if absent is not None:
            raise absent
        return BucketCheckpoints(checkpoints).fetch(name)
    except OSError as error:
        said, hint = explained(error, "look at the address and the credentials")
        raise ModelError(f"{address}: cannot be read ({said})", hint) from error


def open_detector(
    model: str,
    image_size: tuple[int, int] | None,
    names: Callable[[], tuple[str, ...]] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Detector:
    """A detector at image_size, or at the model's own size when that is None.

    `names` is asked for the class names of a file that does not tell them; `tell` hears which of its weights were
    taken, where there was a choice. Raises ModelError.
    """
    path = _existing(model)
    try:
        return _open(path, image_size, None, tell)
    except NamelessClassesError as nameless:
        if names is None:
            raise ModelError(
                nameless.message, "give data.val.annotations=FILE: its categories name them, in the order of their ids"
            ) from None
        return _open(path, image_size, names(), tell)


def _open(
    path: Path,
    image_size: tuple[int, int] | None,
    classes: tuple[str, ...] | None,
    tell: Callable[[str], None] | None,
) -> Detector:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if path.is_dir():
        checkpoint = verify(path)
        facts = checkpoint.facts
        network = network_of(facts.model, len(facts.classes))
        network.load_state_dict(averaged_weights(checkpoint))
        return TorchDetector(network, facts.classes, image_size or facts.image_size, device)
    if path.suffix.lower() == ".onnx":
        return load_onnx_detector(path, image_size, classes)
    return load_pth_detector(path, image_size, classes, device, tell=tell)


def new_model(size: str, classes: tuple[str, ...], init: str | None, seed: int) -> tuple[YOLOX, Transfer | None]:
    """The network that training starts from: random from the seed, or with the weights of another one.

    Raises ModelError when those are of another variant.
    """
    torch.manual_seed(seed)
    network = YOLOX(size, len(classes))
    return network, transfer(read_weights(init), network, classes) if init else None


def read_weights(model: str) -> PretrainedWeights:
    """The weights of a MODEL that can be trained on. Raises ModelError."""
    path = _existing(model)
    if path.suffix.lower() == ".onnx":
        raise ModelError(f"{path}: an .onnx cannot be trained", "give a checkpoint folder or an official .pth")
    if not path.is_dir():
        return read_pth(path)
    checkpoint = verify(path)
    facts, weights = checkpoint.facts, averaged_weights(checkpoint)
    return PretrainedWeights(str(path), facts.model.size, len(facts.classes), facts.classes, weights)


def checkpoint_facts(model: str) -> Facts | None:
    """What a MODEL says of its training; None for one that is not a checkpoint folder. Raises ModelError."""
    path = _existing(model)
    return read_facts(path) if path.is_dir() else None


def _existing(model: str) -> Path:
    path = Path(_fetched_checkpoint(model) if is_remote(model) else model).expanduser()
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            path.open("rb").close()
    except PermissionError as error:
        raise ModelError(f"{model}: cannot be read ({error.strerror})", "change its permissions") from error
    except (OSError, ValueError):  # also a name that the system refuses
        raise ModelError(f"{model}: no such model", f"give {FORMS}") from None
    return path
