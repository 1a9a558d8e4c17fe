"""A campaign read, laid over by the command line, and checked whole with the recipe it starts from."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from yaml import Node

from rayox_model.core.errors import ConfigError
from rayox_platform.config.layer import read_value
from rayox_platform.config.load import LoadedConfig, load_config
from rayox_platform.config.origin import Finding, Origin, Rank, ReadLayer
from rayox_platform.config.settings import closest, leaves, settings, takes
from rayox_platform.config.yaml_values import compose, line_of, plain
from rayox_platform.tune.campaign import Campaign, dimension, ordered
from rayox_platform.tune.campaign_yaml import Located, read_campaign_yaml
from rayox_platform.tune.fulfilled import unfulfilled, wrong_constraint
from rayox_platform.tune.space_check import wrong_ends, wrong_entries

OWN = frozenset(Campaign.model_fields)
MEASURED = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR_1", "AR_10", "AR_100")
METRICS = (*MEASURED, "AR_small", "AR_medium", "AR_large", "parameters", "milliseconds")
MOST_POINTS = 1_000_000  # of a grid, whose order is mixed anew for each trial
BETWEEN = 9  # values of a range that are tried: of image_size only multiples of 32 can be had
HINT = "`rayox config explain KEY` says what a setting takes; jobs/README.md shows a campaign"


@dataclass(frozen=True)
class LoadedCampaign:
    campaign: Campaign
    base: LoadedConfig  # the recipe, with `set` and the command line over it
    given: frozenset[str] = frozenset()  # what the command line has: "budget.trials", or "train.epochs" of the recipe

    def named(self, name: str) -> "LoadedCampaign":
        """The same under another name."""
        return replace(self, campaign=Campaign.model_validate(self.campaign.model_dump() | {"name": name}))


def load_campaign(
    name: str, overrides: Sequence[str], *, packaged: Path, recipes: Path, environ: Mapping[str, str]
) -> LoadedCampaign:
    """Read a campaign (a packaged name or a YAML file) with overrides of its own settings and of its recipe's.

    packaged and recipes are the folders of packaged campaigns and recipes. Raises ConfigError with everything wrong.
    """
    located, folder = read_campaign_yaml(name, packaged)
    if any(not finding.key for finding in located.findings):  # nothing can be said of a file that cannot be read
        raise ConfigError("\n".join(map(str, located.findings)), HINT)
    own = [override for override in overrides if _is_own(override)]
    for override in own:
        _override(located, override)
    findings = located.findings
    located.values.setdefault("name", Path(name).stem)
    findings += [
        Finding(located.origin(("space", key)), f"space.{key}", text)
        for key, text in wrong_entries(_space(located.values))
    ]
    campaign, wrong = _validated(located)
    findings += wrong
    base = _base(located, campaign, [one for one in overrides if one not in own], folder, recipes, environ)
    if campaign and base and not findings:
        findings += list(_against(campaign, base, located))
    if findings or campaign is None or base is None:
        findings.sort(key=lambda finding: finding.origin)
        raise ConfigError("\n".join(map(str, findings)), HINT)
    origins = {".".join(path): origin for path, origin in located.origins.items()} | dict(base.origins)
    given = frozenset(key for key, origin in origins.items() if origin.rank == Rank.COMMAND_LINE)
    whole = campaign.model_dump() | {"recipe": _whole_recipe(located, campaign.recipe, folder)}
    return LoadedCampaign(Campaign.model_validate(whole), base, given)


def _is_own(override: str) -> bool:
    return override.partition("=")[0].partition(".")[0] in OWN


def _override(located: Located, override: str) -> None:
    key, equals, text = override.partition("=")
    origin = Origin(Rank.COMMAND_LINE)
    first, _, rest = key.partition(".")
    path: tuple[str, ...] = (first,)
    if rest:
        path = (first, rest) if first in ("space", "metrics") else (first, *rest.split("."))
    node = compose(text) if equals else None
    if node is None:
        located.findings.append(Finding(origin, key, "has no value; write key=value"))
        return
    located.lay(path, plain(node), origin)


def _space(values: Mapping[str, Any]) -> Mapping[str, Any]:
    space = values.get("space")
    return space if isinstance(space, Mapping) else {}


def _validated(located: Located) -> tuple[Campaign | None, list[Finding]]:
    values = dict(located.values)
    metrics = values.get("metrics")
    if isinstance(metrics, str):
        values["metrics"] = {metrics: "max" if metrics in MEASURED or metrics[:2] == "AR" else "min"}
    try:
        campaign = Campaign.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        return None, [_finding(detail, located) for detail in error.errors(include_url=False)]
    return campaign, list(_own_rules(campaign, located))


def _finding(detail: Any, located: Located) -> Finding:
    path = tuple(str(part) for part in detail["loc"])
    key, origin = ".".join(path), located.origin(path)
    if detail["type"] == "extra_forbidden":
        known = [".".join((*path[:-1], name)) for name in _properties(path[:-1])]
        meant = closest(path[-1], [name.rpartition(".")[2] for name in known])
        near = f"; did you mean {'.'.join((*path[:-1], meant))}?" if meant else ""
        return Finding(origin, key, f"no such setting of a campaign{near or '; known are ' + ', '.join(known)}")
    schema = _schema_at(path)
    shown = json.dumps(detail["input"])
    if schema is None or schema.get("type") == "object":
        return Finding(origin, key, f"{shown} does not fit: {detail['msg'].lower()}")
    return Finding(origin, key, f"{shown} is not {takes(schema)}")


def _properties(path: tuple[str, ...]) -> Mapping[str, Any]:
    schema = _schema_at(path) if path else Campaign.model_json_schema()
    found: Mapping[str, Any] = (schema or {}).get("properties", {})
    return found


def _schema_at(path: tuple[str, ...]) -> Any:
    """The JSON schema of a campaign's setting; None where there is none."""
    whole = Campaign.model_json_schema()
    schema: Any = whole
    for part in path:
        schema = schema.get("properties", {}).get(part)
        if schema is None:
            return None
        if "$ref" in schema:
            schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _own_rules(campaign: Campaign, located: Located) -> Iterator[Finding]:
    if not campaign.space:
        given = located.origin(("space",))
        yield Finding(located.file if given.rank == Rank.DEFAULT else given, "space", "names no setting to search")
    origin = located.origin(("constraints",))
    yield from (Finding(origin, key, text) for text in campaign.constraints for key, text in wrong_constraint(text))
    for name in campaign.metrics:
        if name not in METRICS:
            meant = closest(name, METRICS)
            near = f"; did you mean {meant}?" if meant else f"; known are {', '.join(METRICS)}"
            yield Finding(located.origin(("metrics", name)), "metrics", f"{name!r} is not measured{near}")
    if not campaign.metrics:
        yield Finding(located.origin(("metrics",)), "metrics", "names nothing to search for")
    elif campaign.first_metric not in METRICS[:-2]:
        text = f"{campaign.first_metric} is not known before the end; name a COCO metric first"
        yield Finding(located.origin(("metrics",)), "metrics", text)
    if len(campaign.metrics) > 1 and campaign.search.kind == "grid":
        yield Finding(located.origin(("search",)), "search", "grid takes one metric; use nsga2, tpe, gp or random")
    stop = campaign.stop_when
    for name in ("expected_gain", "below_noise"):
        if getattr(stop, name) and len(campaign.metrics) > 1:
            yield Finding(located.origin(("stop_when", name)), f"stop_when.{name}", "takes one metric; use no_gain_for")
    if campaign.budget.cost and not campaign.price.node_hour:
        yield Finding(located.origin(("budget", "cost")), "budget.cost", "needs price.node_hour")


