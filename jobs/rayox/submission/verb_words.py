"""What the words of a verb are, as the verb itself reads them: files it reads, files it writes, settings."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from rayox.submission.job_places import ELSEWHERE, is_shared, local
from rayox.submission.sent_files import SETTINGS
from rayox_model.core.errors import ConfigError, DataError
from rayox_platform.config.recipe import packaged_names

OUTPUTS = frozenset({"output", "page", "fix"})
FILES = frozenset({"gate", "campaign", "recipe"})  # of settings, which go with the job
READ_AS_TEXT = frozenset({"model", "source", "images", "against_images", "annotations", "out"})  # paths or addresses
NAMES_ONLY = ("models", "runs")  # verbs whose MODEL or NAME is never a path


@dataclass(frozen=True)
class VerbWords:
    """A command line of a verb, taken apart."""

    verb: str  # with its command: "data check"
    recipe: str | None = None
    campaign: str | None = None
    name: str | None = None
    overrides: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()  # files, folders and addresses that it reads
    outputs: tuple[str, ...] = ()  # files and folders that it writes
    files: tuple[str, ...] = ()  # of settings, without the recipe and the campaign
    takes_settings: bool = False


def read_words(words: Sequence[str]) -> VerbWords:
    """Take a verb's words apart. Raises click's UsageError, and what refuses a path that only this machine has."""
    context, path = _context(words)
    found: dict[str, list[str]] = {}
    for parameter in context.command.params:
        for value in _texts(context.params.get(str(parameter.name))):
            kind = _kind(path[0], parameter, value)
            if not value and kind in ("input", "output", "file"):
                raise ConfigError(f"{_shown(parameter)}: is empty", "give a path or leave it out")
            if kind == "input" and not value.startswith(ELSEWHERE):
                _check_input(parameter, value)
            if kind == "output":
                _check_output(path, parameter, value)
            found.setdefault(kind, []).append(value)
    if path == ["tune", "report"] and "output" not in found:
        raise ConfigError("-o: is not given, and a report in the job's own folder is thrown away", _WHERE)
    return VerbWords(
        " ".join(path),
        recipe=next(iter(found.get("recipe", ())), None),
        campaign=next(iter(found.get("campaign", ())), None),
        name=context.params.get("name"),
        overrides=tuple(found.get("override", ())),
        inputs=tuple(value for value in found.get("input", ()) if not value.startswith(ELSEWHERE)),
        outputs=tuple(found.get("output", ())),
        files=tuple(found.get("file", ())),
        takes_settings=any(parameter.name in ("overrides", "words") for parameter in context.command.params),
    )


_WHERE = "give the whole path of a place in a folder that all nodes share"


def _context(words: Sequence[str]) -> tuple[click.Context, list[str]]:
    """The words as the verb's command has parsed them, and the names that lead to it."""
    from rayox.cli import cli

    command: click.Command = cli
    context, rest = click.Context(cli, info_name="rayox"), list(words)
    path: list[str] = []
    while isinstance(command, click.Group):
        if not rest:
            raise click.UsageError(f"{' '.join(path)} needs a command", context)
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
        path.append(str(name))
    return command.make_context(path[-1], rest, parent=context.parent), path


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, Path):
        yield re.sub(r"^([a-z0-9]+):/(?=[^/])", r"\1://", str(value))  # which a path takes for one slash too many
    elif value is not None:
        yield str(value)


def _kind(verb: str, parameter: click.Parameter, value: str) -> str:
    name = str(parameter.name)
    if name == "overrides":
        return "override"
    if name == "words":  # FILE, or [RECIPE] [KEY=VALUE]...
        return "override" if "=" in value else "recipe" if _is_recipe(value) else "input"
    if name == "recipe":
        return "override" if "=" in value else "input" if value.endswith(".json") else "recipe"
    if name == "campaign":
        return name
    if name in OUTPUTS:
        return "output"
    if name in FILES:
        return "file"
    if isinstance(parameter.type, click.Path) or (name in READ_AS_TEXT and verb not in NAMES_ONLY):
        return "input"
    return ""


def _is_recipe(value: str) -> bool:
    from rayox.config import RECIPES

    return value.endswith(SETTINGS) or value in packaged_names(RECIPES)


def _check_input(parameter: click.Parameter, value: str) -> None:
    if is_shared(value):
        return
    if parameter.name == "model":
        raise DataError(
            f"MODEL: {value}: lies on this machine, and a job sends no model",
            "give models:/NAME/VERSION or runs:/RUN_ID, an address as s3://…, or the whole path of a folder that every "
            "node has",
        )
    raise local(value, _shown(parameter))


def _check_output(path: list[str], parameter: click.Parameter, value: str) -> None:
    takes_buckets = not isinstance(parameter.type, click.Path)
    if value.startswith("/") or (takes_buckets and is_shared(value)):
        return
    if is_shared(value):
        raise ConfigError(f"{_shown(parameter)}: {value}: {' '.join(path)} writes to folders, not to buckets", _WHERE)
    raise ConfigError(
        f"{_shown(parameter)}: {value} is a relative path, in the job's own folder, which is thrown away",
        _WHERE + (", or s3://bucket/prefix" if takes_buckets else ""),
    )


def _shown(parameter: click.Parameter) -> str:
    return str(parameter.name).upper() if isinstance(parameter, click.Argument) else max(parameter.opts, key=len)
