"""`rayox data show`: the batch of a step, as the stream would have made it; one image through the epochs."""

import cv2
import numpy as np
import pytest

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.block import block_samples
from rayox_model.core.plan import StreamPlan
from rayox_platform.data.look import step_samples
from rayox_platform.data.resolve import resolve_split


@pytest.fixture
def shown(rayox, toy_data):
    data = [f"data.train.annotations={toy_data / 'train.json'}", f"data.train.images={toy_data / 'images'}"]

    def run(*more):
        small = ["image_size=64", "data.lanes=4", "train.batch_size=8"]
        return rayox("data", "show", "scratch", *data, *small, *more, "--json")

    return run


@pytest.mark.slow
def test_a_step_s_samples_are_those_of_the_stream_whatever_its_windows(toy_data):
    _, images = resolve_split(str(toy_data / "train.json"), str(toy_data / "images"), toy_data)
    settings = {"num_images": 20, "batch_size": 8, "lanes": 4, "epochs": 3, "seed": 7, "closing_epochs": 1}
    augment = Augment(mosaic_scale=(0.5, 1.5))
    stream = StreamPlan(**settings, window_steps=4)
    made = [
        [sample.image.tobytes() for sample in block_samples(images, stream, window, lane, augment, (64, 64))]
        for window in range(stream.num_windows)
        for lane in range(4)
    ]
    for step in (0, 3, 5, 8):
        again = step_samples(images, StreamPlan(**settings, window_steps=2), step, augment, (64, 64))
        window = stream.window_of(step)
        start = 2 * (step - stream.steps(window).start)
        lanes = made[4 * window : 4 * window + 4]
        assert [one.sample.image.tobytes() for one in again] == [s for lane in lanes for s in lane[start : start + 2]]


def test_it_draws_the_batch_and_lists_its_images(shown):
    said = shown("--step", "4")
    assert said.exit_code == 0, said.err
    samples = said.result["samples"]
    assert [sample["epoch"] for sample in samples] == [1] * 8
    assert [sample["position"] for sample in samples] == list(range(8, 16))
    assert len({sample["image"] for sample in samples}) == 8
    picture = cv2.imread("show.jpg")
    assert picture.shape == (2 * 416, 4 * 416, 3)
    assert np.ptp(picture) > 100


@pytest.mark.slow
def test_one_image_is_followed_through_the_epochs(shown):
    said = shown("--index", "5", "-o", "five.png")
    samples = said.result["samples"]
    assert [sample["epoch"] for sample in samples] == list(range(7))
    assert {sample["file"] for sample in samples} == {"train5.png"}
    assert cv2.imread("five.png") is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--step", "4000"), "--step 4000: the run has steps 0 to 89"),
        (("--index", "20"), "--index 20: the data set has images 0 to 19"),
        ((), "give --step N or --index I"),
        (("--step", "1", "--index", "1"), "give --step N or --index I"),
        (("--step", "1", "-o", "nowhere/show.jpg"), "nowhere/show.jpg cannot be written as a picture"),
        (("--step", "1", "-o", "show.txt"), "show.txt cannot be written as a picture"),
    ],
)
def test_what_cannot_be_drawn_is_one_message(shown, words, message):
    said = shown(*words)
    assert said.exit_code == 2
    assert message in said.err
    assert "Traceback" not in said.err
