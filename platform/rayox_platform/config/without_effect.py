"""Settings that count only where another has a certain value: the user is told of one that is set in vain."""

from collections.abc import Collection, Mapping

from rayox_platform.config.origin import Layer

COUNT_ONLY_WITH: Mapping[str, tuple[str, Collection[str]]] = {
    "train.loss_scale": ("train.precision", ("fp16", "auto")),
    "train.beta2": ("train.optimizer", ("adamw",)),
    "augment.partner_window": ("augment.partners", ("window",)),
}
"""By setting or section: the other setting, and its values with which this one counts, the first to be named."""


def set_in_vain(values: Layer, now: Mapping[str, object]) -> list[str]:
    """A line for each setting of the user's that has no effect; now has the value of every other setting."""
    lines = []
    for key, value in values.items():
        for part, (other, wanted) in COUNT_ONLY_WITH.items():
            own = key == part or key.startswith(f"{part}.")
            if own and value.origin.is_the_user_s and now[other] not in wanted:
                best = next(iter(wanted))
                lines.append(f"{key} has no effect: it counts only with {other}={best}, and that is {now[other]}")
    return lines
