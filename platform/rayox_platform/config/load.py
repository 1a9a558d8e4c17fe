"""A recipe with everything laid over it, checked whole: defaults < extends < file < RAYOX_… < command line.

Defaults are rayox's own, and over them what variables of other programs say (MLFLOW_TRACKING_URI …).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rayox_model.core.errors import ConfigError
from rayox_platform.config.ecosystem import not_taken, read_ecosystem
from rayox_platform.config.kinds import of_chosen_kinds
from rayox_platform.config.layer import overlay
from rayox_platform.config.origin import Finding, Layer, Origin, Rank, ReadLayer, Value
from rayox_platform.config.overrides import read_command_line, read_environment
from rayox_platform.config.phases import shrunk_phases
from rayox_platform.config.recipe import read_recipe
from rayox_platform.config.rules import ConflictError
from rayox_platform.config.settings import KIND, Settings, leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.config.without_effect import set_in_vain

HINT = "`rayox config explain KEY` says what a setting takes"


@dataclass(frozen=True)
class LoadedConfig:
    """The settings of a run, and where each comes from."""

    config: Config
    origins: Mapping[str, Origin]  # by dotted key, every setting
    notes: tuple[str, ...] = ()  # what was made of them that the user should know

    def given(self, key: str) -> bool:
        """Whether somebody set it: a recipe, the environment or the command line."""
        return self.origins[key].rank != Rank.DEFAULT

    def require(self, *keys: str) -> None:
        """Raise ConfigError unless these settings have a value."""
        values = dict(leaves(self.config.model_dump(mode="json"), settings()))
        findings = [Finding(self.origins[key], key, "has no value") for key in keys if values[key] is None]
        if findings:
            example = " ".join(f"{finding.key}=…" for finding in findings)
            raise ConfigError("\n".join(map(str, findings)), f"give {example}")


def load_config(
    recipe: str | None,
    overrides: Sequence[str] = (),
    *,
    packaged: Path,
    environ: Mapping[str, str],
    over: Sequence[ReadLayer] = (),
) -> LoadedConfig:
    """Read a recipe (a packaged name or a YAML file; None is the defaults alone) and lay the overrides over it.

    packaged is the folder of the packaged recipes; over are layers right above the recipe. Raises ConfigError with
    everything that is wrong, one line each.
    """
    table = settings()
    read = read_recipe(recipe, packaged, table) if recipe else []
    read += [*over, read_environment(environ, table), read_command_line(overrides, table)]
    layers = [_named_after(recipe), read_ecosystem(environ).values, *(layer.values for layer in read)]
    phases, note = shrunk_phases(layers, table)
    values, misplaced = of_chosen_kinds(overlay([*layers, phases]), table)
    config, wrong = _validated(values, table)
    wrong += misplaced
    findings = [finding for layer in read for finding in layer.findings] + wrong
    if findings or config is None:
        findings.sort(key=lambda finding: finding.origin)
        raise ConfigError("\n".join(map(str, findings)), HINT)
    default = Origin(Rank.DEFAULT)
    keys = (key for key, setting in table.items() if not setting.is_section)
    origins = {key: values[key].origin if key in values else default for key in keys}
    given = {key for key, origin in origins.items() if origin.rank != Rank.DEFAULT}
    notes = ([note] if note else []) + not_taken(environ, given, config.tracking.uri)
    notes += set_in_vain(values, dict(leaves(config.model_dump(mode="json"), table)))
    return LoadedConfig(config, origins, tuple(notes))


def _named_after(recipe: str | None) -> Layer:
    """The run and the registered model are by default called as the recipe."""
    if recipe is None:
        return {}
    named = Value(Path(recipe).stem, Origin(Rank.DEFAULT))
    return {"name": named, "tracking.model": named}


def _validated(values: Layer, table: Settings) -> tuple[Config | None, list[Finding]]:
    """By way of JSON, where strict types are what one expects: a list is a tuple, true is not a number."""
    try:
        return Config.model_validate_json(json.dumps(_nested(values)), strict=True), []
    except ValidationError as error:
        found = {str(finding): finding for finding in _findings(error, values, table)}
        return None, list(found.values())


def _nested(values: Layer) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        section = tree
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = value.value
    return tree


def _findings(error: ValidationError, values: Layer, table: Settings) -> Iterator[Finding]:
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, ConflictError):
            for conflict in cause.conflicts:
                key = max(conflict.keys, key=lambda key: _origin(key, values).rank)
                yield Finding(_origin(key, values), key, conflict.message.removeprefix(f"{key} "))
            continue
        key = setting_at(detail["loc"], table)
        if detail["type"] == "union_tag_invalid":
            key = f"{key}.{KIND}"
        if isinstance(cause, ValueError):
            yield _refused(key, str(cause), values, table)
        else:
            value = values[key].value if key in values else None
            shown = "the value" if table[key].is_secret and value is not None else _shown(value)
            yield Finding(_origin(key, values), key, f"{shown} is not {table[key].takes}")


def _refused(key: str, message: str, values: Layer, table: Settings) -> Finding:
    """A section's own check begins its message with the setting's name."""
    name, colon, rest = message.partition(": ")
    if colon and f"{key}.{name}" in table:
        key, message = f"{key}.{name}", rest
    return Finding(_origin(key, values), key, message)


def setting_at(location: tuple[int | str, ...], table: Settings) -> str:
    """The setting that pydantic's location lies in; behind it come list indices and the kinds of a union."""
    key = ""
    for part in location:
        longer = f"{key}.{part}" if key else str(part)
        if longer in table:
            key = longer
        elif f"{key}.{KIND}" not in table:  # else it is the name of a section's kind
            break
    return key


def _origin(key: str, values: Layer) -> Origin:
    """Where a setting comes from, or what was set last in a section."""
    inside = [value.origin for name, value in values.items() if name == key or name.startswith(f"{key}.")]
    return max(inside, key=lambda origin: origin.rank, default=Origin(Rank.DEFAULT))


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"
