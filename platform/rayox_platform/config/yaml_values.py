"""YAML as settings are written in it: plain values with their lines.

Scalars follow YAML 1.2 (`no` is text, `1e-3` a number); anchors, tags and several documents in a file are refused.
"""

import re
from typing import cast

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

_NULL, _BOOL, _INT, _FLOAT, _STR = (f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str"))


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own attribute

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            mark = cast(yaml.Mark, event.start_mark)
            raise yaml.MarkedYAMLError(None, None, "aliases are not allowed; use extends", mark)
        return super().compose_node(parent, index)


for _tag, _pattern, _first in (
    (_NULL, r"~|null|", ["~", "n", ""]),
    (_BOOL, r"true|false", ["t", "f"]),
    (_INT, r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), _first)


def compose(text: str) -> Node | None:
    """The tree of a text of one document, None when it is empty; raises yaml.YAMLError."""
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def line_of(node: Node) -> int:
    return int(node.start_mark.line) + 1


def plain(node: Node) -> object:
    """The node as JSON has it; raises yaml.MarkedYAMLError for a tag of another type."""
    match node:
        case SequenceNode():
            return [plain(item) for item in node.value]
        case MappingNode():
            return {str(key.value): plain(value) for key, value in node.value}
        case ScalarNode(tag=tag, value=text):
            if tag == _NULL:
                return None
            if tag == _BOOL:
                return bool(text == "true")
            if tag == _INT:
                return int(text)
            if tag == _FLOAT:
                return float(text)
            if tag == _STR:
                return text
    raise yaml.MarkedYAMLError(problem=f"the tag {node.tag} is not allowed", problem_mark=node.start_mark)


def is_null(node: Node) -> bool:
    return bool(node.tag == _NULL)


def has_foreign_tag(node: MappingNode) -> bool:
    """Whether a mapping says that it is something else, such as a Python object."""
    return bool(node.tag != "tag:yaml.org,2002:map")


def describe_error(error: yaml.YAMLError) -> tuple[int | None, str]:
    """(line, what is wrong) of a text that is not YAML."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return (mark.line + 1 if mark else None), f"not readable as YAML: {error.problem or error.context}"
    return None, f"not readable as YAML: {str(error).splitlines()[0]}"
