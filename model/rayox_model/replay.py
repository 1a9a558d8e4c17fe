"""A step whose loss was not finite, kept as one file, and the same loss computed again from it, image by image.

`python -m rayox_model.replay FILE` prints it. The file has the batch, the weights from before the step and the settings
that decide the loss: nothing else is needed, neither the data nor the run.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from rayox_model.assign.assigner_settings import assigner_of
from rayox_model.core.errors import ModelError, RayoxError
from rayox_model.core.modes import open_to_others
from rayox_model.core.structures import AnchorPoints, Batch, Predictions, Targets, split_batch
from rayox_model.loss.loss_weights import LossWeights
from rayox_model.loss.losses import LossTerms
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import predict, sums_of
from rayox_model.train.engine_settings import EngineSettings
from rayox_model.train.loss_scale import LossScale
from rayox_model.train.parts import start_training
from rayox_model.train.schedule import Schedule

WEIGHTS = "model."
CPU = torch.device("cpu")


class KeptStep(NamedTuple):
    """What such a file holds: one worker's share of a step."""

    step: int
    model: YOLOX  # with the weights from before the step
    batch: Batch
    settings: EngineSettings
    images: tuple[str, ...]  # what each image of the batch was made of


def keep_step(path: Path, kept: KeptStep) -> None:
    """Write the file whole or not at all; its folder is made."""
    facts = {"step": kept.step, "epoch": kept.batch.epoch, "size": kept.model.size, "images": kept.images}
    facts |= {"num_classes": kept.model.num_classes, "settings": asdict(kept.settings)}
    weights = {WEIGHTS + name: tensor.detach().cpu() for name, tensor in kept.model.state_dict().items()}
    tensors = weights | {"images": kept.batch.images} | kept.batch.targets._asdict()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(contiguous, draft, {"rayox": json.dumps(facts)})
    open_to_others(draft)
    draft.replace(path)


def kept_step(path: Path) -> KeptStep:
    """Read such a file. Raises ModelError for a file that is not one."""
    try:
        with safe_open(path, "pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["rayox"])
        tensors = safetensors.torch.load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: not a saved step ({error})",
            "give a file from the run's folder non_finite/, which its error names",
        ) from None
    model = YOLOX(facts["size"], facts["num_classes"])
    weights = {name.removeprefix(WEIGHTS): value for name, value in tensors.items() if name.startswith(WEIGHTS)}
    model.load_state_dict(weights)
    targets = Targets(tensors["boxes"], tensors["labels"], tensors["image_index"])
    batch = Batch(tensors["images"], targets, facts["epoch"])
    return KeptStep(facts["step"], model, batch, _settings(facts["settings"]), tuple(facts["images"]))


def _settings(values: dict[str, Any]) -> EngineSettings:
    parts = {"schedule": Schedule(**values["schedule"]), "assigner": assigner_of(values["assigner"])}
    pairs = {name: tuple(values[name]) for name in ("image_size", "multi_scale")}
    scale = LossScale(**values.get("loss_scale", {}))  # which files of before do not have
    return EngineSettings(**values | parts | pairs | {"loss": LossWeights(**values["loss"]), "loss_scale": scale})


def replay(kept: KeptStep) -> list[LossTerms]:
    """The summed loss terms of each image, as the step computed them: batch norm sees all of its part of the batch."""
    start_training(kept.model, kept.settings.freeze, kept.settings.batch_norm)
    terms = []
    with torch.no_grad():
        for part in split_batch(kept.batch, kept.settings.accumulate):
            predicted = predict(kept.model, part, kept.settings, kept.step, CPU)
            for image in range(len(part.images)):
                terms.append(sums_of(*_of_image(image, *predicted), kept.settings, part.epoch))
    return terms


def _of_image(
    image: int, predictions: Predictions, anchors: AnchorPoints, targets: Targets
) -> tuple[Predictions, AnchorPoints, Targets]:
    own = targets.image_index == image
    boxes, labels = targets.boxes[own], targets.labels[own]
    one = Predictions(*(output[image : image + 1] for output in predictions))
    return one, anchors, Targets(boxes, labels, torch.zeros_like(labels))


def main(arguments: list[str]) -> int:
    """Print the terms of every image, those that are not finite marked."""
    if len(arguments) != 1:
        print("usage: python -m rayox_model.replay FILE", file=sys.stderr)
        return 2
    try:
        kept = kept_step(Path(arguments[0]))
    except RayoxError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    print(f"step {kept.step}, epoch {kept.batch.epoch}, {kept.settings.precision}: loss terms, summed over each image")
    for made_of, terms in zip(kept.images, replay(kept), strict=True):
        said = "  ".join(f"{name} {float(value):g}" for name, value in terms._asdict().items())
        print(f"{'  ' if torch.isfinite(terms.total) else '! '}{said}  {made_of}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
