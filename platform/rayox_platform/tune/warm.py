"""Whether a campaign can learn from an earlier one."""

from collections.abc import Mapping

from rayox_model.core.errors import ConfigError
from rayox_platform.config.settings import leaves, settings
from rayox_platform.tune.campaign import BLIND, Campaign
from rayox_platform.tune.campaign_state import State

NAMED = 3  # settings in a note
ELSEWHERE = ("name", "storage", "tracking.", "notify.", "data.train.nodes", "train.nodes", "train.spares")


def check_related(earlier: State, campaign: Campaign, config: Mapping[str, object]) -> list[str]:
    """What is worth knowing of scores that were measured elsewhere. config is that of the trials to come.

    Raises ConfigError when the earlier campaign searched other settings alone, or for other metrics.
    """
    name = earlier.campaign.name
    if list(earlier.campaign.metrics.items()) != list(campaign.metrics.items()):
        raise ConfigError(
            f"--warm-from: {name} searched for {_told(earlier.campaign)}, this campaign for {_told(campaign)}",
            "a search learns from the same metrics alone: set `metrics` alike or leave --warm-from out",
        )
    if not set(earlier.campaign.space) & set(campaign.space):
        raise ConfigError(
            f"--warm-from: {name} searched none of this campaign's settings ({', '.join(campaign.space)})",
            "name a campaign that did, or leave --warm-from out",
        )
    notes = []
    if campaign.search.kind in BLIND:
        notes.append(f"--warm-from has no effect: search {campaign.search.kind} learns from no trial")
    before, now = (dict(leaves(tree, settings())) for tree in (earlier.config, config))
    searched = {*earlier.campaign.space, *campaign.space}
    others = [key for key in now if before.get(key) != now[key] and key not in searched]
    others = [key for key in others if not key.startswith(ELSEWHERE)]
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        notes.append(
            f"--warm-from: the trials of {name} had other settings ({', '.join(others[:NAMED])}{more}): "
            "their scores may not compare with those to come"
        )
    return notes


def _told(campaign: Campaign) -> str:
    return ", ".join(f"{metric} ({direction})" for metric, direction in campaign.metrics.items())
