"""The end of a confirmation: each of its trainings is looked at again on the images that the search never scored."""

from collections.abc import Callable

import ray

from rayox_model.core.errors import DataError
from rayox_platform.config.tree import Config
from rayox_platform.data.resolve import resolve_split
from rayox_platform.evaluate.evaluation import detect_images
from rayox_platform.evaluate.matches import Matches, match
from rayox_platform.models.open_model import open_detector
from rayox_platform.resources.labels import selector
from rayox_platform.runs.places import open_runs
from rayox_platform.storage.state import state_folder
from rayox_platform.train.from_config import evaluation_settings
from rayox_platform.tune.campaign import CONFIRMED
from rayox_platform.tune.confirmation import candidates
from rayox_platform.tune.driver import Driver
from rayox_platform.tune.evidence import Evidence, weigh
from rayox_platform.tune.records import Confirmed
from rayox_platform.tune.state import State, Trial


def confirm(driver: Driver, say: Callable[[str], None]) -> None:
    """Weigh the confirmation's trainings once all are done, and write the verdict into the ledger."""
    state = driver.state
    again = [trial for trial in state.trials if trial.phase == "confirm"]
    if state.confirmed is not None or not again or any(trial.state not in ("finished", "failed") for trial in again):
        return
    say(f"confirming on images that the search never scored: {len(again)} trainings")
    evidence = evidence_of(driver, again)
    if evidence is not None:
        result = evidence.as_json()
        sentence = "; ".join([result["sentence"], *traded(state)])
        driver.ledger.tell(Confirmed(result=result | {"sentence": sentence}))


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


def evidence_of(driver: Driver, again: list[Trial]) -> Evidence | None:
    """None when the base recipe or every trial has failed with one of the seeds."""
    state, gpu = driver.state, bool(driver.given and driver.given.gpu)
    nodes = selector(driver.base.train.nodes) or None
    work = ray.remote(num_cpus=1, num_gpus=0.25 if gpu else 0, label_selector=nodes)(_matches)
    done = [trial for trial in again if trial.state == "finished"]
    asked = [work.remote(driver.config_of(trial), trial.checkpoint, str(state_folder())) for trial in done]
    found = dict(zip([trial.number for trial in done], ray.get(asked), strict=True))
    groups = {chosen.number: _of(chosen, done, found) for chosen in candidates(state) if _is_whole(state, chosen, done)}
    base = groups.pop(0, None)
    if base is None or not groups:
        return None
    settings = state.campaign.confirm
    first = state.campaign.first_metric
    metric = first if first in CONFIRMED else "AP"
    return weigh(base, groups, samples=settings.samples, confidence=settings.confidence, metric=metric)


def _of(chosen: Trial, done: list[Trial], found: dict[int, Matches]) -> list[Matches]:
    own = sorted((trial for trial in done if trial.of == chosen.number), key=lambda trial: trial.seed)
    return [found[trial.number] for trial in own]


def _is_whole(state: State, chosen: Trial, done: list[Trial]) -> bool:
    return sum(trial.of == chosen.number for trial in done) == state.campaign.confirm.seeds


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
