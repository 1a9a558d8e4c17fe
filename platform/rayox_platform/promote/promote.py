"""`rayox promote`: measure, decide, write down, sign, commit."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from platform import node
from tempfile import TemporaryDirectory

import yaml

from rayox_model.core.errors import ConfigError, DataError, GateError
from rayox_model.detect.onnx_detector import load_onnx_detector
from rayox_platform.config.tree import Config
from rayox_platform.data.fingerprint import fingerprint
from rayox_platform.data.images import CocoImages
from rayox_platform.data.resolve import resolve_split
from rayox_platform.evaluate.compare import paired_bootstrap
from rayox_platform.evaluate.evaluation import EvaluationSettings, detect_images
from rayox_platform.evaluate.operating import Operating, choose_thresholds
from rayox_platform.models.bundle import ONNX, PromotionRecord
from rayox_platform.models.champion import CACHE, EXPERIMENT, champion, read_history
from rayox_platform.models.signature import trusted
from rayox_platform.promote.candidate import Candidate, open_candidate
from rayox_platform.promote.checks import Evidence, run_checks
from rayox_platform.promote.commit import Files, keep_refusal, publish
from rayox_platform.promote.gate_settings import Gate
from rayox_platform.promote.leaks import find_leaks
from rayox_platform.promote.measure import Measured, device_label, measure
from rayox_platform.promote.page import gate_page
from rayox_platform.promote.signing import signing_key
from rayox_platform.promote.verdict import Verdict, check_overrides, make_verdict
from rayox_platform.track.lineage import user
from rayox_platform.track.registration import signature
from rayox_platform.track.registry import Version
from rayox_platform.track.tracking import STORE_ERRORS, Store, connect, refused

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
class Promoted:
    """What came of it."""

    verdict: Verdict
    page: str  # HTML
    predecessor: int
    version: Version | None  # None after a dry run


def actor() -> str:
    return f"{user()}@{node()}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def promote(
    asked: Asked, config: Config, state: Path, told: Callable[[Verdict, str], None], stage: Progress
) -> Promoted:
    """Make a model the champion of a name if the gate lets it; `told` gets verdict and page as soon as they are there.

    Raises GateError when it does not, and ConfigError, ModelError, DataError or TrackingError.
    """
    overrides = asked.overrides or {}
    check_name(asked.name)
    check_overrides(overrides)
    uri = config.tracking.uri
    key = signing_key(config.promotion, uri, state)
    trust = trusted(config.promotion, uri, state)
    store = connect(uri, state, EXPERIMENT)
    try:
        with TemporaryDirectory(prefix="rayox-gate-") as draft:
            candidate = open_candidate(asked.model, store, state, trust, Path(draft))
            found, verdict, page, predecessor = _judge(asked, candidate, config, store, state, stage)
            told(verdict, page)
            if asked.dry_run and verdict.passed:
                return Promoted(verdict, page, predecessor, None)
            if asked.dry_run:
                raise refusal(asked, verdict)
            if not verdict.passed:
                names = ", ".join(check.name for check in verdict.refused)
                said = {"rayox.time": now(), "rayox.actor": actor(), "rayox.refused": names}
                said |= {"AP": f"{found.measured.metrics['AP']:.4f}"}
                keep_refusal(store, asked.name, verdict.text, page, said)
                raise refusal(asked, verdict)
            record = _record(asked, candidate, found, verdict, predecessor, key.kind)
            onnx = candidate.onnx.rename(Path(draft) / Path(ONNX).name)
            operating = found.operating.as_json()
            one = publish(store, record, Files(onnx, verdict.text, page, found.measured.metrics, operating), key, trust)
            return Promoted(verdict, page, predecessor, one)
    except STORE_ERRORS as error:
        raise refused(store.uri, error) from error


def check_name(name: str) -> None:
    """Raise ConfigError for what MLflow does not take as the name of a registered model."""
    if not name.strip() or any(sign in name for sign in "/:'\"@"):
        raise ConfigError(f"--to: {name!r} cannot be the name of a registered model", "leave out / : @ and quotes")


def refusal(asked: Asked, verdict: Verdict) -> GateError:
    names = [check.name for check in verdict.refused]
    lines = "; ".join(f"{check.name}: {check.text}" for check in verdict.refused)
    return GateError(
        f"{asked.model} is not promoted to {asked.name}: {lines}",
        f"mend it, or overrule: --override {names[0]} --why TEXT, which is kept forever",
    )


def _judge(
    asked: Asked, candidate: Candidate, config: Config, store: Store, state: Path, stage: Progress
) -> tuple[Evidence, Verdict, str, int]:
    """Candidate and champion on the same images."""
    trust = trusted(config.promotion, config.tracking.uri, state)
    head = read_history(store, asked.name).head
    folder = champion(store, asked.name, trust, state / CACHE)[1] if head else None
    images = gate_images(asked.gate, candidate, config, state)
    settings = EvaluationSettings(
        score_threshold=config.eval.score_threshold,
        nms_threshold=config.eval.nms_threshold,
        batch_size=config.eval.batch_size,
    )
    measured = measure(candidate.onnx, None, images, settings, stage("candidate"))
    before = measure(folder / ONNX, None, images, settings, stage("champion")) if folder else None
    change = asked.gate.change
    difference = None
    if before is not None:
        difference = paired_bootstrap(
            images.dataset,
            before.detections,
            measured.detections,
            metric=change.metric,
            resamples=change.resamples,
            confidence=change.confidence,
        )
    found = Evidence(
        gate=asked.gate,
        candidate=candidate,
        measured=measured,
        champion=before,
        difference=difference,
        dataset=images.dataset,
        operating=_thresholds(asked.gate, candidate, measured, images, settings, state, stage),
        leaks=find_leaks(candidate, images, state),
        device=device_label(),
        signature=signature().to_dict(),
        champion_signature=yaml.safe_load((folder / "MLmodel").read_text())["signature"] if folder else None,
    )
    checks = run_checks(found)
    verdict = make_verdict(found, checks, asked.overrides or {}, head, fingerprint(images), settings, now(), actor())
    return found, verdict, gate_page(asked.name, head, found, verdict, images), head


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


def _record(
    asked: Asked, candidate: Candidate, found: Evidence, verdict: Verdict, predecessor: int, signer: str
) -> PromotionRecord:
    metrics = found.measured.metrics
    return PromotionRecord(
        name=asked.name,
        action="promote",
        predecessor=predecessor,
        restores=0,
        model=asked.model,
        model_id="",
        run_id="",
        source_run_id=candidate.run_id,
        onnx=found.measured.sha256,
        report=hashlib.sha256(verdict.text.encode()).hexdigest(),
        signer=signer,
        actor=actor(),
        time=now(),
        reason=asked.reason,
        overrides=dict(asked.overrides or {}),
        tags={
            "AP": f"{metrics['AP']:.4f}",
            "AP50": f"{metrics['AP50']:.4f}",
            "run": candidate.tags.get("rayox.run", "–"),
            "classes": ", ".join(found.measured.classes)[:500],
        },
    )
