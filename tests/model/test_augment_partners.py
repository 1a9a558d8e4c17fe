"""Partners of a window: the same samples however the stream is cut, from the lane's own images, decoded once."""

from collections import Counter

import cv2
import numpy as np
import pytest

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.block import block_samples
from rayox_model.augment.partners import DecodedOnce, Partners, draw_partners, of_window, whole_dataset
from rayox_model.core.plan import StreamPlan
from rayox_model.core.samples import Sample

pytestmark = pytest.mark.usefixtures("shapes_unchecked")
SIZE = (32, 48)
WINDOWED = Augment(partners="window")


class CountedImages:
    """Flat images, each of its own colour, with a box each unless `boxes` is false. Counts what is decoded."""

    def __init__(self, num_images=53, boxes=True, size=(48, 60)):
        self.image_size = size
        self.num_images = num_images
        self.boxes = np.array([[4, 4, 40, 40]] * boxes, np.float32).reshape(-1, 4)
        self.decoded = Counter()

    def __len__(self):
        return self.num_images

    def size(self, index):
        return self.image_size

    def annotations(self, index):
        return self.boxes, np.full(len(self.boxes), index)

    def load(self, index):
        self.decoded[index] += 1
        return Sample(
            np.full((*self.image_size, 3), (index, 255 - index, 7 * index % 256), np.uint8), *self.annotations(index)
        )


def plan(**changes):
    settings = {"num_images": 53, "batch_size": 16, "lanes": 4, "epochs": 3, "seed": 4, "closing_epochs": 1}
    return StreamPlan(**(settings | {"window_steps": 3, "partner_steps": 3} | changes))


def whole_windows(stream_plan):
    """Those of full length, which are partner windows too; the first ones of a run are parts of one."""
    windows = range(stream_plan.num_windows)
    return [window for window in windows if len(stream_plan.steps(window)) >= stream_plan.window_steps]


def stream(images, stream_plan, augment=WINDOWED):
    """Every sample as bytes, by (step, lane, row)."""
    found = {}
    rows = stream_plan.batch_size // stream_plan.lanes
    for window in range(stream_plan.num_windows):
        for lane in range(stream_plan.lanes):
            samples = block_samples(images, stream_plan, window, lane, augment, SIZE)
            for number, sample in enumerate(samples):
                step, row = divmod(number, rows)
                found[stream_plan.steps(window)[step], lane, row] = tuple(part.tobytes() for part in sample)
    return found


@pytest.fixture(scope="module")
def whole():
    return stream(CountedImages(), plan())


@pytest.mark.slow
@pytest.mark.parametrize("window_steps", [1, 2, 4, 100])
def test_samples_do_not_depend_on_how_the_stream_is_cut(whole, window_steps):
    assert len(whole) == 3 * 4 * 16
    assert len(set(whole.values())) > 150
    assert stream(CountedImages(), plan(window_steps=window_steps)) == whole


@pytest.mark.slow
@pytest.mark.parametrize("start_step", [1, 2, 3, 7, 11])
def test_a_restart_at_any_step_goes_on_with_the_same_samples(whole, start_step):
    rest = stream(CountedImages(), plan(start_step=start_step))
    assert rest == {place: sample for place, sample in whole.items() if place[0] >= start_step}


def test_a_longer_run_begins_with_the_same_samples(whole):
    longer = stream(CountedImages(), plan(epochs=4, closing_epochs=2))
    assert whole == {place: longer[place] for place in whole}


def test_a_single_lane_can_be_made_alone_and_in_any_order():
    images, stream_plan = CountedImages(), plan()
    alone = [s.image.tobytes() for s in block_samples(images, stream_plan, 2, 3, WINDOWED, SIZE)]
    for window, lane in ((3, 3), (2, 0), (0, 3)):
        list(block_samples(images, stream_plan, window, lane, WINDOWED, SIZE))
    assert [s.image.tobytes() for s in block_samples(images, stream_plan, 2, 3, WINDOWED, SIZE)] == alone


@pytest.mark.parametrize("lane", range(4))
def test_partners_come_from_the_lane_s_own_window(lane):
    images, stream_plan = CountedImages(), plan()
    everything = Augment(partners="window", mosaic_scale=(0.4, 0.5), translate=0.0, max_boxes=1000)
    windows = whole_windows(stream_plan)
    assert len(windows) == 3
    for window in windows:
        mine = set(stream_plan.rows(window, lane).image.tolist())
        joined = [set(s.labels.tolist()) for s in block_samples(images, stream_plan, window, lane, everything, SIZE)]
        assert all(labels <= mine for labels in joined)
        if window == windows[0]:  # all of it in strong epochs
            assert set.union(*joined) == mine
            assert len(joined[0]) >= 4


