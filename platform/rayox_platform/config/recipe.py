"""Recipes: finding one by packaged name or path, and reading it with all it extends."""

from pathlib import Path
from typing import NamedTuple

import yaml
from yaml import MappingNode, Node, ScalarNode

from rayox_model.core.errors import ConfigError
from rayox_platform.config.layer import read_section
from rayox_platform.config.origin import Finding, Origin, Rank, ReadLayer
from rayox_platform.config.settings import Settings, closest
from rayox_platform.config.yaml_values import compose, describe_error, line_of

SUFFIXES = (".yaml", ".yml")
EXTENDS = "extends"


class RecipeFile(NamedTuple):
    path: Path
    shown: str  # as messages call it: packaged ones by file name, others as they were given
    packaged: bool


class Extends(NamedTuple):
    name: str
    origin: Origin


def packaged_names(packaged: Path) -> list[str]:
    return sorted(path.stem for path in packaged.glob("*.yaml"))


def find_recipe(name: str, packaged: Path, folder: Path = Path()) -> RecipeFile | None:
    """A recipe by packaged name, or by path relative to a folder; None when there is none."""
    if not _is_path(name) and name in packaged_names(packaged):
        return RecipeFile(packaged / f"{name}.yaml", f"{name}.yaml", packaged=True)
    path = folder / name
    if not path.is_file():
        return None
    return RecipeFile(path, path.name if folder == packaged else str(path), packaged=folder == packaged)


def missing_recipe(name: str, packaged: Path) -> str:
    """What to say when a recipe is not found."""
    if _is_path(name):
        there = Path(name).parent
        others = [str(path) for suffix in SUFFIXES for path in there.glob(f"*{suffix}")] if there.is_dir() else []
        meant = closest(str(Path(name)), others)
        return f"no such file{_did_you_mean(meant)}"
    names = packaged_names(packaged)
    here = [path.name for suffix in SUFFIXES for path in Path().glob(f"*{suffix}")]
    meant = closest(name, names) or next((file for file in here if Path(file).stem == name), None)
    return f"no such recipe{_did_you_mean(meant)}" if meant else f"no such recipe; packaged are {', '.join(names)}"


def read_recipe(name: str, packaged: Path, table: Settings) -> list[ReadLayer]:
    """The layers of a recipe, what it extends first; raises ConfigError when there is no such recipe."""
    recipe = find_recipe(name, packaged)
    if recipe is None:
        raise ConfigError(f"recipe {name!r}: {missing_recipe(name, packaged)}", "give a packaged name or a YAML file")
    layers: list[ReadLayer] = []
    seen: list[RecipeFile] = []
    rank = Rank.FILE
    while recipe is not None:
        seen.append(recipe)
        layer, extends = _read_file(recipe, rank, table)
        recipe, findings = _follow(extends, seen, packaged) if extends else (None, ())
        layers.insert(0, ReadLayer(layer.values, layer.findings + findings))
        rank = Rank.EXTENDS
    return layers


def _follow(extends: Extends, seen: list[RecipeFile], packaged: Path) -> tuple[RecipeFile | None, tuple[Finding, ...]]:
    """The recipe that the last one seen extends; paths are relative to that one's folder."""
    folder = seen[-1].path.parent
    found = find_recipe(extends.name, packaged, folder)
    if found is None:
        inside = str(folder / extends.name) if _is_path(extends.name) else extends.name
        return None, (Finding(extends.origin, EXTENDS, f"{extends.name!r}: {missing_recipe(inside, packaged)}"),)
    if found.path.resolve() in [recipe.path.resolve() for recipe in seen]:
        chain = " → ".join(recipe.shown for recipe in [*seen, found])
        return None, (Finding(extends.origin, EXTENDS, f"recipes extend each other in a circle: {chain}"),)
    return found, ()


def _read_file(recipe: RecipeFile, rank: Rank, table: Settings) -> tuple[ReadLayer, Extends | None]:
    def origin_of(node: Node) -> Origin:
        return Origin(rank, recipe.shown, line_of(node), recipe.packaged)

    def only(line: int | None, message: str) -> tuple[ReadLayer, None]:
        return ReadLayer({}, (Finding(Origin(rank, recipe.shown, line or 0, recipe.packaged), "", message),)), None

    try:
        root = compose(recipe.path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        return only(*describe_error(error))
    except OSError as error:
        return only(None, f"cannot be read ({error.strerror})")
    except UnicodeDecodeError as error:
        return only(None, f"not readable: {error}")
    if root is None:
        return ReadLayer({}), None
    if not isinstance(root, MappingNode):
        return only(line_of(root), "a recipe is settings, one `key: value` a line")
    parents = [value for key, value in root.value if key.value == EXTENDS]
    root.value = [(key, value) for key, value in root.value if key.value != EXTENDS]
    layer = read_section(root, table[""], table, origin_of)
    if not parents:
        return layer, None
    if len(parents) > 1 or not isinstance(parents[0], ScalarNode) or not parents[0].value:
        finding = Finding(origin_of(parents[-1]), EXTENDS, "takes the name or path of one recipe, once")
        return ReadLayer(layer.values, (*layer.findings, finding)), None
    return layer, Extends(parents[0].value, origin_of(parents[0]))


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith(SUFFIXES)


def _did_you_mean(meant: str | None) -> str:
    return f"; did you mean {meant}?" if meant else ""
