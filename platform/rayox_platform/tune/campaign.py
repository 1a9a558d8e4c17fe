"""The typed tree of a campaign's own settings. The docstring under a field says what it is for."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field

from rayox_platform.tune.constraints import Constraint, read_constraint
from rayox_platform.tune.space import Dimension

Count = Annotated[int, Ge(1)]
Direction = Literal["max", "min"]
BLIND = ("random", "grid")  # searches that learn from nothing
CONFIRMED = ("AP", "AP50", "AP75")  # what the confirmation can compare


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Search(Section):
    kind: Literal["random", "grid", "tpe", "gp", "nsga2"] = "tpe"
    """Who suggests: all by Optuna."""
    startup: Annotated[int, Ge(0)] = 10
    """First trials drawn at random, before a model of them is trusted; half of them near the base recipe's values."""
    near_base: Annotated[float, Ge(0), Le(1)] = 0.5
    """Share of the startup trials that are drawn near the base recipe's values."""
    points: Annotated[int, Ge(2)] = 4
    """Values of each range in a grid."""
    population: Annotated[int, Ge(2)] = 20
    """Trials of a generation (nsga2)."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of all that is drawn for the search."""


class Schedule(Section):
    kind: Literal["none", "asha", "promote", "median", "hyperband", "pbt"] = "promote"
    """none trains every trial whole; promote pauses all at rungs and lets the best go on; asha ends the others there;
    hyperband is promote with several first rungs; median ends what is below the others' median; pbt trains a
    population, whose worst take over the weights and, changed a little, the values of its best."""
    eta: Annotated[float, Gt(1)] = 3.0
    """One of so many goes on at a rung."""
    min_epochs: Count = 1
    """Epochs of the first rung; before them no trial is judged."""
    rungs: tuple[Count, ...] = ()
    """Epochs to judge at, in place of min_epochs and eta's powers; the last one, the whole training, is added."""
    every: Annotated[int, Ge(0)] = 0
    """Epochs between two judgements (median, pbt); 0 is a fifth of the training."""
    min_trials: Count = 4
    """Other trials that must have come as far (median)."""
    population: Annotated[int, Ge(2)] = 8
    """Trainings side by side (pbt)."""
    quantile: Annotated[float, Gt(0), Le(0.5)] = 0.25
    """Share of the population that takes over from as many of the best (pbt)."""


class Budget(Section):
    """No trial begins beyond any of these; hours, gpu_hours and cost end the search: what trains comes to its rung."""

    trials: Count = 24
    """Trials to begin, the base recipe among them."""
    epochs: Count | None = None
    """Epochs over all trials."""
    hours: Annotated[float, Gt(0)] | None = None
    """Hours of the campaign's drivers, the confirmation's among them; then the search ends, and the confirmation is
    done. `--resume` with more goes on."""
    gpu_hours: Annotated[float, Gt(0)] | None = None
    """Hours of GPUs over all trials."""
    cost: Annotated[float, Gt(0)] | None = None
    """Money, by price.node_hour."""


class StopWhen(Section):
    """No trial begins beyond any of these; what has begun goes on as the schedule has it."""

    expected_gain: Annotated[float, Ge(0)] = 0.0
    """All further trials together are expected to add less than this to the first metric; 0 is off."""
    below_noise: bool = False
    """They are expected to add less than two trainings with the same settings differ by."""
    no_gain_for: Annotated[int, Ge(0)] = 0
    """So many trials one after the other ended without a better one; 0 is off."""
    gain: Annotated[float, Ge(0)] = 0.0
    """Difference from which a trial counts as better for no_gain_for."""


class Confirm(Section):
    top: Annotated[int, Ge(0)] = 3
    """Best trials that are trained again with fresh seeds, against the base recipe; 0 leaves the confirmation out."""
    seeds: Count = 3
    """Trainings of each; one cannot tell a gain from luck."""
    share: Annotated[float, Gt(0), Le(0.9)] = 0.5
    """Share of the val images that the search never scores and the confirmation alone is measured on."""
    samples: Count = 1000
    """Resamples of the paired bootstrap over images."""
    confidence: Annotated[float, Gt(0.5), Le(0.999)] = 0.95
    """Confidence level of the intervals, over all compared trials together."""


