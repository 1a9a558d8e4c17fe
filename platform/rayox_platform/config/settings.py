"""The table of all settings, read off the typed tree: what each takes, its default and what it is for."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import pydantic_core
from pydantic import BaseModel

from rayox_platform.config.documentation import field_docs
from rayox_platform.config.tree import Config

JsonSchema = Mapping[str, Any]
KIND = "kind"  # the setting that says which kind of several a section is


class Setting(NamedTuple):
    """One key of the tree: a setting, or a section of settings."""

    key: str  # dotted
    takes: str  # "a whole number ≥ 1"
    description: str
    default: object  # as JSON; a section's is None
    is_section: bool
    is_text: bool  # takes text as it stands, or nothing
    schema: JsonSchema
    kinds: tuple[str, ...] = ()  # of its section's kinds those that have it; empty: the section is of one kind

    @property
    def is_secret(self) -> bool:
        """Whether it may hold a credential: messages leave its value out."""
        return any(kind.get("writeOnly", False) for kind in self.schema.get("anyOf", [self.schema]))


Settings = Mapping[str, Setting]


@cache
def settings() -> Settings:
    """Every section and setting by its dotted key, in the order of the tree; the root section is the key ""."""
    schema = json_schema()
    root = Setting("", "settings", "", None, True, False, schema)
    table = {"": root}
    table.update((setting.key, setting) for setting in _walk(Config, schema, schema["$defs"], default_values(), ""))
    return table


@cache
def json_schema() -> JsonSchema:
    """The JSON schema of the tree, with every field's description."""
    schema = Config.model_json_schema()
    for section in _sections(Config):
        target = schema if section is Config else schema["$defs"][section.__name__]
        for name, description in field_docs(section).items():
            if name in target["properties"]:
                target["properties"][name]["description"] = description
    return schema


def default_values() -> dict[str, Any]:
    values: dict[str, Any] = Config().model_dump(mode="json")
    return values


def leaves(values: Mapping[str, Any], table: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(key, value) of every setting of a nested mapping of all of them."""
    for name, value in values.items():
        key = prefix + name
        if table[key].is_section:
            yield from leaves(value, table, key + ".")
        else:
            yield key, value


def nearest(key: str, table: Settings) -> str | None:
    """The setting that somebody who wrote this key may have meant."""
    known = [name for name in table if name]
    section, _, name = key.rpartition(".")
    in_place = closest(name, [other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == section])
    if in_place:
        return f"{section}.{in_place}" if section else in_place
    same_name = [other for other in known if other.rpartition(".")[2] == name]
    return same_name[0] if len(same_name) == 1 else closest(key, known)


def closest(word: str, words: Iterable[str]) -> str | None:
    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.7)
    return found[0] if found else None


def kind_key(key: str, table: Settings) -> str | None:
    """The setting that says which kind a section is, of a setting that only some kinds have; else None."""
    return f"{key.rpartition('.')[0]}.{KIND}" if table[key].kinds else None


def _kinds_of(annotation: object) -> tuple[type, ...]:
    """The classes a section may be of, told apart by their `kind`; none for what is not a section."""
    members = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    classes = tuple(member for member in members if isinstance(member, type) and typing.get_origin(member) is None)
    sections = [one for one in classes if dataclasses.is_dataclass(one) or issubclass(one, BaseModel)]
    return classes if len(sections) == len(members) else ()


def _fields(section: type) -> Iterator[tuple[str, object]]:
    hints = typing.get_type_hints(section)
    if issubclass(section, BaseModel):
        return ((name, hints[name]) for name in section.model_fields)
    assert dataclasses.is_dataclass(section)
    return ((field.name, hints[field.name]) for field in dataclasses.fields(section))


def _sections(section: type) -> Iterator[type]:
    yield section
    for _, annotation in _fields(section):
        for below in _kinds_of(annotation):
            yield from _sections(below)


def _walk(
    section: type, schema: JsonSchema, definitions: JsonSchema, defaults: Mapping[str, Any], prefix: str
) -> Iterator[Setting]:
    for name, annotation in _fields(section):
        key, field = prefix + name, schema["properties"][name]
        description = field.get("description", "")
        kinds = _kinds_of(annotation)
        if kinds:
            yield Setting(key, "settings below it", description, None, True, False, field)
        if len(kinds) == 1:
            yield from _walk(kinds[0], definitions[kinds[0].__name__], definitions, defaults[name], key + ".")
        elif kinds:
            yield from _of_kinds(kinds, definitions, key + ".", defaults[name][KIND])
        else:
            yield Setting(key, takes(field), description, defaults[name], False, _is_text(field), field)


def _of_kinds(kinds: tuple[type, ...], definitions: JsonSchema, prefix: str, default: str) -> Iterator[Setting]:
    """The settings of a section of several kinds, each once; KIND first, and of one that several have the first's."""
    found: dict[str, Setting] = {}
    for section in kinds:
        values = pydantic_core.to_jsonable_python(section())
        for one in _walk(section, definitions[section.__name__], definitions, values, prefix):
            before = found.get(one.key, one)
            found[one.key] = before._replace(kinds=(*before.kinds, values[KIND]))
    names = [kind for one in found.values() for kind in one.kinds if one.key == prefix + KIND]
    choice = found.pop(prefix + KIND)
    yield choice._replace(takes="one of " + ", ".join(names), default=default, schema={"enum": names}, kinds=())
    for one in found.values():
        of_all = set(one.kinds) == set(names)
        about = "" if of_all else f"{' and '.join(one.kinds)}: "
        yield one._replace(description=about + one.description, kinds=() if of_all else one.kinds)


def _is_text(schema: JsonSchema) -> bool:
    kinds = schema.get("anyOf", [schema])
    return all(kind.get("type") in ("string", "null") and "const" not in kind and "enum" not in kind for kind in kinds)


def takes(schema: JsonSchema) -> str:
    """What a value has to be, in words that follow "is not"."""
    if "anyOf" in schema:
        first, *others = [kind for kind in schema["anyOf"] if kind.get("type") != "null"]
        return " or ".join([takes(first)] + [_takes_beside(first, other) for other in others])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if schema["type"] == "array" and "prefixItems" in schema:
        return "[" + ", ".join(takes(item).removeprefix("a ") for item in schema["prefixItems"]) + "]"
    if schema["type"] == "array":
        return "a list, each " + takes(schema["items"])
    words = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
    return words[schema["type"]] + _range(schema)


def _takes_beside(first: JsonSchema, other: JsonSchema) -> str:
    return "[a, b] of two such" if other.get("prefixItems") == [first, first] else takes(other)


def _range(schema: JsonSchema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[name]}" for name, sign in signs.items() if name in schema]
    if "multipleOf" in schema:
        bounds.append(f"a multiple of {schema['multipleOf']}")
    return (" " + ", ".join(bounds)) if bounds else ""
