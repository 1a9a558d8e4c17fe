"""A run's checkpoints beside each other: which one is the newest that is whole, which the best, which ones may go."""

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from rayox_model.checkpoint.snapshot import DRAFT, FACTS, verify
from rayox_model.core.errors import ModelError


def step_of(name: str) -> int:
    """The optimiser steps a checkpoint has behind it, by its name: step-N, or step-N-… in a bucket."""
    return int(name.split("-")[1])


def newest_checkpoint(parent: Path, tell: Callable[[str], None] = lambda reason: None) -> Path | None:
    """The checkpoint with the most steps that verifies, if there is one; tell gets the reason for each skipped."""
    for folder in sorted(parent.glob("step-*"), reverse=True):
        try:
            verify(folder)
        except ModelError as error:
            tell(f"{error.message}; going back to the one before")
            continue
        return folder
    return None


def best_checkpoint(parent: Path) -> Path | None:
    """The checkpoint of the highest AP, the latest of equals; None while none has been evaluated."""
    ap = {folder: _ap(folder) for folder in sorted(parent.glob("step-*"))}
    evaluated = {folder: value for folder, value in ap.items() if value is not None}
    return max(evaluated, key=lambda folder: (evaluated[folder], folder.name), default=None)


def _ap(folder: Path) -> float | None:
    try:
        return ap_of((folder / FACTS).read_bytes())
    except OSError:
        return None  # damaged: it is not the best of anything


def ap_of(facts: bytes) -> float | None:
    """The AP that a checkpoint's JSON of facts tells, if it does; earlier versions wrote −1 where there is none."""
    try:
        value = json.loads(facts)["metrics"].get("AP")
    except (ValueError, KeyError, AttributeError):
        return None
    return float(value) if isinstance(value, int | float) and value >= 0 else None


def prune(parent: Path, keep: int) -> None:
    """Remove all checkpoints but the `keep` newest and the one of the best AP, and what a crash left of others.

    Only the process that writes checkpoints here may call it, between two of them.
    """
    for draft in parent.glob(f"{DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)
    best = best_checkpoint(parent)
    for folder in sorted(parent.glob("step-*"), reverse=True)[keep:]:
        if folder != best:
            remove_checkpoint(folder)


def remove_checkpoint(folder: Path) -> None:
    """Take it away in one step first, so that no half of it is ever met under its name."""
    gone = folder.with_name(f"{DRAFT}{uuid.uuid4().hex[:8]}")
    os.replace(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
