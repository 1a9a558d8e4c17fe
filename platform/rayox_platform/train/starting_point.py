"""The checkpoint that a start of training goes from: chosen once, where the stream begins, and handed to the workers.

Each choosing for itself could take another: a node's view of a shared folder may be a moment older. Then the stream
and the weights would not go together.
"""

from rayox_platform.runs.event_kinds import CheckpointSkipped
from rayox_platform.train.job import TrainJob, newest

MARK = ".start"  # beside the run's checkpoints: the name of the one chosen last


def choose(job: TrainJob, known: str | None = None) -> str:
    """The name of the latest whole checkpoint, or the known one, which `chosen` tells. Raises ModelError, OSError."""

    def skipped(reason: str) -> None:
        job.home.events.tell(CheckpointSkipped(text=reason))

    name = known or newest(job, skipped).name
    job.home.shared.write(MARK, name.encode())
    return name


def chosen(job: TrainJob) -> str:
    """What was chosen for this start. Raises OSError."""
    return job.home.shared.read(MARK).decode()
