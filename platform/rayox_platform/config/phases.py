"""A training of fewer epochs than its recipe has: the phases that the user has not set shrink in proportion."""

from collections.abc import Sequence

from rayox_platform.config.layer import overlay
from rayox_platform.config.origin import Layer, Origin, Rank, Value
from rayox_platform.config.settings import Settings

EPOCHS = "train.epochs"
WHOLE = ("train.closing_epochs", "train.flat_epochs")  # phases of whole epochs
PHASES = ("train.warmup_epochs", *WHOLE)


def shrunk_phases(layers: Sequence[Layer], table: Settings) -> tuple[Layer, str]:
    """The phases as they are with the user's epochs, and a line that says so; empty when nothing has to shrink.

    A phase that the user has set stays as it is, and may conflict with the epochs.
    """
    values = overlay(list(layers))
    epochs = values.get(EPOCHS)
    if epochs is None or not epochs.origin.is_the_user_s or not _is_number(epochs.value):
        return {}, ""
    before = _before_the_user(EPOCHS, layers, table)
    now, whole = _number(epochs.value), _number(before.value)
    if not 0 < now < whole:
        return {}, ""
    shrunk: dict[str, Value] = {}
    said = []
    for key in PHASES:
        phase = values.get(key, Value(table[key].default, Origin(Rank.DEFAULT)))
        if phase.origin.is_the_user_s or not _is_number(phase.value) or phase.value == 0:
            continue
        shorter = _shorter(_number(phase.value), now / whole, key in WHOLE, now)
        origin = phase.origin._replace(note="shrunk with train.epochs")
        shrunk[key] = Value(shorter, origin)
        said.append(f"{key} {_number(phase.value):g} → {shorter:g}")
    line = f"{EPOCHS} {now:g} of the recipe's {whole:g}, so with it {', '.join(said)}; set them to have others"
    return shrunk, line if said else ""


def _shorter(phase: float, share: float, is_whole: bool, epochs: float) -> float:
    """A closing phase of whole epochs stays one, unless there is a single epoch."""
    if is_whole:
        return max(round(phase * share), 1 if epochs > 1 else 0)
    return round(phase * share, 2)


def _before_the_user(key: str, layers: Sequence[Layer], table: Settings) -> Value:
    """What a setting would be without the user."""
    theirs = [layer[key] for layer in layers if key in layer and not layer[key].origin.is_the_user_s]
    return theirs[-1] if theirs else Value(table[key].default, Origin(Rank.DEFAULT))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value
