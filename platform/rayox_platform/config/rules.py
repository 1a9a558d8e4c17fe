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
    if most > lanes:
        batch_size = config.train.batch_size
        enough = next((count for count in range(most, batch_size + 1) if batch_size % count == 0), None)
        yield Conflict(
            ("train.workers", "data.lanes"),
            f"train.workers {most} is more than data.lanes {lanes}, and each needs a lane; use train.workers={lanes} "
            f"at most, or " + (f"data.lanes={enough}" if enough else f"train.batch_size={most} and data.lanes={most}"),
        )


def _parts_have_images(config: Config) -> Iterator[Conflict]:
    """The smallest share: of the largest number of workers, the one with the fewest lanes."""
    accumulate, lanes, most = config.train.accumulate, config.data.lanes, config.train.workers[1]
    share = config.train.batch_size * (lanes // most) // lanes
    if 0 < share < accumulate:
        yield Conflict(
            ("train.accumulate", "train.batch_size", "train.workers"),
            f"train.accumulate {accumulate} is more than the {share} images that a worker has of train.batch_size "
            f"{config.train.batch_size} with train.workers {most}; use train.accumulate={share} at most",
        )


def _frozen_parts_are_trained(config: Config) -> Iterator[Conflict]:
    train = config.train
    for key, value, free in (("freeze", train.freeze, "none"), ("batch_norm", train.batch_norm, "local")):
        if value in ("backbone", "backbone_and_neck", "frozen") and config.model.init is None:
            yield Conflict(
                (f"train.{key}", "model.init"),
                f"train.{key} {value} keeps what model.init has learnt, and that is unset; "
                f"name weights to start from, or use train.{key}={free}",
            )


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


RULES: tuple[Callable[[Config], Iterator[Conflict]], ...] = (
    _batch_fills_lanes,
    _workers_share_lanes,
    _parts_have_images,
    _frozen_parts_are_trained,
    _phases_fit,
)
