"""A promotion without its measurements: what `publish` takes, for tests of its writes."""

import hashlib
from pathlib import Path

from rayox_platform.config.tree import Promotion
from rayox_platform.models.bundle import PromotionRecord, file_digest
from rayox_platform.models.champion import EXPERIMENT
from rayox_platform.models.signature import trusted
from rayox_platform.promote.commit import Files, publish
from rayox_platform.promote.signing import signing_key
from rayox_platform.track.registry import Version
from rayox_platform.track.tracking import Store, connect

VERDICT = '{"checks": []}\n'


def draft(name: str, predecessor: int, onnx: Path, actor: str = "somebody") -> tuple[PromotionRecord, Files]:
    record = PromotionRecord(
        name=name,
        action="promote",
        predecessor=predecessor,
        restores=0,
        model=str(onnx),
        model_id="",
        run_id="",
        source_run_id="",
        onnx=file_digest(onnx),
        report=hashlib.sha256(VERDICT.encode()).hexdigest(),
        signer="demo",
        actor=actor,
        time="2026-01-01T00:00:00+00:00",
        reason="",
        overrides={},
        tags={"AP": "0.5000"},
    )
    return record, Files(onnx, VERDICT, "<p>", {"AP": 0.5})


def publish_draft(
    name: str,
    predecessor: int,
    onnx: Path,
    state: Path,
    actor: str = "somebody",
    store: Store | None = None,
    promotion: Promotion | None = None,
) -> Version:
    """Make a champion without measuring anything."""
    settings = promotion or Promotion()
    uri = None if store is None or store.uri.startswith("sqlite:") else store.uri
    key = signing_key(settings, uri, state)
    record, files = draft(name, predecessor, onnx, actor)
    record = PromotionRecord(**{**record.__dict__, "signer": key.kind})
    return publish(store or connect(None, state, EXPERIMENT), record, files, key, trusted(settings, uri, state))
