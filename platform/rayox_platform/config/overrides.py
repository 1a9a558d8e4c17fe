"""Settings from the environment (`RAYOX_TRAIN__EPOCHS=3`) and the command line (`train.epochs=3`)."""

from collections.abc import Mapping, Sequence

import yaml
from yaml import Node

from rayox_platform.config.layer import read_value, unknown
from rayox_platform.config.origin import Finding, Origin, Rank, ReadLayer, Value
from rayox_platform.config.settings import Setting, Settings, closest, nearest
from rayox_platform.config.yaml_values import compose, describe_error

PREFIX = "RAYOX_"
RESERVED = ("RAYOX_STATE", "RAYOX_ADDRESS", "RAYOX_DEBUG", "RAYOX_PLAIN_RAY", "RAYOX_CLUSTER_ID", "RAYOX_SUBMISSION")
"""Variables that are not settings: the state folder, the cluster's address, tracebacks on the terminal."""


def read_environment(environ: Mapping[str, str], table: Settings) -> ReadLayer:
    """Every RAYOX_ variable is a setting, or reserved, or a finding; sections are separated by two underscores."""
    read = [
        _read_variable(name, environ[name], table)
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in RESERVED
    ]
    return _joined(read)


def read_command_line(overrides: Sequence[str], table: Settings) -> ReadLayer:
    """The later of two values for a key counts."""
    return _joined([_read_override(override, table) for override in overrides])


def _read_variable(name: str, text: str, table: Settings) -> ReadLayer:
    key = name.removeprefix(PREFIX).lower().replace("__", ".")
    origin = Origin(Rank.ENV, name)
    if key and key in table:
        return _read_text(text, table[key], origin, table)
    meant = nearest(key, table)
    variable = variable_of(meant) if meant else closest(name, RESERVED)
    hint = f"; did you mean {variable}?" if variable else ""
    return ReadLayer({}, (Finding(origin, key, f"no such setting{hint}"),))


def variable_of(key: str) -> str:
    return PREFIX + key.upper().replace(".", "__")


def _read_override(override: str, table: Settings) -> ReadLayer:
    key, equals, text = override.partition("=")
    origin = Origin(Rank.COMMAND_LINE)
    if not equals:
        return ReadLayer({}, (Finding(origin, key or "''", "has no value; write key=value"),))
    if not key or key not in table:
        return ReadLayer({}, (unknown(origin, key or "''", table),))
    return _read_text(text, table[key], origin, table)


def _read_text(text: str, setting: Setting, origin: Origin, table: Settings) -> ReadLayer:
    """A text setting takes the text as it stands unless it is quoted; nothing or null unsets it."""
    if setting.is_text and text not in ("", "~", "null") and text[0] not in "'\"":
        return ReadLayer({setting.key: Value(text, origin)})

    def origin_of(_: Node) -> Origin:
        return origin

    try:
        node = compose(text)
    except yaml.YAMLError as error:
        message = f"{'the value' if setting.is_secret else repr(text)} is {describe_error(error)[1]}"
        return ReadLayer({}, (Finding(origin, setting.key, message),))
    if node is None:
        return ReadLayer({} if setting.is_section else {setting.key: Value(None, origin)})
    return read_value(node, setting, table, origin_of)


def _joined(read: Sequence[ReadLayer]) -> ReadLayer:
    values = {key: value for layer in read for key, value in layer.values.items()}
    return ReadLayer(values, tuple(finding for layer in read for finding in layer.findings))
