"""What is told to MLflow of a run, each kind a line of its outbox; told again, it changes nothing.

Times are those of the event, in seconds since 1970: MLflow knows a point again by its key, value, time and step.
"""

from dataclasses import dataclass, field
from typing import Any, get_args

from rayox_platform.runs.tagged_union import TaggedUnion


@dataclass(frozen=True)
class Points:
    """One point of several curves."""

    metrics: dict[str, float]
    step: int
    time: float


@dataclass(frozen=True)
class Tags:
    tags: dict[str, str]


@dataclass(frozen=True)
class TextFile:
    name: str
    text: str


@dataclass(frozen=True)
class Pictures:
    """A folder of the run's folder, kept under a name among the run's artifacts."""

    folder: str
    name: str


@dataclass(frozen=True)
class DatasetUse:
    """What the run used: context is training or evaluation, profile a JSON object of counts."""

    name: str
    digest: str
    source: str
    context: str
    profile: str


@dataclass(frozen=True)
class Registration:
    """The ONNX file of the run's folder as the next version of a registered model."""

    model: str
    onnx: str
    metrics: dict[str, float]
    epoch: int
    tags: dict[str, str]
    operating: dict[str, Any] = field(default_factory=dict)  # thresholds


@dataclass(frozen=True)
class Status:
    """RUNNING, FINISHED, FAILED or KILLED."""

    status: str
    time: float


Entry = Points | Tags | TextFile | Pictures | DatasetUse | Registration | Status
ENTRIES = TaggedUnion[Entry](get_args(Entry), tag=str)
