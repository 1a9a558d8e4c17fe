"""The folder of a promoted model: what is in it, its digest, and the record that is signed with it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rayox_model.core.errors import ModelError

ONNX = "artifacts/model.onnx"
RECORD = "rayox/promotion.json"
VERDICT = "rayox/verdict.json"
PAGE = "rayox/gate.html"
SIGNATURE = "rayox/model.sig"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class PromotionRecord:
    """Who made a version the champion of a name, when, why and on what grounds: a file of the signed folder."""

    name: str
    action: str  # promote, rollback or restore
    predecessor: int
    restores: int  # the version whose bytes these are, of a rollback or repair; else 0
    model: str  # the candidate as it was asked for
    model_id: str  # MLflow's, of this folder
    run_id: str  # MLflow's, of the promotion
    source_run_id: str  # of the training; empty when unknown
    onnx: str  # SHA-256 of the network's file
    report: str  # SHA-256 of the verdict
    signer: str  # demo, key, certificate or pkcs11
    actor: str
    time: str  # ISO 8601, UTC
    reason: str
    overrides: Mapping[str, str]  # checks that were overruled, and why
    tags: Mapping[str, str]  # what the version shows beside these: AP, run, size
    format: int = FORMAT

    def version_tags(self) -> dict[str, str]:
        """Tags of the registered version that this record vouches for."""
        return {
            **self.tags,
            "rayox.predecessor": str(self.predecessor),
            "rayox.action": self.action,
            "rayox.restores": str(self.restores),
            "rayox.time": self.time,
            "rayox.report": self.report,
            "rayox.onnx": self.onnx,
            "rayox.actor": self.actor,
            "rayox.reason": self.reason,
            "rayox.overrides": ", ".join(sorted(self.overrides)) or "none",
            "rayox.signer": self.signer,
            "rayox.model_id": self.model_id,
        }

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def read_record(folder: Path, shown: str) -> PromotionRecord:
    """The record of a promoted model's folder. Raises ModelError, naming what is `shown`."""
    try:
        values = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if set(values) != {field.name for field in fields(PromotionRecord)} or values["format"] != FORMAT:
            raise ValueError("it has other fields than this rayox writes")
        return PromotionRecord(**values)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"{shown}: its {RECORD} cannot be read ({error})", "it was not made by `rayox promote`"
        ) from None


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of all files, the signature too."""
    sha = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()):
        name = path.relative_to(folder).as_posix()
        content = f"link to {path.readlink()}" if path.is_symlink() else file_digest(path)
        sha.update(f"{len(name)} {name} {content}\n".encode())
    return sha.hexdigest()
