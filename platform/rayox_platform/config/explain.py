"""The settings as text: every value with its origin, and what each setting is for."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rayox_model.core.errors import ConfigError
from rayox_platform.config.load import LoadedConfig
from rayox_platform.config.settings import Setting, Settings, nearest, settings
from rayox_platform.config.yaml_values import compose, plain

SOURCE_COLUMN = 48


def show(loaded: LoadedConfig) -> str:
    """The whole tree as YAML that reads back, each value's origin behind it as a comment."""
    values = loaded.config.model_dump(mode="json")
    return "\n".join(_lines(values, settings(), loaded, "", 0))


def as_json(loaded: LoadedConfig) -> dict[str, Any]:
    return {
        "config": loaded.config.model_dump(mode="json"),
        "sources": {key: str(origin) for key, origin in loaded.origins.items()},
    }


def _lines(values: Mapping[str, Any], table: Settings, loaded: LoadedConfig, prefix: str, depth: int) -> Iterator[str]:
    for name, value in values.items():
        key, indent = prefix + name, "  " * depth
        if table[key].is_section:
            yield f"{indent}{name}:"
            yield from _lines(value, table, loaded, key + ".", depth + 1)
        else:
            yield f"{indent}{name}: {yaml_text(value)}".ljust(SOURCE_COLUMN) + f"  # {loaded.origins[key]}"


def yaml_text(value: object) -> str:
    """A value on one line, text without quotes where YAML reads it back as the same text."""
    if isinstance(value, str):
        bare = value.isprintable() and not value.startswith(tuple("\"'[]{}>|*&!%#`@,?- ")) and " #" not in value
        if bare and ": " not in value and not value.endswith((":", " ")) and plain_text(value) == value:
            return value
    return json.dumps(value, ensure_ascii=False)


def plain_text(text: str) -> object:
    node = compose(text)
    return None if node is None else plain(node)


def find_setting(key: str) -> Setting:
    """Raises ConfigError when there is none of that key."""
    table = settings()
    if key and key in table:
        return table[key]
    meant = nearest(key, table)
    hint = f"did you mean {meant}?" if meant else f"the sections are {', '.join(_below('', table))}"
    raise ConfigError(f"{key}: no such setting", hint)


def explain(key: str) -> str:
    """What a setting is for, takes and is by default; of a section, the settings in it."""
    setting, table = find_setting(key), settings()
    if setting.is_section:
        width = max(len(name) for name in _below(key, table))
        return "\n".join(
            [f"{key}: {setting.description}"]
            + [f"  {name:{width}}  {table[name].description}" for name in _below(key, table)]
        )
    unset = " (unset)" if setting.default is None else ""
    return "\n".join(
        [
            f"{key}: {setting.description}",
            f"  takes    {setting.takes}",
            f"  default  {yaml_text(setting.default)}{unset}",
        ]
    )


def explain_json(key: str) -> dict[str, Any]:
    setting, table = find_setting(key), settings()
    if setting.is_section:
        return {"key": key, "description": setting.description, "settings": list(_below(key, table))}
    return {
        "key": key,
        "description": setting.description,
        "takes": setting.takes,
        "default": setting.default,
        "schema": dict(setting.schema),
    }


def _below(key: str, table: Settings) -> list[str]:
    return [name for name in table if name and name.rpartition(".")[0] == key]
