"""The gate at work: candidate and champion measured on the same images, and what it says of that."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from rayox_model.core.errors import ConfigError, DataError, ModelError
from rayox_model.detect.onnx_detector import load_onnx_detector
from rayox_platform.config.tree import Config
from rayox_platform.data.fingerprint import fingerprint
from rayox_platform.data.images import CocoImages
from rayox_platform.data.resolve import resolve_split
from rayox_platform.evaluate.compare import Difference, paired_bootstrap
from rayox_platform.evaluate.evaluation import EvaluationSettings, detect_images
from rayox_platform.evaluate.operating import Operating, choose_thresholds
from rayox_platform.models.bundle import ONNX
from rayox_platform.models.champion import read_history
from rayox_platform.promote.candidate import Candidate, Registry
from rayox_platform.promote.checks import Evidence, run_checks
from rayox_platform.promote.gate_settings import Change, Gate
from rayox_platform.promote.leaked_images import find_leaks
from rayox_platform.promote.measurement import Measured, device_label, measure
from rayox_platform.promote.page import gate_page
from rayox_platform.promote.verdict import Verdict, make_verdict
from rayox_platform.track.registration import signature

Progress = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True)
class Asked:
    """What a promotion is asked to do."""

    model: str
    name: str
    gate: Gate
    reason: str = ""
    overrides: Mapping[str, str] | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class Judged:
    """What the gate has found and decided."""

    found: Evidence
    verdict: Verdict
    page: str  # HTML
    predecessor: int  # the champion that it has measured against; 0 for none


def judge(asked: Asked, candidate: Candidate, config: Config, registry: Registry, stage: Progress) -> Judged:
    """Measure both and run the checks. Raises ModelError, DataError, ConfigError or one of STORE_ERRORS."""
    state, head = registry.state, read_history(registry.store, asked.name).head
    folder, wrong = _champion(asked, head, registry)
    images = gate_images(asked.gate, candidate, config, state)
    settings = EvaluationSettings(
        score_threshold=config.eval.score_threshold,
        nms_threshold=config.eval.nms_threshold,
        batch_size=config.eval.batch_size,
    )
    measured = measure(candidate.onnx, None, images, settings, stage("candidate"))
    before = measure(folder / ONNX, None, images, settings, stage("champion")) if folder else None
    found = Evidence(
        gate=asked.gate,
        candidate=candidate,
        measured=measured,
        champion=before,
        champion_wrong=wrong,
        difference=_difference(asked.gate.change, images, before, measured) if before else None,
        dataset=images.dataset,
        operating=_thresholds(asked.gate, candidate, measured, images, settings, state, stage),
        leaks=find_leaks(candidate, images, state),
        device=device_label(),
        signature=signature().to_dict(),
        champion_signature=yaml.safe_load((folder / "MLmodel").read_text())["signature"] if folder else None,
    )
    checks, overrides = run_checks(found), asked.overrides or {}
    verdict = make_verdict(found, checks, overrides, head, fingerprint(images), settings)
    return Judged(found, verdict, gate_page(asked.name, head, found, verdict, images), head)


def _champion(asked: Asked, head: int, registry: Registry) -> tuple[Path | None, str]:
    """The champion's verified folder, and why there is none to compare with though there is a champion.

    One that is not what was signed stops a promotion, unless somebody has overruled just that.
    """
    if not head:
        return None, ""
    try:
        return registry.champion(asked.name)[1], ""
    except ModelError as error:
        if "champion" not in (asked.overrides or {}):
            more = "; to promote over it: --override champion --why TEXT"
            raise ModelError(error.message, error.hint + more) from error
        return None, error.message


def _difference(wanted: Change, images: CocoImages, before: Measured, after: Measured) -> Difference:
    return paired_bootstrap(
        images.dataset,
        before.detections,
        after.detections,
        metric=wanted.metric,
        resamples=wanted.resamples,
        confidence=wanted.confidence,
    )


def _thresholds(
    gate: Gate,
    candidate: Candidate,
    measured: Measured,
    images: CocoImages,
    settings: EvaluationSettings,
    state: Path,
    stage: Progress,
) -> Operating:
    """Chosen on the candidate's validation images, which the gate's own need not be."""
    annotations = candidate.setting("data.val.annotations")
    precision = gate.thresholds.precision
    if annotations is not None:
        with suppress(DataError):  # not here any more
            validation = resolve_split(annotations, candidate.setting("data.val.images"), state)[1]
            if validation.dataset.source != images.dataset.source:
                detector = load_onnx_detector(candidate.onnx)
                found = detect_images(detector, validation, range(len(validation)), settings, stage("thresholds"))
                return choose_thresholds(validation.dataset, found, precision)
    return choose_thresholds(images.dataset, measured.detections, precision)


def gate_images(gate: Gate, candidate: Candidate, config: Config, state: Path) -> CocoImages:
    """The gate's own images, else those of the settings, else those the candidate was evaluated on in training."""
    for annotations, images in (
        (gate.data.annotations, gate.data.images),
        (config.data.val.annotations, config.data.val.images),
        (candidate.setting("data.val.annotations"), candidate.setting("data.val.images")),
    ):
        if annotations is not None:
            return resolve_split(annotations, images, state)[1]
    raise ConfigError(
        "data.val.annotations: has no value, and the candidate's run does not say what it was evaluated on",
        "give data.val.annotations=FILE data.val.images=FOLDER, or name them in the gate's data",
    )
