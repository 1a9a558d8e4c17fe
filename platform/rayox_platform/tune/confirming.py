"""The end of a confirmation: each of its trainings is looked at again on the images that the search never scored."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

from rayox_model.core.errors import DataError
from rayox_platform.config.tree import Config
from rayox_platform.data.resolve import resolve_split
from rayox_platform.evaluate.evaluation import detect_images
from rayox_platform.evaluate.matches import Matches, average_precision, match
from rayox_platform.models.open_model import open_detector
from rayox_platform.resources.node_labels import selector
from rayox_platform.runs.places import open_runs
from rayox_platform.storage.state import state_folder
from rayox_platform.train.from_config import evaluation_settings
from rayox_platform.tune.campaign import CONFIRMED
from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.confirmation import candidates, confirm_move
from rayox_platform.tune.driver import Driver
from rayox_platform.tune.evidence import weigh
from rayox_platform.tune.ledger_records import Confirmed
from rayox_platform.tune.moves import Done


def confirm(driver: Driver, say: Callable[[str], None]) -> None:
    """Weigh the confirmation's trainings once all are done; the ledger gets the verdict, or why there is none.

    One that was stopped has more to come: `--resume` goes on with it.
    """
    state = driver.state
    again = [trial for trial in state.trials if trial.phase == "confirm"]
    is_done = isinstance(confirm_move(state), Done) and all(trial.state in ("finished", "failed") for trial in again)
    if state.confirmed is not None or not (state.confirms and again and is_done):
        return
    say(f"confirming on images that the search never scored: {len(again)} trainings")
    driver.ledger.tell(Confirmed(result=verdict(state, _found(driver, again))))


def verdict(state: State, found: Mapping[int, Matches]) -> Mapping[str, Any]:
    """What the confirmation found, as Confirmed has it. found: what each of its whole trainings detected, by number.

    Trainings that failed are left out, with those of the same seeds, and the sentence says so.
    """
    chosen, settings = candidates(state), state.campaign.confirm
    of_seed = {
        one.number: {
            trial.seed: found[trial.number]
            for trial in sorted(state.trials, key=lambda trial: trial.seed)
            if trial.of == one.number and trial.number in found
        }
        for one in chosen
    }
    base = of_seed.pop(chosen[0].number)
    seeds = _common_seeds(base, of_seed)
    failed = _failures(state, [one.number for one in chosen])
    if not seeds:
        return {"sentence": f"no verdict: {failed}", "winner": None, "compared": []}
    if average_precision(next(iter(base.values()))) < 0:
        return {"sentence": "no verdict: the images of the confirmation have no boxes", "winner": None, "compared": []}
    groups = {number: [runs[seed] for seed in seeds] for number, runs in of_seed.items() if runs.keys() >= set(seeds)}
    first = state.campaign.first_metric
    evidence = weigh(
        [base[seed] for seed in seeds],
        groups,
        samples=settings.samples,
        confidence=settings.confidence,
        metric=first if first in CONFIRMED else "AP",
    ).as_json()
    evidence["sentence"] = "; ".join([evidence["sentence"], *traded(state)])
    if failed:
        missing = [str(number) for number in of_seed if number not in groups]
        without = f"; not compared: trial {', '.join(missing)}" if missing else ""
        evidence["sentence"] += f"; on {len(seeds)} of {settings.seeds} seeds: {failed}{without}"
    return evidence


def traded(state: State) -> list[str]:
    """What the confirmed trials have of the other metrics, which no seed changes or no confirmation measures."""
    base, *others = candidates(state)
    first = state.campaign.first_metric
    found = []
    for name in state.campaign.metrics:
        if name != first:
            values = [f"trial {trial.number} {_value(trial, name)}" for trial in others]
            found.append(f"{name} in the search: {', '.join(values)}, the base recipe {_value(base, name)}")
    return found


def _value(trial: Trial, metric: str) -> str:
    value = trial.reports.get(trial.epoch, {}).get(metric)
    return "–" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _common_seeds(base: Mapping[int, Matches], others: Mapping[int, Mapping[int, Matches]]) -> list[int]:
    """Those of the base recipe that at least one trial has too, as many as can be."""
    return max((sorted(base.keys() & runs.keys()) for runs in others.values()), key=len, default=[])


def _failures(state: State, chosen: Sequence[int]) -> str:
    """In words; empty where nothing has failed."""
    failed = [trial for trial in state.trials if trial.of in chosen and trial.state == "failed"]
    told = [f"{'the base recipe' if one.of == chosen[0] else f'trial {one.of}'} with seed {one.seed}" for one in failed]
    return f"{', '.join(told)} failed ({' '.join(failed[0].why.split())[:200]})" if failed else ""


def _found(driver: Driver, again: Sequence[Trial]) -> Mapping[int, Matches]:
    """What each training that came to its end detects on the images of the confirmation, by the trial's number."""
    gpu, nodes = bool(driver.given and driver.given.gpu), selector(driver.base.train.nodes) or None
    work = ray.remote(num_cpus=1, num_gpus=0.25 if gpu else 0, label_selector=nodes)(_matches)
    done = [trial for trial in again if trial.state == "finished"]
    asked = [work.remote(driver.config_of(trial), trial.checkpoint, str(state_folder())) for trial in done]
    return dict(zip([trial.number for trial in done], ray.get(asked), strict=True))


def _matches(config: Config, checkpoint: str, state: str) -> Matches:
    """Runs as a task of Ray."""
    import os

    os.environ["RAYOX_STATE"] = state
    val, images = resolve_split(str(config.data.val.annotations), config.data.val.images, state_folder())
    home = open_runs(config.storage).home(config.name)
    folder = home.checkpoints.fetch(checkpoint)
    detector = open_detector(str(folder), config.image_size)
    if not len(val):
        raise DataError(f"{val.source}: no images to confirm on", "lower confirm.share")
    return match(val, detect_images(detector, images, range(len(images)), evaluation_settings(config)))
