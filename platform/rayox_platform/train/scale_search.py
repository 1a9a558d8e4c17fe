"""What is said of the steps that GradScaler skips: a user would take them for a fault."""

from rayox_platform.runs.event_kinds import Progress


class ScaleSearch:
    """Says once of a start that the scale is being found, and once what it is; later skips try a larger one."""

    def __init__(self) -> None:
        self._skipped = 0
        self._over = False

    def said(self, progress: Progress) -> str | None:
        """What a user should read after some more steps, if anything."""
        scale, skipped = progress.gradient_scale, round(progress.skipped_steps)
        if scale is None or self._over:
            return None
        first, self._skipped = not self._skipped, self._skipped + skipped
        if skipped:
            return _searching(self._skipped, scale) if first else None
        self._over = True
        return _found(self._skipped, scale) if self._skipped else None


def _searching(skipped: int, scale: float) -> str:
    return (
        f"fp16: the scale is being found, now {scale:g}: {_steps(skipped)} skipped so far, which changed no weight "
        "(train.loss_scale)"
    )


def _found(skipped: int, scale: float) -> str:
    return f"fp16: the scale is found, {scale:g}, after {_steps(skipped)} skipped"


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
