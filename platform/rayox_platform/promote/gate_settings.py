"""The gate's own settings: what a candidate has to show, read from a gate.yaml."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Gt, Lt
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml import MappingNode, Node, SequenceNode

from rayox_model.core.errors import ConfigError
from rayox_platform.config.settings import closest
from rayox_platform.config.values import Count, Fraction, Text
from rayox_platform.config.yaml_values import compose, describe_error, line_of, plain

DEFAULT = Path(__file__).with_name("gate.yaml")
Metric = Literal[
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR_1",
    "AR_10",
    "AR_100",
    "AR_small",
    "AR_medium",
    "AR_large",
]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GateData(Part):
    annotations: Text | None = None
    images: Text | None = None


class Change(Part):
    metric: Literal["AP", "AP50", "AP75"] = "AP"
    margin: Fraction = 0.02
    confidence: Annotated[float, Gt(0.5), Lt(1)] = 0.95
    resamples: Annotated[int, Ge(100)] = 1000
    require: Literal["not_worse", "better"] = "not_worse"


class Classes(Part):
    floors: Mapping[str, Fraction] = {}
    largest_drop: Fraction | None = 0.1
    fewest_boxes: Count = 10


class Latency(Part):
    p95_milliseconds: Annotated[float, Gt(0)] | None = None
    device: Text | None = None


class Size(Part):
    megabytes: Annotated[float, Gt(0)] | None = None


class Thresholds(Part):
    precision: Annotated[float, Gt(0), Lt(1)] | None = None


class Gate(Part):
    """What a candidate has to show; the packaged gate.yaml says what each part means."""

    data: GateData = GateData()
    floors: Mapping[Metric, Fraction] = {"AP": 0.05}
    change: Change = Change()
    classes: Classes = Classes()
    latency: Latency = Latency()
    size: Size = Size()
    thresholds: Thresholds = Thresholds()
    compatibility: Literal["superset", "same", "any"] = "superset"
    lineage: tuple[Literal["run", "data", "settings", "code"], ...] = ("run", "data", "settings", "code")
    leaks: Literal["refuse", "ignore"] = "refuse"


def read_gate(path: Path | None) -> Gate:
    """A gate from its file, by default the packaged one. Raises ConfigError naming every line that is wrong."""
    path = path or DEFAULT
    try:
        root = compose(path.read_text(encoding="utf-8"))
        values = {} if root is None else plain(root)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--gate: {path} cannot be read ({error})", f"copy {DEFAULT} and change it") from None
    except yaml.YAMLError as error:
        line, text = describe_error(error)
        raise ConfigError(f"{path}{f':{line}' if line else ''}  {text}", f"copy {DEFAULT} and change it") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a gate is made of settings, this file holds a {type(values).__name__}", _HINT)
    try:
        return Gate.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_wrong(path, root, error)), _HINT) from None


_HINT = f"what there is, with a line on each: {DEFAULT}"


def _wrong(path: Path, root: Node | None, error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_url=False):
        location = detail["loc"]
        key = ".".join(map(str, location))
        where = f"{path}:{_line(root, location)}"
        if detail["type"] == "extra_forbidden":
            meant = closest(str(location[-1]), _names_beside(location))
            yield f"{where}  {key}: no such setting" + (f"; did you mean {meant}?" if meant else "")
        else:
            yield f"{where}  {key}: {detail['input']!r} is refused: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _names_beside(location: tuple[int | str, ...]) -> list[str]:
    part: Any = Gate
    for name in location[:-1]:
        part = part.model_fields[name].annotation
    return list(part.model_fields)


def _line(node: Node | None, location: tuple[int | str, ...]) -> int:
    """The line of a key, or of the nearest part around it."""
    line = 1
    for name in location:
        if isinstance(node, MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(name)), None)
            if found is None:
                return line
            line, node = line_of(found[0]), found[1]
        elif isinstance(node, SequenceNode) and isinstance(name, int) and name < len(node.value):
            node = node.value[name]
            line = line_of(node)
    return line
