"""Who is trained again with fresh seeds: the best trials and the base recipe, on images the search never scored."""

from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.ledger_records import Planned
from rayox_platform.tune.moves import Done, Resume, Wait
from rayox_platform.tune.pareto import front

FIRST_SEED = 1000  # beyond the campaign's own: the search has never seen it


def candidates(state: State) -> list[Trial]:
    """The base recipe's trial first, then the best others: those that were trained longest, whole or not.

    Of several metrics those come first that no other trial beats in all of them.
    """
    others = [trial for trial in state.ranked() if trial.number > 0]
    if len(state.campaign.metrics) > 1:
        best = front(state)
        others.sort(key=lambda trial: trial not in best)
    return [*state.search[:1], *others[: state.campaign.confirm.top]]


def confirm_move(state: State) -> Planned | Resume | Wait | Done:
    """The search is over: what the confirmation wants next."""
    confirm = state.campaign.confirm
    chosen = candidates(state)
    if not state.confirms or len(chosen) < 2 or state.confirmed is not None:
        return Done()
    again = [trial for trial in state.trials if trial.phase == "confirm"]
    owed = next((trial for trial in again if trial.owed and trial.state in ("planned", "paused")), None)
    if owed:
        return Resume(owed.number, state.epochs)
    done = {(trial.of, trial.seed) for trial in again}
    base_seed = int(state.config["train"]["seed"])
    for number in range(confirm.seeds):
        for trial in chosen:
            seed = base_seed + FIRST_SEED + number
            if (trial.number, seed) not in done:
                name = f"{state.campaign.name}-{trial.number:03d}-s{seed}"
                return Planned(
                    trial=len(state.trials), values=trial.values, seed=seed, run=name, phase="confirm", of=trial.number
                )
    return Wait() if any(trial.state == "running" for trial in again) else Done()
