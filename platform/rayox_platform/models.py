"""MODEL, the same for every verb: a checkpoint folder, an official .pth or an .onnx, as detector or as weights."""

from pathlib import Path

import torch

from rayox_model.checkpoint import averaged_weights, read_facts
from rayox_model.detect import Detector, TorchDetector, load_pth_detector
from rayox_model.errors import ModelError
from rayox_model.onnx_detect import load_onnx_detector
from rayox_model.weights import PretrainedWeights, Transfer, read_pth, transfer
from rayox_model.yolox import YOLOX
from rayox_platform.config.tree import Config

FORMS = "a checkpoint folder, an official .pth or an .onnx"


def open_detector(model: str, image_size: tuple[int, int] | None) -> Detector:
    """A detector at image_size, or at the model's own size when that is None. Raises ModelError."""
    path = _existing(model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if path.is_dir():
        facts = read_facts(path)
        network = YOLOX(facts.size, len(facts.classes))
        network.load_state_dict(averaged_weights(path))
        return TorchDetector(network, facts.classes, image_size or facts.image_size, device)
    if path.suffix == ".onnx":
        return load_onnx_detector(path, image_size)
    return load_pth_detector(path, image_size, device=device)


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
    if path.suffix == ".onnx":
        raise ModelError(f"{path}: an .onnx cannot be trained", "give a checkpoint folder or an official .pth")
    if not path.is_dir():
        return read_pth(path)
    facts = read_facts(path)
    return PretrainedWeights(str(path), facts.size, len(facts.classes), facts.classes, averaged_weights(path))


def trained_with(model: str) -> Config:
    """The settings a MODEL was trained with; the defaults for one that does not say."""
    path = _existing(model)
    return Config.model_validate(read_facts(path).config) if path.is_dir() else Config()


def _existing(model: str) -> Path:
    path = Path(model).expanduser()
    if not path.exists():
        raise ModelError(f"{model}: no such model", f"give {FORMS}")
    return path
