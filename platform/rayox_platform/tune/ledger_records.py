"""What a campaign's ledger is made of: one frozen dataclass a kind of record, and their form in the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from rayox_model.core.errors import DataError
from rayox_platform.runs.tagged_union import TaggedUnion

Phase = Literal["search", "confirm"]
Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The campaign began: its own settings, and the recipe it starts from."""

    campaign: Mapping[str, Any]
    config: Mapping[str, Any]
    version: str
    data: Mapping[str, Any] = field(default_factory=dict)  # where the parts of val lie that search and confirm score
    weights: str = ""  # digest of the file or checkpoint that trials start from
    warm_from: str = ""  # the campaign that the searcher learns from as well
    warm_records: int = 0  # how many it had then: it may have gone on since
    given: list[str] | None = None  # settings that the command line had, as LoadedCampaign has them


@dataclass(frozen=True, kw_only=True)
class Driven:
    """A driver took over; what ran under the one before it is owed from here on."""

    host: str
    pid: int
    submission: str = ""  # of the Ray job that is the driver; empty of a process of its own


@dataclass(frozen=True, kw_only=True)
class Extended:
    """The budget was changed, or what else of a campaign may be: nothing that decides a trial that there is."""

    budget: Mapping[str, Any]
    changed: Mapping[str, Any] = field(default_factory=dict)  # sections beside it, each with the values that are new
    given: list[str] = field(default_factory=list)  # those of the settings that the command line had
    regardless: int = 0  # trials to begin, counted from the first, whatever stop_when says


@dataclass(frozen=True, kw_only=True)
class Moved:
    """The campaign, its data or its machines are others than before; it is the same campaign all the same."""

    recipe: str
    values: Mapping[str, Any]  # of the base recipe, by key
    data: Mapping[str, Any]  # as Opened has it


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A trial has its number and its values."""

    trial: int
    values: Values  # by key, those that are searched; none of the base recipe
    seed: int
    run: str
    phase: Phase = "search"
    attributes: Mapping[str, Any] = field(default_factory=dict)  # what the sampler keeps of it
    of: int | None = None  # of a confirmation: the trial it repeats, None for the base recipe


@dataclass(frozen=True, kw_only=True)
class Started:
    """A trial trains, until so many epochs of it are done."""

    trial: int
    until: int
    gpus: float = 0.0  # that all its workers have set aside


@dataclass(frozen=True, kw_only=True)
class Reported:
    """An epoch of a trial is done."""

    trial: int
    epoch: int
    metrics: Mapping[str, float]
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Paused:
    """A trial has come to its rung; it goes on from this exact checkpoint, or never."""

    trial: int
    epoch: int
    checkpoint: str = ""


@dataclass(frozen=True, kw_only=True)
class Exploited:
    """A trial takes over a better one's weights, and its values changed a little, as a run of another name."""

    trial: int
    donor: int
    epoch: int  # of the donor's checkpoint
    values: Values
    run: str
    donor_run: str
    checkpoint: str = ""  # of the donor


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A trial has been trained whole."""

    trial: int
    checkpoint: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)  # beside the last report's: parameters, milliseconds


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """A trial is not trained on."""

    trial: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A trial came to no end: a result like any other."""

    trial: int
    why: str
    code: str  # as of RayoxError


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """What the confirmation found."""

    result: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The driver left: finished, interrupted, stopped or failed, and why."""

    status: str
    why: str


Event = (
    Opened
    | Driven
    | Extended
    | Moved
    | Planned
    | Started
    | Reported
    | Paused
    | Exploited
    | Finished
    | Pruned
    | Failed
    | Confirmed
    | Ended
)
RECORDS = TaggedUnion[Event](get_args(Event))


def to_record(event: Event, time: float) -> dict[str, Any]:
    return RECORDS.to_json(event) | {"time": time}


def from_record(record: Mapping[str, Any], place: str) -> tuple[Event, float]:
    """The event and its time. Raises DataError for a kind that this version does not know."""
    try:
        return RECORDS.from_json(record), record["time"]
    except KeyError:
        raise DataError(
            f"{place}: a record {record['kind']!r} is not known to this version", "use the newer rayox"
        ) from None
