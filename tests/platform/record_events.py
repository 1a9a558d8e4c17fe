"""Events of a made-up training with numbers that can be checked, and the check that MLflow has each of them once."""

from rayox_platform.config.tree import Tracking as TrackingSettings
from rayox_platform.runs.event_kinds import Epoch, Progress

CURVES = ("loss_total", "loss_iou", "images_per_second", "AP")
EVERY = 1.0  # seconds of the events' clock between two points by step


def progress(step: int) -> Progress:
    values = {name: step + place / 10 for place, name in enumerate(CURVES[:3])}
    rates = {"learning_rate": 0.01, "data_seconds": 0.0, "data_wait_fraction": 0.1}
    return Progress(time=1000.0 + step * EVERY, step=step, epoch=step // 10, **rates, **values)


def epoch(number: int) -> Epoch:
    metrics = {name: number + place / 10 for place, name in enumerate(CURVES)}
    return Epoch(time=1000.5 + number * 10 * EVERY, epoch=number, step=number * 10, metrics=metrics)


def settings(**given: float) -> TrackingSettings:
    return TrackingSettings.model_validate({"step_seconds": EVERY, "flush_seconds": 60.0} | given)


def assert_whole(tracking, steps: int, epochs: int) -> None:
    """Every point once, by key and step, with its own value and time."""
    for place, name in enumerate(CURVES):
        if place < 3:
            points = tracking.client.get_metric_history(tracking.run_id, f"system/step/{name}")
            expected = [(step, step + place / 10, 1000000 + int(step * EVERY * 1000)) for step in range(1, steps + 1)]
            assert sorted((one.step, one.value, one.timestamp) for one in points) == expected, name
        points = tracking.client.get_metric_history(tracking.run_id, name)
        assert sorted((one.step, one.value) for one in points) == [
            (number, number + place / 10) for number in range(1, epochs + 1)
        ], name
