"""The epochs at which trials are judged."""

from rayox_platform.tune.campaign import Schedule


def rungs(schedule: Schedule, epochs: int, first: int | None = None) -> tuple[int, ...]:
    """Rising; the last is the whole training. By powers of eta from the first on, unless they are given."""
    if schedule.rungs:
        return (*(rung for rung in schedule.rungs if rung < epochs), epochs)
    found: list[int] = []
    rung = float(first or schedule.min_epochs)
    while round(rung) < epochs:
        found.append(round(rung))
        rung *= schedule.eta
    return (*dict.fromkeys(found), epochs)


def brackets(schedule: Schedule, epochs: int) -> list[tuple[int, ...]]:
    """Hyperband's: the rungs of promote, and those again without the first, the first two … (arXiv:1603.06560)."""
    whole = rungs(schedule, epochs)
    return [whole[start:] for start in range(len(whole))]


def interval(schedule: Schedule, epochs: int) -> int:
    """Epochs between two judgements of median and pbt."""
    return schedule.every or max(1, round(epochs / 5))
