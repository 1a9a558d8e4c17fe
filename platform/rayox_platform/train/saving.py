"""When rank 0 writes a checkpoint, and what happens to it: beside the training, told as events, the old ones pruned."""

import time

from rayox_model.checkpoint.checkpoint_writer import CheckpointWriter, Written
from rayox_model.checkpoint.snapshot import Snapshot, take_snapshot
from rayox_model.train.engine import NonFiniteError, TrainState
from rayox_platform.runs.event_kinds import Checkpoint, CheckpointFailed, Urgent
from rayox_platform.runs.events import EventLog
from rayox_platform.train.job import Measured, TrainJob, facts_of
from rayox_platform.train.preemption import Preemption

LAST_TRIES_SECONDS, TRY_SECONDS = 60.0, 2.0


class Saver:
    """Rank 0's: a context manager that ends when the last checkpoint is written; what it cannot write it tries again.

    Between others a checkpoint that could not be written is let go. The last one has none after it: it is tried until
    LAST_TRIES_SECONDS are over.
    """

    def __init__(self, job: TrainJob, log: EventLog) -> None:
        self._job, self._log = job, log
        self._preemption = Preemption(job.home.shared, lambda: not self.has_trained)
        self.has_trained = False  # since this start
        self._writer = CheckpointWriter(self._write, self._tell)
        self._saved_at, self._saved_step = time.monotonic(), -1
        self._unwritten: Snapshot | None = None

    def __enter__(self) -> "Saver":
        self._preemption.start()
        self._writer.__enter__()
        return self

    def __exit__(self, kind: object, *failure: object) -> None:
        self._preemption.stop()
        try:
            self._writer.__exit__(kind, *failure)
            if kind is None:
                self._try_again()
        finally:
            self._log.flush()

    def _try_again(self) -> None:
        end = time.monotonic() + LAST_TRIES_SECONDS
        while self._unwritten is not None and time.monotonic() < end:
            time.sleep(TRY_SECONDS)
            self._writer.submit(self._unwritten)
            self._writer.wait()

    def after_step(self, state: TrainState, epoch: int) -> None:
        """Within an epoch: save if it is time, or if a machine is about to go."""
        reason = self._preemption.taken()
        if reason or self._due(state.step):
            try:
                self.save(state, epoch)
            except NonFiniteError:
                return  # the workers find it together before their next step; alone, rank 0 would leave them waiting
        if reason:
            self._writer.wait()  # the machine may be gone after the next step
            self._tell_urgent(reason, state.step)

    @property
    def asked_to_stop(self) -> bool:
        return self._preemption.asked_to_stop

    def save_last(self, state: TrainState, epoch: int) -> None:
        """Called when all ranks have agreed to stop after this step; returns when its checkpoint is written."""
        if self._saved_step != state.step:
            self.save(state, epoch)
        self._writer.wait()
        self._tell_urgent("the run is asked to stop", state.step)
        self._preemption.answer()

    def _tell_urgent(self, reason: str, step: int) -> None:
        self._log.write(Urgent(step=step, text=reason))
        self._log.flush()

    def save(self, state: TrainState, epoch: int, measured: Measured | None = None) -> None:
        """Copy the state now, write it meanwhile; epoch is the number of finished ones."""
        self._writer.submit(take_snapshot(state, facts_of(self._job, state, epoch, measured or Measured())))
        self._saved_at, self._saved_step = time.monotonic(), state.step

    def _due(self, step: int) -> bool:
        checkpoint = self._job.config.checkpoint
        steps, minutes = checkpoint.every_steps, checkpoint.every_minutes
        by_time = minutes and time.monotonic() - self._saved_at > 60 * minutes
        return bool((steps and step % steps == 0) or by_time)

    def _write(self, snapshot: Snapshot) -> str:
        self._unwritten = snapshot
        name = self._job.checkpoints.write(snapshot)
        self._unwritten = None
        self._job.checkpoints.prune(self._job.config.checkpoint.keep)
        return self._job.checkpoints.address(name)

    def _tell(self, written: Written) -> None:
        if written.error is None:
            self._log.write(Checkpoint(step=written.step, path=str(written.path), seconds=written.seconds))
            return
        why = written.error.strerror or str(written.error)
        text = f"the checkpoint of step {written.step} could not be written to {self._job.checkpoints}: {why}"
        self._log.write(CheckpointFailed(step=written.step, text=text))
