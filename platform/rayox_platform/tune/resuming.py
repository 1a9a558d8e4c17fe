"""Going on with a campaign: what may differ from how it began, which is nothing that decides a trial that there is."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rayox_model.core.errors import ConfigError
from rayox_platform.config.phases import EPOCHS, PHASES
from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.models.bundle import file_digest, folder_digest
from rayox_platform.train.changeable import CHANGEABLE
from rayox_platform.tune.campaign import Campaign, Section
from rayox_platform.tune.campaign_state import State

FREE = ("budget", "stop_when", "confirm", "price", "concurrency")
NOT_ASKED = ("name", "recipe")
WEIGHTS = "model.init"
ELSEWHERE = ("tracking.", "notify.")  # decided by this call, not by the campaign
EVERY = "train.evaluate_every"  # follows from the schedule and the epochs: see trial_config


def check_same(state: State, campaign: Campaign, base: Config, given: frozenset[str]) -> None:
    """Raises ConfigError for settings that would make it another campaign.

    given are those that the command line has; what it has not is the campaign's own, unless its file was changed. The
    file of the recipe may lie elsewhere now, and so may the weights that trials start from: what counts is what they
    contain.
    """
    other = []
    for key, began, now in _differing(state.campaign, campaign):
        if has(given, key):
            why = _refused(state, key, now)
            other += [f"{key}: it began with {began!r}, now {now!r} is given{why}"] if why is not None else []
        elif _is_edit(state, key) and _section(key) not in FREE:
            other.append(f"{key}: it began with {began!r}, now its file says {now!r}")
    other += _other_settings(state, campaign, base, given)
    if other:
        listed = "\n".join(other)
        raise ConfigError(
            f"--resume {state.campaign.name}: this would make it another campaign\n{listed}",
            "give them as it began to go on with it, or begin another one under another --name",
        )


def _other_settings(state: State, campaign: Campaign, base: Config, given: frozenset[str]) -> list[str]:
    """What differs of the recipe, but for what an earlier command line has had and what follows from that."""
    began, weights = dict(leaves(state.config, settings())), weights_digest(base.model.init)
    now = dict(leaves(base.model_dump(mode="json"), settings()))
    known = bool(state.weights and weights)  # no file of this machine, or one that is gone, has no digest
    kept = {key for key in now if not has(given, key) and state.given is not None and has(state.given, key)}
    kept.discard(WEIGHTS)  # which this call says where they lie
    if EPOCHS in kept:
        kept |= {EVERY, *PHASES}
    if campaign.schedule != state.campaign.schedule and not has(given, "schedule"):
        kept.add(EVERY)
    other = []
    for key, value in now.items():
        if key in CHANGEABLE or key.startswith(ELSEWHERE) or key not in began or key in kept:
            continue
        if began[key] != value and not (key == WEIGHTS and known and weights == state.weights):
            other.append(f"{key}: it began with {began[key]!r}, now it is {value!r}")
    if known and weights != state.weights and began[WEIGHTS] == base.model.init:
        other.append(f"{WEIGHTS}: {base.model.init} does not hold the weights that it began with")
    return other


def changes(state: State, campaign: Campaign, given: frozenset[str], say: Callable[[str], None]) -> dict[str, Any]:
    """What is otherwise from here on, as sections of a campaign: what the command line has, and edits of its file.

    Whatever an earlier command line has had stays. What is not taken is said.
    """
    found: dict[str, Any] = {}
    for key, before, now in _differing(state.campaign, campaign):
        is_given, section = has(given, key), _section(key)
        if not is_given and state.given is not None and has(state.given, key):
            continue
        if _refused(state, key, now) is not None or not (is_given or _is_edit(state, key)):
            say(f"{key}: it keeps {before!r}; {now!r} in its file is ignored")
            continue
        if not is_given:
            say(f"{key}: {now!r} from here on, as its file says; it was {before!r}")
        if section == key:
            found[key] = now
        else:
            found.setdefault(section, {})[key.partition(".")[2]] = now
    return found


def has(given: frozenset[str], key: str) -> bool:
    """Whether a setting is among those that a command line has had, itself, its section or a part of it."""
    return any(key == one or key.startswith(f"{one}.") or one.startswith(f"{key}.") for one in given)


def _is_edit(state: State, key: str) -> bool:
    """Whether what differs has been changed in the campaign's file: not if a command line had it, or nobody knows."""
    return state.given is not None and not has(state.given, key)


def _refused(state: State, key: str, now: object) -> str | None:
    """Why a setting cannot be another one; empty where it decides trials, None where it can be."""
    if key == "confirm.share" or (key == "confirm.top" and now and "confirm" not in state.data):
        return "; which images the search scores was settled when it began"
    return None if _section(key) in FREE else ""


def _differing(before: Campaign, now: Campaign) -> Iterator[tuple[str, Any, Any]]:
    """(key, then, now) of all settings that are not the same, but for those nobody asks for."""
    began, given = (dict(_flat(one)) for one in (before, now))
    for key, value in given.items():
        if began.get(key) != value and key not in NOT_ASKED:
            yield key, began.get(key), value


def _flat(campaign: Campaign) -> Iterator[tuple[str, Any]]:
    for name, value in campaign.model_dump(mode="json").items():
        if isinstance(getattr(campaign, name), Section):
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        else:
            yield name, value


def _section(key: str) -> str:
    return key.partition(".")[0]


def weights_digest(init: str | None) -> str:
    """SHA-256 of the file or checkpoint of this machine that trials start from; empty where there is none."""
    if not init or not Path(init).exists():
        return ""
    return folder_digest(Path(init)) if Path(init).is_dir() else file_digest(Path(init))
