"""Whole samples of drawn boxes, each of a colour of its own: where the colour is seen is where its box is."""

import cv2
import numpy as np
import pytest
from kept_samples import KeptSamples

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.partners import of_window, whole_dataset
from rayox_model.augment.sample import make_sample
from rayox_model.core.plan import sample_rng
from rayox_model.core.samples import Sample

GROUND = 114
SIZES = [(96, 96), (96, 160), (160, 96)]
STILL = {"hsv_prob": 0.0, "max_boxes": 1000}  # colours stay what they are
OVER = 1.6  # pixels a colour may be seen beyond its box: bilinear interpolation
UNDER = 2.5  # pixels at the tip of a turned corner that show less than half of its colour


class DrawnImages(KeptSamples):
    """Six grey images with two or three boxes filled with colours far from each other; `hidden` is drawn grey too."""

    def __init__(self, scale=1, hidden=None):
        rng = np.random.default_rng(3)
        self.hidden = hidden
        super().__init__([])
        self.colours = {}
        for _ in range(6):
            height, width = rng.integers(90, 150, 2) * scale
            self.samples.append(self._draw(rng, int(height), int(width), int(rng.integers(2, 4))))

    def _draw(self, rng, height, width, count):
        image = np.full((height, width, 3), GROUND, np.uint8)
        boxes, labels = [], []
        for column in range(count):  # side by side, so none covers another
            left = width * column // count + int(rng.integers(0, width // count // 3))
            right = width * (column + 1) // count - int(rng.integers(1, width // count // 3))
            top, bottom = sorted(rng.choice(np.arange(0, height + 1, height // 6), 2, replace=False).tolist())
            label = len(self.colours)
            # The digits of the label, and at least one that is far from grey: 27 colours with the ground.
            self.colours[label] = np.array([(0, 114, 255)[(label // 3**digit) % 3] for digit in range(3)])
            if (self.colours[label] == GROUND).all():
                self.colours[label] = np.array([255, 255, 255]) - 40
            if label != self.hidden:
                image[top:bottom, left:right] = self.colours[label]
            boxes.append((left, top, right, bottom))
            labels.append(label)
        return Sample(image, np.array(boxes, np.float32), np.array(labels))

    def load_reduced(self, index, factor):
        """Means of whole squares, as a JPEG decoder gives them; incomplete ones go on with the border's pixels."""
        image = self.samples[index].image
        height, width = (-(-side // factor) for side in image.shape[:2])
        room = (height * factor - image.shape[0], width * factor - image.shape[1])
        padded = np.pad(image, ((0, room[0]), (0, room[1]), (0, 0)), mode="edge")
        return padded.reshape(height, factor, width, factor, 3).mean(axis=(1, 3)).round().astype(np.uint8)


def assert_box_is_around(sample, label, seen):
    """`seen` are the pixels of a box's colour. Gives whether the whole box was in view."""
    (box,) = sample.boxes[sample.labels == label]
    height, width = sample.image.shape[:2]
    whole = bool((box > 0).all() and (box < (width, height, width, height)).all())
    rows, columns = seen.nonzero()
    extent = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert (extent[:2] >= box[:2] - OVER).all(), (label, extent, box)
    assert (extent[2:] <= box[2:] + OVER).all(), (label, extent, box)
    if whole:  # not larger than the turned rectangle either
        assert np.abs(extent - box).max() <= UNDER, (label, extent, box)
    return whole


def in_colour(image, colour):
    """Pixels of about this colour, but not the thin lines where two others mix into it."""
    near = (np.abs(image.astype(int) - colour).max(axis=2) < 50).astype(np.uint8)
    return cv2.morphologyEx(near, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))


def once(sample):
    """Labels that a sample has once: of an image that is in it twice, a colour is in two places."""
    labels, counts = np.unique(sample.labels, return_counts=True)
    return labels[counts == 1].tolist()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("strong", [True, False])
def test_every_colour_is_seen_where_its_box_is(size, strong):
    images = DrawnImages()
    settings = Augment(mosaic_scale=(0.5, 1.5), mixup_prob=0.0, **STILL)
    whole = 0
    for seed in range(60):
        sample = make_sample(images, seed % 6, sample_rng(seed, 0, 0), settings, size, strong)
        for label in once(sample):
            seen = in_colour(sample.image, images.colours[label])
            box = sample.boxes[sample.labels == label][0]
            if (box[2:] - box[:2] > 4).all() and seen.any():
                whole += assert_box_is_around(sample, label, seen)
    assert whole > 60


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1, 5])  # times 5 the images are far larger than the output
def test_boxes_are_where_pixels_change_when_their_colour_goes_in_mosaic_and_mixup(size, scale):
    """Through a mixup two colours mix: so each box is found as what differs when it alone is not drawn."""
    images, hidden = DrawnImages(scale), [DrawnImages(scale, hidden=label) for label in range(15)]
    settings = Augment(mosaic_scale=(0.5, 1.5), **STILL)
    whole = 0
    for seed in range(12):
        partners = of_window(np.arange(6), seed % 6) if seed % 2 else whole_dataset(images)
        draw = (seed % 6, sample_rng(seed, 1, 0), settings, size, True, partners)
        sample = make_sample(images, *draw)
        for label in [label for label in once(sample) if label < 15]:
            without = make_sample(hidden[label], seed % 6, sample_rng(seed, 1, 0), *draw[2:])
            assert (without.boxes == sample.boxes).all()
            change = np.abs(sample.image.astype(int) - without.image).max(axis=2)
            if change.max() > 20:
                whole += assert_box_is_around(sample, label, change > 0.5 * np.quantile(change[change > 5], 0.9))
    assert whole > 10
