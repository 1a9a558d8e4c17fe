"""What settings demand of each other; a range of one setting alone stands at its field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rayox_platform.config.tree import Config


class Conflict(NamedTuple):
    keys: tuple[str, ...]  # the settings at odds; the one set last is where the user looks
    message: str  # names them all, with their values


class ConflictError(ValueError):
    """Settings that are each right and do not go together; pydantic hands it on inside its own error."""

    def __init__(self, conflicts: list[Conflict]) -> None:
        super().__init__("; ".join(conflict.message for conflict in conflicts))
        self.conflicts = conflicts


def conflicts(config: Config) -> list[Conflict]:
    """Every conflict between settings of a tree whose fields are each in range."""
    return [conflict for rule in RULES for conflict in rule(config)]


def _batch_fills_lanes(config: Config) -> Iterator[Conflict]:
    batch_size, lanes = config.train.batch_size, config.data.lanes
    if batch_size % lanes:
        below = batch_size // lanes * lanes
        use = f"{below} or {below + lanes}" if below else str(lanes)
        yield Conflict(
            ("train.batch_size", "data.lanes"),
            f"train.batch_size {batch_size} is not a multiple of data.lanes {lanes}; use train.batch_size={use}",
        )


def _workers_share_lanes(config: Config) -> Iterator[Conflict]:
    fewest, most = config.train.workers
    lanes = config.data.lanes
    if fewest > most:
        turned = f"[{fewest}, {most}] has its larger end first; use train.workers=[{most}, {fewest}]"
        yield Conflict(("train.workers",), turned)
        return
    shares = [workers for workers in range(1, lanes + 1) if lanes % workers == 0]
    for workers in sorted({fewest, most}.difference(shares)):
        yield Conflict(
            ("train.workers", "data.lanes"),
            f"train.workers {workers} does not share data.lanes {lanes} evenly; "
            f"use {_either(shares)} workers, or data.lanes={-(-lanes // workers) * workers}",
        )


def _either(numbers: list[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}" if others else last


def _phases_fit(config: Config) -> Iterator[Conflict]:
    epochs, warmup, closing = config.train.epochs, config.train.warmup_epochs, config.train.closing_epochs
    flat = config.train.flat_epochs
    if closing > epochs:
        yield Conflict(
            ("train.closing_epochs", "train.epochs"),
            f"train.closing_epochs {closing} is more than train.epochs {epochs}; use train.closing_epochs={epochs}",
        )
    if flat != "closing" and flat > epochs:
        yield Conflict(
            ("train.flat_epochs", "train.epochs"),
            f"train.flat_epochs {flat} is more than train.epochs {epochs}; use train.flat_epochs={epochs}",
        )
    if warmup >= epochs:
        yield Conflict(
            ("train.warmup_epochs", "train.epochs"),
            f"train.warmup_epochs {warmup:g} is not less than train.epochs {epochs}; "
            f"use train.warmup_epochs={epochs - 1 or 0.5:g}",
        )


RULES: tuple[Callable[[Config], Iterator[Conflict]], ...] = (_batch_fills_lanes, _workers_share_lanes, _phases_fit)
