"""A campaign's winner as a recipe, with its evidence in the header."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from rayox_model.core.errors import ConfigError
from rayox_platform.config.recipe import EXTENDS, find_recipe, packaged_names
from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.space_check import with_values
from rayox_platform.tune.words import count

# Where things lie, and what campaigns do for their own sake.
NOT_OF_THE_WINNER = ("name", "storage", "data.", "tracking.", "notify.", "train.evaluate_every", "train.spares")


def winning_trial(state: State, number: int | None = None) -> Trial:
    """The confirmed winner, or the trial of a number. Raises ConfigError where there is nothing to write down."""
    name = state.campaign.name
    if number is not None:
        return _numbered(state, number)
    if state.confirmed is None:
        raise ConfigError(
            f"{name}: its winner has not been confirmed", "let the campaign end, or name a trial by --trial"
        )
    winner = state.confirmed["winner"]
    if winner is None:
        raise ConfigError(f"{name}: {state.confirmed['sentence']}", "keep the recipe, or name a trial by --trial")
    return state.trials[int(winner)]


def trained_whole(state: State, trial: Trial) -> Trial:
    """A trial, or where it has paused at a rung for good, the first of its confirmation that came to its end."""
    if trial.state == "finished":
        return trial
    again = (one for one in state.trials if one.of == trial.number and one.state == "finished")
    return next(again, trial)


def _numbered(state: State, number: int) -> Trial:
    """A trial of the search by its number: those of a confirmation have numbers between them."""
    found = next((trial for trial in state.trials if trial.number == number), None)
    if found and found.phase == "search":
        return found
    name = state.campaign.name
    if not state.search:
        raise ConfigError(f"--trial {number}: {name} has no trials yet", "let it train some")
    there = f"the search has trials {_ranges([trial.number for trial in state.search])}"
    if found:
        raise ConfigError(
            f"--trial {number}: that is a training of {name}'s confirmation, of trial {found.of}; {there}",
            f"give --trial {found.of} for its values",
        )
    raise ConfigError(f"--trial {number}: {name} has no such trial; {there}", "give one of these")


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers in words: "0 to 12 and 25"."""
    ends: list[list[int]] = []
    for number in numbers:
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    words = [f"{first} to {last}" if last > first else str(first) for first, last in ends]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def as_recipe(state: State, trial: Trial, base: str, settings: dict[str, object]) -> str:
    """YAML that extends the base recipe with these settings, whose keys are dotted."""
    lines = [
        f"# Trial {trial.number} of the campaign {state.campaign.name}: {base} with searched settings.",
        f"# evidence: {_evidence(state, trial)}",
        f"# search:   {state.campaign.search.kind} with {state.campaign.schedule.kind}, "
        f"{count(len(state.search), 'trial')}, {count(state.epochs_trained, 'epoch')}",
        f"# run:      {trial.run}",
        f"extends: {base}",
    ]
    tree: dict[str, object] = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        section = tree
        for part in sections:
            section = section.setdefault(part, {})  # type: ignore[assignment]
        section[name] = value
    return "\n".join(lines) + "\n" + yaml.safe_dump(tree, sort_keys=False, default_flow_style=None)


def base_name(recipe: str, folder: Path, packaged: Path) -> str:
    """What the new recipe extends, as seen from its folder."""
    if recipe in packaged_names(packaged):
        return recipe
    path = Path(recipe).absolute()
    return str(path.relative_to(folder.absolute())) if path.is_relative_to(folder.absolute()) else str(path)


def _evidence(state: State, trial: Trial) -> str:
    compared = state.confirmed["compared"] if state.confirmed else ()
    own = next((one for one in compared if one["trial"] == trial.number), None)
    if state.confirmed and own:
        is_the_one = state.confirmed["winner"] == trial.number
        return " ".join(str(state.confirmed["sentence"]).split()) if is_the_one else _of_another(state.confirmed, own)
    if trial.state == "failed":
        return f"none: it failed ({' '.join(trial.why.split())})"
    score = state.score(trial)
    value = f"{state.campaign.first_metric} {state.sign * score:.4f}" if math.isfinite(score) else "no score"
    return f"{value} after {count(trial.epoch, 'epoch')} with one seed; not confirmed, it may be luck"


def _of_another(confirmed: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """What a confirmation has found of one that is not its winner."""
    seeds, can_tell = confirmed["seeds"], confirmed["seeds"] > 1 and confirmed["images"] > 1
    told = "beats" if own["lower"] > 0 and can_tell else "does not beat"
    scores = f"{confirmed.get('metric', 'AP')} {own['score']:.3f} against {confirmed['base_score']:.3f}"
    return (
        f"trial {own['trial']} {told} the base recipe beyond noise: {scores}, "
        f"{own['difference']:+.3f} ({own['lower']:+.3f} to {own['upper']:+.3f}, "
        f"{confirmed['confidence']:.0%} interval over {count(confirmed['images'], 'image')} that the search never "
        f"scored and {count(seeds, 'fresh seed')})"
    )


def own_settings(state: State, trial: Trial, recipe: Config) -> dict[str, object]:
    """What the trial had and the recipe has not, but for where things lie; then the searched settings."""
    plain = dict(leaves(recipe.model_dump(mode="json"), settings()))
    whole = with_values(Config.model_validate(dict(state.config)), trial.values).model_dump(mode="json")
    own = {
        key: value
        for key, value in leaves(whole, settings())
        if (key not in plain or value != plain[key]) and not key.startswith(NOT_OF_THE_WINNER)
    }
    return {key: value for key, value in own.items() if key not in trial.values} | dict(trial.values)


def write_recipe(text: str, output: Path, check: Callable[[Path], None], keep: Sequence[Path], force: bool) -> None:
    """Write a recipe where it belongs, whole and checked or not at all.

    check raises where a file is not a recipe that can be trained. keep are files that are never written over, force or
    not. Raises ConfigError.
    """
    if any(output.exists() and path.exists() and output.samefile(path) for path in keep):
        raise ConfigError(f"-o: {output} is what the new recipe extends, and would be lost", "name another file")
    if output.exists() and not force:
        raise ConfigError(f"-o: {output} exists", "name another file, or replace it by --force")
    draft = output.with_name(f".{output.stem}-{os.getpid()}.yaml")
    try:
        draft.write_text(text, encoding="utf-8")
        check(draft)
        draft.replace(output)
    except OSError as error:
        raise ConfigError(f"-o: {output} cannot be written ({error.strerror})", "name another file") from error
    except ConfigError as error:
        said = error.message.replace(str(draft), output.name)
        raise ConfigError(f"-o: {output} is not written: it would not be a recipe\n{said}", error.hint) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def recipe_files(recipe: str, packaged: Path) -> list[Path]:
    """The files of a recipe that can be loaded: its own, and those that it extends."""
    files: list[Path] = []
    found = find_recipe(recipe, packaged)
    while found and found.path not in files:
        files.append(found.path)
        tree = yaml.safe_load(found.path.read_text(encoding="utf-8"))
        parent = tree.get(EXTENDS) if isinstance(tree, dict) else None
        found = find_recipe(str(parent), packaged, found.path.parent) if parent else None
    return files