def _base(
    located: Located,
    campaign: Campaign | None,
    overrides: Sequence[str],
    folder: Path,
    recipes: Path,
    environ: Mapping[str, str],
) -> LoadedConfig | None:
    recipe = _whole_recipe(located, campaign.recipe if campaign else located.values.get("recipe", "shapes"), folder)
    given = located.origin(("recipe",))
    try:
        return load_config(recipe, overrides, packaged=recipes, environ=environ, over=list(_set_layers(located)))
    except ConfigError as error:
        if given.rank == Rank.DEFAULT or not error.message.startswith("recipe "):
            located.findings += [_passed_on(line) for line in error.message.splitlines()]
        else:
            located.findings.append(Finding(given, "recipe", error.message.partition(": ")[2]))
        return None


def _whole_recipe(located: Located, recipe: object, folder: Path) -> str:
    """A path in a campaign's file is relative to that file's folder; a packaged name stays as it is."""
    text = str(recipe)
    if not ("/" in text or text.endswith((".yaml", ".yml"))):
        return text
    in_file = located.origin(("recipe",)).rank in (Rank.FILE, Rank.EXTENDS)
    return str((folder / text if in_file else Path(text)).absolute())


def _passed_on(line: str) -> Finding:
    """A finding of the recipe, which has its place in its text."""
    where, _, text = line.partition("  ")
    return Finding(Origin(Rank.COMMAND_LINE, where) if where == "command line" else Origin(Rank.FILE, where), "", text)


