"""What a campaign may learn from, and what of its own settings is rarely meant."""

import pytest
from simulate import play
from tune_toys import BASE, SPACE, campaign, curve

from rayox_model.core.errors import ConfigError
from rayox_platform.tune.warm import check_related


def earlier(**more):
    return play(campaign("none", "random", 4, **more), BASE, curve).state


def test_a_campaign_of_the_same_kind_is_learnt_from():
    assert check_related(earlier(), campaign(), BASE) == []


def test_other_metrics_and_other_settings_are_refused():
    with pytest.raises(ConfigError, match=r"campaign searched for AP \(max\), this campaign for AP50 \(max\)"):
        check_related(earlier(), campaign(metrics={"AP50": "max"}), BASE)
    with pytest.raises(ConfigError, match=r"searched none of this campaign's settings \(train.beta2\)"):
        check_related(earlier(), campaign(space={"train.beta2": {"float": [0.9, 0.99]}}), BASE)


def test_scores_that_may_not_compare_are_warned_of():
    (told,) = check_related(earlier(), campaign(), BASE | {"image_size": [96, 96], "storage": "s3://runs"})
    assert "had other settings (image_size): their scores may not compare" in told
    (told,) = check_related(earlier(), campaign(search="random"), BASE)
    assert told == "--warm-from has no effect: search random learns from no trial"
    more = SPACE | {"train.beta2": {"float": [0.9, 0.99]}}
    assert check_related(earlier(), campaign(space=more), BASE) == [], "what is searched may differ"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, []),
        ({"metrics": {"AP": "max", "parameters": "min"}}, ["of several metrics tpe learns from whole trials alone"]),
        ({"metrics": {"AP": "max", "parameters": "min"}, "schedule": {"kind": "none"}}, []),
        ({"metrics": {"AP_small": "max"}}, ["the confirmation compares AP, not AP_small"]),
        ({"metrics": {"AP_small": "max"}, "confirm": {"top": 0}}, []),
        ({"confirm": {"seeds": 1}}, ["confirm.seeds=1: one seed cannot tell a gain from luck"]),
    ],
)
def test_what_is_rarely_meant_is_said(settings, said):
    found = campaign(**settings).cautions
    assert [caution[: len(part)] for caution, part in zip(found, said, strict=True)] == said
