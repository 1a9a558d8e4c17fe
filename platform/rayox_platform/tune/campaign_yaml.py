"""A campaign's file as plain values, each with the line it comes from; what it extends lies below it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml import MappingNode, Node, ScalarNode

from rayox_model.core.errors import ConfigError
from rayox_platform.config.origin import Finding, Origin, Rank
from rayox_platform.config.recipe import EXTENDS, RecipeFile, find_recipe, missing_recipe
from rayox_platform.config.yaml_values import compose, describe_error, is_null, line_of, plain

# What a plain value of a section stands for.
SHORT = {"search": "kind", "schedule": "kind", "budget": "trials", "stop_when": "expected_gain"}
Path_ = tuple[str, ...]  # of keys, from the root


@dataclass
class Located:
    """Values with their origins."""

    file: Origin  # of what is written nowhere in it
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path_, Origin] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    set_nodes: list[tuple[Node, Origin, Path]] = field(default_factory=list)  # of `set`, the lowest first

    def origin(self, path: Path_) -> Origin:
        """Where the value there is written, or the nearest one around it."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, Origin(Rank.DEFAULT))

    def lay(self, path: Path_, value: object, origin: Origin) -> None:
        """Put a value in its place, which other sections may share; `search: gp` is `search: {kind: gp}`."""
        if len(path) == 1 and path[0] in SHORT and not isinstance(value, Mapping):
            path = (path[0], SHORT[path[0]])
        section = self.values
        for part in path[:-1]:
            inside = section.get(part)
            section[part] = dict(inside) if isinstance(inside, Mapping) else {}
            section = section[part]
        section[path[-1]] = value
        self.origins = {known: where for known, where in self.origins.items() if known[: len(path)] != path}
        self.origins[path] = origin


def read_campaign_yaml(name: str, packaged: Path) -> tuple[Located, Path]:
    """The values of a campaign, and the folder its paths are relative to. Raises ConfigError when there is none."""
    found = find_recipe(name, packaged)
    if found is None:
        text = missing_recipe(name, packaged).replace("recipe", "campaign")
        raise ConfigError(f"campaign {name!r}: {text}", "give a packaged name or a YAML file")
    files = [found]
    located = Located(Origin(Rank.FILE, found.shown))
    roots: list[tuple[MappingNode, RecipeFile]] = []
    while files:
        file = files.pop()
        root = _root(file, located)
        if root is None:
            continue
        roots.insert(0, (root, file))
        parent = _parent(root, file, packaged, located)
        if parent and parent.path.resolve() in [seen.path.resolve() for _, seen in roots]:
            located.findings.append(Finding(Origin(Rank.FILE, file.shown), EXTENDS, "campaigns extend each other"))
        elif parent:
            files.append(parent)
    for root, file in roots:
        _read(root, file, located, Rank.FILE if file == found else Rank.EXTENDS)
    return located, found.path.parent


def _root(file: RecipeFile, located: Located) -> MappingNode | None:
    try:
        root = compose(file.path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        line, text = describe_error(error)
        located.findings.append(Finding(Origin(Rank.FILE, file.shown, line or 0), "", text))
        return None
    except (OSError, UnicodeDecodeError) as error:
        located.findings.append(Finding(Origin(Rank.FILE, file.shown), "", f"not readable: {error}"))
        return None
    if root is not None and not isinstance(root, MappingNode):
        text = "a campaign is settings, one `key: value` a line"
        located.findings.append(Finding(Origin(Rank.FILE, file.shown, line_of(root)), "", text))
        return None
    return root


def _parent(root: MappingNode, file: RecipeFile, packaged: Path, located: Located) -> RecipeFile | None:
    named = next((value for key, value in root.value if key.value == EXTENDS), None)
    root.value = [(key, value) for key, value in root.value if key.value != EXTENDS]
    if named is None:
        return None
    found = find_recipe(str(named.value), packaged, file.path.parent) if isinstance(named, ScalarNode) else None
    if found is None:
        text = missing_recipe(str(named.value), packaged).replace("recipe", "campaign")
        located.findings.append(Finding(Origin(Rank.FILE, file.shown, line_of(named)), EXTENDS, text))
    return found


def _read(root: MappingNode, file: RecipeFile, located: Located, rank: Rank) -> None:
    seen: dict[str, int] = {}
    for key, value in root.value:
        name, origin = str(key.value), Origin(rank, file.shown, line_of(key), file.packaged)
        if name in seen:
            located.findings.append(Finding(origin, name, f"given twice, first in line {seen[name]}"))
            continue
        seen[name] = line_of(key)
        if name == "set" and not isinstance(value, MappingNode) and not is_null(value):
            text = "takes settings of the recipe, one `key: value` a line, not a value"
            located.findings.append(Finding(origin, name, text))
            continue
        if name == "set":
            located.set_nodes.append((value, origin, file.path))
            continue
        located.origins[(name,)] = origin
        _lay(located, (name,), value, file, rank)


def _lay(located: Located, path: Path_, node: Node, file: RecipeFile, rank: Rank) -> None:
    """Sections are merged key by key; a dimension of the space and the metrics replace what they extend."""
    origin = Origin(rank, file.shown, line_of(node), file.packaged)
    if isinstance(node, MappingNode):
        located.findings += _given_twice(path, node, origin)
    whole = path[0] == "metrics" or len(path) == 2 or (isinstance(node, MappingNode) and not node.value)
    if not isinstance(node, MappingNode) or whole:
        try:
            located.lay(path, plain(node), origin)
        except yaml.YAMLError as error:
            located.findings.append(Finding(origin, ".".join(path), describe_error(error)[1]))
        return
    for key, value in node.value:
        _lay(located, (*path, str(key.value)), value, file, rank)


def _given_twice(path: Path_, node: MappingNode, origin: Origin) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        name, line = str(key.value), line_of(key)
        if name in seen:
            yield Finding(
                origin._replace(line=line), ".".join((*path, name)), f"given twice, first in line {seen[name]}"
            )
        seen.setdefault(name, line)