def _set_layers(located: Located) -> Iterator[ReadLayer]:
    for node, origin, _ in located.set_nodes:
        yield read_value(node, settings()[""], settings(), partial(_at_line, origin))


def _at_line(origin: Origin, node: Node) -> Origin:
    return origin._replace(line=line_of(node))


def _against(campaign: Campaign, base: LoadedConfig, located: Located) -> Iterator[Finding]:
    """What the recipe's settings refuse of the space."""
    try:
        ordered([dimension(key, given) for key, given in campaign.space.items()])
    except ValueError as circle:
        yield Finding(located.origin(("space",)), "space", f"conditions go in a circle: {circle}")
        return
    values = dict(leaves(base.config.model_dump(mode="json"), settings()))
    for one in campaign.dimensions:
        where = located.origin(("space", one.key))
        needed = {key: wanted[0] for key, wanted in one.when}
        wrong = list(dict.fromkeys(wrong_ends(base.config, one.key, one.ends(), needed)))
        between = wrong_ends(base.config, one.key, one.points(BETWEEN), needed)
        for text in wrong or islice(between, 1):
            yield Finding(where, f"space.{one.key}", text)
        for key, wanted in one.when:
            other = next(other for other in campaign.dimensions if other.key == key)
            if other.kind in ("float", "log"):
                yield Finding(
                    where, f"space.{one.key}", f"when: {key} is searched in a range, of which no value returns"
                )
            for value in wanted:
                if not other.has(value):
                    yield Finding(where, f"space.{one.key}", f"when: {key} is never {json.dumps(value)}")
    if campaign.search.kind == "grid":
        points = math.prod(len(one.points(campaign.search.points)) for one in campaign.dimensions)
        if points > MOST_POINTS:
            text = f"a grid of {points:,} points is more than {MOST_POINTS:,}; lower search.points or use random"
            yield Finding(located.origin(("search",)), "search", text)
            return
    unset = [
        key for rule in campaign.rules for key in rule.keys if values.get(key) is None and key not in campaign.space
    ]
    for key in dict.fromkeys(unset):
        yield Finding(located.origin(("constraints",)), "constraints", f"{key} has no value in the recipe")
    if not unset:
        for text in unfulfilled(campaign, values):
            yield Finding(located.origin(("constraints",)), "constraints", text)
    if campaign.schedule.kind != "none":
        yield from _schedule_fits(campaign, base.config.train.epochs, located)


def _schedule_fits(campaign: Campaign, epochs: int, located: Located) -> Iterator[Finding]:
    schedule = campaign.schedule
    for key, value in (("min_epochs", schedule.min_epochs), ("every", schedule.every)):
        if value > epochs:
            origin = located.origin(("schedule", key))
            yield Finding(origin, f"schedule.{key}", f"{value} is more than train.epochs {epochs}")
    if any(rung > epochs for rung in schedule.rungs) or list(schedule.rungs) != sorted(set(schedule.rungs)):
        origin = located.origin(("schedule", "rungs"))
        yield Finding(origin, "schedule.rungs", f"{list(schedule.rungs)} do not rise up to train.epochs {epochs}")
