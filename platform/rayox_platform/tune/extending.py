"""`rayox tune --extend N`: a campaign goes on with more trials, or says why none would begin."""

from collections.abc import Callable
from dataclasses import replace

from rayox_platform.tune.budget import nothing_to_gain, why_no_more
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger_records import Extended

ANY_NUMBER = 10**6  # of trials at a time: the confirmation takes at least what it takes then


def extension(state: State, extend: int, say: Callable[[str], None]) -> Extended | None:
    """So many trials more, also where stop_when has ended the search; None, and say says why, if none would begin."""
    begun, trials = len(state.search), state.campaign.budget.trials + extend
    stopped = nothing_to_gain(state)
    is_lifted = bool(stopped) or begun < state.regardless  # by this extension, or one before that goes on
    if stopped:
        trials = begun + extend
        say(f"--extend {extend}: {extend} more trials are trained, although the search had ended ({stopped})")
    longer = Extended(budget={"trials": trials}, given=["budget.trials"], regardless=trials if is_lifted else 0)
    after = replace(state)
    after.apply(longer, state.last)
    why = why_no_more(after, ANY_NUMBER)
    if why is None:
        return longer
    grid = "all points of the grid are trials; another campaign may have more of them (search.points)"
    population = "a population stays as large as it began; another campaign may have a larger one"
    reasons = {"the points": grid, "schedule.p": f"{why}: {population}"}
    said = next((text for start, text in reasons.items() if why.startswith(start)), f"{why} is used up; raise it too")
    say(f"--extend {extend} begins no trial: {said}")
    return None
