"""What a watcher sees of a training run: one bar (or lines in a pipe), and a line of metrics for every evaluation."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from rayox.console import Console
from rayox.progress import Progress, progress


class TrainingPanel:
    """Feed it the run's events; it opens its bar with the first step, so start-up does not count as training."""

    def __init__(self, name: str, num_steps: int, batch_size: int, epochs: int, console: Console) -> None:
        self._name, self._num_steps, self._batch_size, self._epochs = name, num_steps, batch_size, epochs
        self._console = console
        self._context: AbstractContextManager[Progress] | None = None
        self._bar: Progress | None = None
        self._step = 0

    def __enter__(self) -> "TrainingPanel":
        return self

    def __exit__(self, *_: object) -> None:
        if self._context is not None:
            self._context.__exit__(None, None, None)

    def show(self, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "start":
            self._start(event)
        elif kind == "progress":
            self._advance(
                event["step"],
                f"epoch {event['epoch'] + 1}/{self._epochs}  loss {event['loss_total']:.2f}  "
                f"data-wait {event['data_wait_fraction']:.0%}",
            )
        elif kind == "epoch":
            self._epoch(event)

    def _start(self, event: Mapping[str, Any]) -> None:
        if self._bar is not None:
            self._console.note(f"restarted at step {event['step']} with {event['workers']} workers")
            self._step = event["step"]
            return
        total = (self._num_steps - event["step"]) * self._batch_size
        self._context = progress(total, f"train {self._name}")
        self._bar = self._context.__enter__()
        self._step = event["step"]

    def _advance(self, step: int, note: str) -> None:
        if self._bar is not None and step > self._step:
            self._bar.advance((step - self._step) * self._batch_size, note)
            self._step = step

    def _epoch(self, event: Mapping[str, Any]) -> None:
        metrics = event["metrics"]
        self._advance(event["step"], "")
        if "AP" in metrics:
            self._console.note(
                f"epoch {event['epoch']}/{self._epochs}  AP {metrics['AP']:.3f}  AP50 {metrics['AP50']:.3f}  "
                f"loss {metrics['loss_total']:.2f}"
            )
