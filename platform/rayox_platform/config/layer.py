"""One source's settings, read against the table of all settings: unknown keys, doubled keys and misplaced groups."""

from collections.abc import Callable, Iterator

import yaml
from yaml import MappingNode, Node, ScalarNode

from rayox_platform.config.origin import Finding, Layer, Origin, ReadLayer, Value
from rayox_platform.config.settings import Setting, Settings, nearest
from rayox_platform.config.yaml_values import describe_error, has_foreign_tag, is_null, line_of, plain

OriginOf = Callable[[Node], Origin]


def unknown(origin: Origin, key: str, table: Settings) -> Finding:
    meant = nearest(key, table)
    return Finding(origin, key, "no such setting" + (f"; did you mean {meant}?" if meant else ""))


def read_section(node: MappingNode, section: Setting, table: Settings, origin_of: OriginOf) -> ReadLayer:
    """The values below a section of a source; what is wrong with one key does not hide the others."""
    values: dict[str, Value] = {}
    findings: list[Finding] = []
    first_lines: dict[str, int] = {}
    for name_node, value_node in node.value:
        name = str(name_node.value) if isinstance(name_node, ScalarNode) else str(plain(name_node))
        key = f"{section.key}.{name}" if section.key else name
        origin = origin_of(name_node)
        if name in first_lines:
            findings.append(Finding(origin, key, f"given twice, first in line {first_lines[name]}"))
            continue
        first_lines[name] = line_of(name_node)
        if key not in table:
            findings.append(unknown(origin, key, table))
            continue
        read = read_value(value_node, table[key], table, origin_of)
        values.update(read.values)
        findings.extend(read.findings)
    return ReadLayer(values, tuple(findings))


def read_value(node: Node, setting: Setting, table: Settings, origin_of: OriginOf) -> ReadLayer:
    """The value of one setting, or the values of a section; an empty section sets nothing."""
    origin = origin_of(node)
    if not setting.is_section:
        try:
            return ReadLayer({setting.key: Value(_content(node, setting), origin)})
        except yaml.YAMLError as error:
            return ReadLayer({}, (Finding(origin, setting.key, describe_error(error)[1]),))
    if isinstance(node, MappingNode) and not has_foreign_tag(node):
        return read_section(node, setting, table, origin_of)
    if is_null(node):
        return ReadLayer({})
    names = ", ".join(_names_below(setting, table))
    message = f"takes settings of its own ({names}), not a value"
    return ReadLayer({}, (Finding(origin, setting.key, message),))


def overlay(layers: list[Layer]) -> dict[str, Value]:
    """All layers as one: of two values of a key the later layer's."""
    merged: dict[str, Value] = {}
    for layer in layers:
        merged.update(layer)
    return merged


def _content(node: Node, setting: Setting) -> object:
    """A text setting takes a scalar as it is written: `name: 2024` needs no quotes."""
    if setting.is_text and isinstance(node, ScalarNode) and not is_null(node):
        return node.value
    return plain(node)


def _names_below(section: Setting, table: Settings) -> Iterator[str]:
    return (key.rpartition(".")[2] for key in table if key.rpartition(".")[0] == section.key)
