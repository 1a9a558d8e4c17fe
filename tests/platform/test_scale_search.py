"""What a user reads of skipped steps, from summaries made by hand."""

from rayox_platform.runs.event_kinds import Progress
from rayox_platform.train.scale_search import ScaleSearch


def said(*summaries):
    search = ScaleSearch()
    return [search.said(progress(float(skipped), scale)) for skipped, scale in summaries]


def progress(skipped, scale):
    rates = {"learning_rate": 0.01, "data_seconds": 0.0, "images_per_second": 20.0, "data_wait_fraction": 0.1}
    return Progress(step=5, epoch=0, loss_total=9.0, skipped_steps=skipped, gradient_scale=scale, **rates)


def test_the_search_is_told_once_and_its_end_once():
    assert said((1, 65536.0), (8, 256.0), (0, 128.0), (0, 128.0)) == [
        "fp16: the scale is being found, now 65536: 1 step skipped so far, which changed no weight (train.loss_scale)",
        None,
        "fp16: the scale is found, 128, after 9 steps skipped",
        None,
    ]


def test_later_tries_at_a_larger_scale_are_no_search():
    assert said((0, 128.0), (1, 256.0), (0, 128.0)) == [None, None, None]


def test_other_precisions_have_no_scale():
    assert said((0, None)) == [None]
