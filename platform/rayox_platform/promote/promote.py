"""`rayox promote`: measure, decide, write down, sign, commit."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rayox_model.core.errors import ConfigError, GateError
from rayox_platform.config.tree import Config
from rayox_platform.models.bundle import ONNX, PromotionRecord
from rayox_platform.models.champion import EXPERIMENT
from rayox_platform.models.signature import trusted
from rayox_platform.promote.candidate import Candidate, Registry, open_candidate
from rayox_platform.promote.checks import Evidence
from rayox_platform.promote.commit import Files, keep_refusal, publish
from rayox_platform.promote.judge import Asked, Progress, judge
from rayox_platform.promote.signing import signing_key
from rayox_platform.promote.verdict import Verdict, actor, check_overrides, now
from rayox_platform.track.registry import Version
from rayox_platform.track.tracking import STORE_ERRORS, connect, refused


@dataclass(frozen=True)
class Promoted:
    """What came of it."""

    verdict: Verdict
    page: str  # HTML
    predecessor: int
    version: Version | None  # None after a dry run


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
    key = None if asked.dry_run else signing_key(config.promotion, uri, state)
    trust = trusted(config.promotion, uri, state)
    store = connect(uri, state, None if asked.dry_run else EXPERIMENT)
    try:
        with TemporaryDirectory(prefix="rayox-gate-") as draft:
            registry = Registry(store, trust, state)
            candidate = open_candidate(asked.model, registry, Path(draft))
            judged = judge(asked, candidate, config, registry, stage)
            found, verdict, page, predecessor = judged.found, judged.verdict, judged.page, judged.predecessor
            told(verdict, page)
            if not verdict.passed and key is not None:
                names = ", ".join(check.name for check in verdict.refused)
                said = {"rayox.time": now(), "rayox.actor": actor(), "rayox.refused": names}
                said |= {"AP": f"{found.measured.metrics['AP']:.4f}"}
                keep_refusal(store, asked.name, verdict.text, page, said)
            if not verdict.passed:
                raise refusal(asked, verdict)
            if key is None:
                return Promoted(verdict, page, predecessor, None)
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