def test_an_image_of_a_window_is_decoded_once():
    images, stream_plan = CountedImages(num_images=240), plan(num_images=240, closing_epochs=0, epochs=1)
    for window in whole_windows(stream_plan):
        for lane in range(stream_plan.lanes):
            images.decoded.clear()
            num_samples = len(list(block_samples(images, stream_plan, window, lane, WINDOWED, SIZE)))
            assert num_samples == 12
            assert max(images.decoded.values()) == 1
            assert len(images.decoded) <= num_samples
            assert set(images.decoded) <= set(stream_plan.rows(window, lane).image.tolist())


@pytest.mark.slow
def test_decoded_images_for_a_sample():
    """About one where blocks are windows, up to two where they are cut across, 3.4 from the whole data set."""
    counts = {}
    for name, augment, window_steps in (("window", WINDOWED, 8), ("across", WINDOWED, 5), ("dataset", Augment(), 8)):
        images = CountedImages(num_images=1024)
        stream_plan = plan(num_images=1024, epochs=1, closing_epochs=0, window_steps=window_steps, partner_steps=8)
        windows = [window for window in range(stream_plan.num_windows) if stream_plan.steps(window).start >= 8]
        samples = sum(len(list(block_samples(images, stream_plan, w, 1, augment, SIZE))) for w in windows)
        counts[name] = images.decoded.total() / samples
        assert samples in (216, 224)  # without the first windows, which are parts of one
    assert 0.9 < counts["window"] <= 1.0
    assert 1.0 < counts["across"] < 1.9
    assert 3.2 < counts["dataset"] < 3.6


def test_closing_epochs_decode_each_image_once():
    images = CountedImages()
    stream(images, plan(epochs=1))
    assert images.decoded.total() == 64  # 53, and 11 again that fill the last batch up


def test_a_data_set_smaller_than_its_window():
    for num_images in (1, 2, 3):
        images = CountedImages(num_images)
        assert len(stream(images, plan(num_images=num_images, epochs=2, closing_epochs=0))) == 32


def test_images_without_boxes_have_no_mixup():
    samples = list(block_samples(CountedImages(boxes=False), plan(), 0, 0, WINDOWED, SIZE))
    assert all(sample.boxes.shape == (0, 4) for sample in samples)


def test_a_window_s_partners_are_others_and_each_comes_once():
    window = np.array([7, 3, 9, 3, 5, 8])
    partners = of_window(window, 3)
    assert sorted(partners.images) == [5, 7, 8, 9]
    rng = np.random.default_rng(0)
    drawn = [draw_partners(rng, partners, 3) for _ in range(400)]
    assert all(len(set(three)) == 3 for three in drawn)
    assert {tuple(sorted(three)) for three in drawn} == {(5, 7, 8), (5, 7, 9), (5, 8, 9), (7, 8, 9)}
    assert set(draw_partners(rng, partners, 64)) == {5, 7, 8, 9}  # more than there are: they repeat


def test_a_window_of_one_image_has_that_for_its_partner():
    assert list(of_window(np.array([6, 6]), 6).images) == [6]


def test_partners_of_the_whole_data_set_are_any_image_with_repeats():
    partners = whole_dataset(CountedImages(4))
    assert partners == Partners(range(4), repeated=True)
    rng = np.random.default_rng(0)
    drawn = [tuple(draw_partners(rng, partners, 3)) for _ in range(2000)]
    assert len(set(drawn)) == 64
    assert (np.random.default_rng(5).integers(4, size=3) == draw_partners(np.random.default_rng(5), partners, 3)).all()


class ReducibleImages(CountedImages):
    """Halves, quarters and eighths on demand, which it writes down."""

    def load_reduced(self, index, factor):
        self.decoded[index, factor] += 1
        image = super().load(index).image
        self.decoded[index] -= 1
        return cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


def test_a_window_s_images_are_reduced_by_what_the_settings_can_show_of_them():
    large = ReducibleImages(size=(320, 480))  # ten times the output
    for scale, factor in ((2.0, 4), (1.2, 8), (6.0, None)):
        large.decoded.clear()
        augment = Augment(partners="window", mosaic_scale=(0.5, scale), mixup_scale=(0.5, 1.0))
        list(block_samples(large, plan(), 0, 0, augment, SIZE))
        assert {key[1] if isinstance(key, tuple) else None for key in +large.decoded} == {factor}
        assert max(large.decoded.values()) == 1


def test_what_a_window_gives_of_an_image_does_not_depend_on_what_was_asked_before():
    def decode(order):
        decoded = DecodedOnce(ReducibleImages(size=(320, 480)), Augment(), SIZE)
        return {factor: decoded.load_reduced(3, factor).shape for factor in order}

    assert decode([8, 4, 2]) == decode([2, 4, 8]) == {8: (80, 120, 3), 4: (80, 120, 3), 2: (160, 240, 3)}
