"""The gate's verdict as a file: everything it measured, asked for and decided."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from platform import node

from rayox_model.core.errors import ConfigError
from rayox_platform.data.fingerprint import Fingerprint
from rayox_platform.evaluate.evaluation import EvaluationSettings
from rayox_platform.promote.checks import CHECKS, Check, Evidence
from rayox_platform.track.lineage import user

EVALUATORS = ("hotcoco", "onnxruntime", "numpy", "opencv-python-headless", "rayox")


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a candidate."""

    checks: tuple[Check, ...]
    overrides: Mapping[str, str]  # checks that were overruled, and why
    text: str  # the file

    @property
    def refused(self) -> tuple[Check, ...]:
        """Checks that failed and were not overruled."""
        return tuple(check for check in self.checks if not check.passed and check.name not in self.overrides)

    @property
    def passed(self) -> bool:
        return not self.refused

    def as_json(self) -> dict[str, object]:
        return {"passed": self.passed, **json.loads(self.text)}


def actor() -> str:
    return f"{user()}@{node()}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_overrides(overrides: Mapping[str, str]) -> None:
    """Raise ConfigError for one that names no check or gives no reason."""
    for name, why in overrides.items():
        if name not in CHECKS:
            raise ConfigError(f"--override: {name!r} is not a check", f"the checks are {', '.join(CHECKS)}")
        if not why.strip():
            raise ConfigError(f"--override {name}: no reason is given", "say why: --why TEXT; it is kept forever")


def make_verdict(
    found: Evidence,
    checks: tuple[Check, ...],
    overrides: Mapping[str, str],
    champion: int,
    data: Fingerprint,
    settings: EvaluationSettings,
) -> Verdict:
    """Write down what was found. An override of a check that passes is kept too: somebody was ready to overrule it."""
    document = {
        "format": 1,
        "time": now(),
        "actor": actor(),
        "checks": [asdict(check) | {"overruled": overrides.get(check.name)} for check in checks],
        "candidate": {"model": found.candidate.model, "run_id": found.candidate.run_id} | found.measured.as_json(),
        "champion": {"version": champion} | found.champion.as_json() if found.champion else None,
        "difference": asdict(found.difference) | {"says": found.difference.says(found.gate.change.margin)}
        if found.difference
        else None,
        "data": {
            "annotations": found.dataset.source,
            "fingerprint": data.digest,
            "images": len(found.dataset),
            "boxes": len(found.dataset.labels),
        },
        "operating": found.operating.as_json(),
        "evaluation": asdict(settings),
        "evaluators": {name: version(name) for name in EVALUATORS},
        "device": found.device,
        "gate": found.gate.model_dump(mode="json"),
    }
    return Verdict(checks, dict(overrides), json.dumps(document, indent=1) + "\n")
