"""What happens in a run: one frozen dataclass a kind of event.

The names of kinds and fields are those in the files of every run so far: a new field needs a default, with which older
runs are read.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rayox_platform.runs.tagged_union import TaggedUnion


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """Any of them."""

    time: float = field(default_factory=time.time)  # in seconds since 1970


@dataclass(frozen=True, kw_only=True)
class StepEvent(RunEvent):
    """One that tells how far training is."""

    step: int  # finished ones


@dataclass(frozen=True, kw_only=True)
class Stage(RunEvent):
    """Something else than a step is being done."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Note(RunEvent):
    """A user should know this."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Start(StepEvent):
    """The workers have their weights, for the first time or again, and are about to train from this step."""

    workers: int = 1
    nodes: Sequence[str] = ()  # Ray's ids of those that the ranks are on, in their order
    node: str = ""  # of rank 0, as are the next two
    pid: int = 0
    born: float = 0.0  # when the system started the process
    began: float | None = None  # when Ray Train called rank 0: it has made the network and loaded the weights since
    checkpoint_time: float | None = None
    num_steps: int | None = None  # of the whole run, as epochs
    epochs: int | None = None


@dataclass(frozen=True, kw_only=True)
class Progress(StepEvent):
    """The means of the steps of about a second; None is what an older version did not measure."""

    epoch: int  # that is being trained, from 0
    learning_rate: float
    data_seconds: float  # that the last step waited for its batch
    images_per_second: float
    data_wait_fraction: float
    seconds_per_step: float = 0.0
    loss_total: float
    loss_iou: float | None = None
    loss_objectness: float | None = None
    loss_classification: float | None = None
    loss_l1: float | None = None
    gradient_norm: float | None = None
    positives_per_box: float | None = None
    skipped_steps: float = 0.0  # by fp16's GradScaler
    gradient_scale: float | None = None  # that of fp16

    @property
    def losses(self) -> dict[str, float]:
        """By term; `total` is their sum."""
        terms = {name.removeprefix("loss_"): value for name, value in vars(self).items() if name.startswith("loss_")}
        return {name: value for name, value in terms.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Epoch(StepEvent):
    """An epoch is done."""

    epoch: int  # finished ones
    metrics: Mapping[str, float]  # means of its steps; AP, AP50 … as well where it was evaluated
    evaluated: bool = False
    weights: str = ""  # digest, the same on every worker


@dataclass(frozen=True, kw_only=True)
class Checkpoint(StepEvent):
    """A checkpoint is written."""

    path: str  # or address
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CheckpointFailed(StepEvent):
    """A checkpoint could not be written."""

    text: str


@dataclass(frozen=True, kw_only=True)
class CheckpointSkipped(RunEvent):
    """A damaged checkpoint is not trained on from."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Urgent(StepEvent):
    """A checkpoint is written because a machine is about to go or the run is asked to stop."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Failure(RunEvent):
    """Workers have failed."""

    text: str
    ranks: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class BadImages(RunEvent):
    """The broken images met so far, each with its reason, which others have replaced."""

    images: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Stall(RunEvent):
    """No batch comes."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis(RunEvent):
    """Why an evaluation found nothing."""

    epoch: int  # finished ones
    text: str


EVENTS = TaggedUnion[RunEvent](
    (
        Stage,
        Note,
        Start,
        Progress,
        Epoch,
        Checkpoint,
        CheckpointFailed,
        CheckpointSkipped,
        Urgent,
        Failure,
        BadImages,
        Stall,
        Diagnosis,
    )
)
