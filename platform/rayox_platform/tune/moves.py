"""What a schedule may want next."""

from dataclasses import dataclass

from rayox_platform.tune.ledger_records import Values


@dataclass(frozen=True)
class Begin:
    """A new trial, trained until so many epochs are done."""

    until: int


@dataclass(frozen=True)
class Resume:
    """A paused trial trains on from its exact checkpoint."""

    trial: int
    until: int


@dataclass(frozen=True)
class Exploit:
    """A trial of a population goes on from the checkpoint that another one had there, with values of its own."""

    trial: int
    donor: int
    epoch: int  # that both have come to; the donor may have gone on since
    values: Values


@dataclass(frozen=True)
class Prune:
    """A paused trial is not trained on."""

    trial: int
    why: str


@dataclass(frozen=True)
class Wait:
    """Nothing to do before a running trial has come to its rung."""


@dataclass(frozen=True)
class Done:
    """Nothing to do any more."""


Move = Begin | Resume | Exploit | Prune | Wait | Done