class Price(Section):
    node_hour: Annotated[float, Gt(0)] | None = None
    """Money for an hour of one machine."""
    nodes: Count = 1
    """Machines that are paid for."""


class Campaign(Section):
    """Everything that decides a search but the base recipe, kept in the first record of the ledger."""

    name: Annotated[str, Field(min_length=1)] = "campaign"
    """Name of the campaign; by default the file's."""
    recipe: Annotated[str, Field(min_length=1)] = "shapes"
    """The base recipe: a packaged one or a YAML file."""
    space: Mapping[str, Mapping[str, Any]] = {}
    """Settings that are searched: KEY: {float: [low, high]}, {log: [low, high]}, {int: [low, high]} or
    {choice: [a, b, …]}, each perhaps with `when: {OTHER_KEY: value or [values]}`."""
    constraints: tuple[str, ...] = ()
    """What values must fulfil: `KEY <= KEY`, `KEY > NUMBER` or `KEY == TEXT`."""
    metrics: Mapping[str, Direction] = {"AP": "max"}
    """What is searched for: metrics of the evaluation, parameters or milliseconds; the first one judges at rungs."""
    search: Search = Search()
    """Who suggests the next trial."""
    schedule: Schedule = Schedule()
    """Who of them is trained on."""
    budget: Budget = Budget()
    """When it ends."""
    stop_when: StopWhen = StopWhen()
    """When it ends early."""
    confirm: Confirm = Confirm()
    """How its winner is told from luck."""
    price: Price = Price()
    """What a machine costs."""
    concurrency: Count | None = None
    """Most trials at a time; unset: as many as fit."""

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Those that conditions name first."""
        return ordered([dimension(key, given) for key, given in self.space.items()])

    @property
    def rules(self) -> tuple[Constraint, ...]:
        return tuple(rule for rule in map(read_constraint, self.constraints) if rule)

    @property
    def directions(self) -> tuple[Direction, ...]:
        return tuple(self.metrics.values())

    @property
    def first_metric(self) -> str:
        return next(iter(self.metrics))

    @property
    def cautions(self) -> list[str]:
        """What is allowed and rarely meant."""
        found = []
        if len(self.metrics) > 1 and self.schedule.kind not in ("none", "pbt") and self.search.kind not in BLIND:
            found.append(
                f"of several metrics {self.search.kind} learns from whole trials alone, of which "
                f"schedule={self.schedule.kind} makes few; schedule=none trains all whole"
            )
        if self.confirm.top and self.first_metric not in CONFIRMED:
            found.append(f"the confirmation compares AP, not {self.first_metric}")
        if self.confirm.top and self.confirm.seeds == 1:
            found.append("confirm.seeds=1: one seed cannot tell a gain from luck")
        return found


def dimension(key: str, given: Mapping[str, Any]) -> Dimension:
    """From a checked entry of `space`."""
    kind = next(name for name in given if name != "when")
    values = given[kind]
    when = tuple((name, tuple(_listed(wanted))) for name, wanted in (given.get("when") or {}).items())
    if kind == "choice":
        return Dimension(key=key, kind="choice", choices=tuple(values), when=when)
    return Dimension(key=key, kind=kind, low=values[0], high=values[1], when=when)  # type: ignore[arg-type]


def ordered(dimensions: list[Dimension]) -> tuple[Dimension, ...]:
    """Each one behind those its condition names. Raises ValueError for conditions that go in a circle."""
    done: list[Dimension] = []
    waiting = list(dimensions)
    while waiting:
        known = {dimension.key for dimension in done}
        ready = [one for one in waiting if {key for key, _ in one.when} <= known]
        if not ready:
            raise ValueError(", ".join(dimension.key for dimension in waiting))
        done.append(ready[0])
        waiting.remove(ready[0])
    return tuple(done)


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
