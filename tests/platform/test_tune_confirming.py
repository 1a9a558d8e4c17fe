"""Who is confirmed where several metrics are searched for, and what is said of those that no confirmation measures."""

from tune_toys import BASE, campaign

from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.confirmation import candidates
from rayox_platform.tune.confirming import traded
from rayox_platform.tune.ledger_records import Finished, Opened, Planned, Reported, Started


def searched(*trials: tuple[float, float]) -> State:
    """AP and parameters of whole trials, the base recipe's first."""
    settings = campaign("none", metrics={"AP": "max", "parameters": "min"}, confirm={"top": 2})
    state = State()
    state.apply(Opened(campaign=settings.model_dump(mode="json"), config=BASE, version="0"), 1.0)
    for number, (accuracy, parameters) in enumerate(trials):
        state.apply(Planned(trial=number, values={}, seed=0, run=f"t{number}"), 1.0)
        state.apply(Started(trial=number, until=9), 1.0)
        state.apply(Reported(trial=number, epoch=9, metrics={"AP": accuracy, "parameters": parameters}), 1.0)
        state.apply(Finished(trial=number), 1.0)
    return state


def test_those_come_first_that_no_other_beats_in_all_metrics():
    state = searched((0.50, 900e3), (0.56, 2.2e6), (0.55, 2.3e6), (0.49, 400e3))
    assert [trial.number for trial in candidates(state)] == [0, 1, 3], "trial 2 is larger than 1 and worse"


def test_what_they_weigh_is_said_beside_the_verdict():
    state = searched((0.50, 900e3), (0.56, 2.2e6), (0.49, 400e3))
    (told,) = traded(state)
    assert told == "parameters in the search: trial 1 2,200,000, trial 2 400,000, the base recipe 900,000"
    assert traded(searched((0.5, 1.0)))[0].endswith("the base recipe 1")
