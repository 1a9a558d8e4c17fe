"""Whole samples: boxes follow pixels, the same generator gives the same bytes, nothing of the data set changes."""

import cv2
import numpy as np
import pytest
from kept_samples import KeptSamples

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.geometry import draw_affine
from rayox_model.augment.mixup import Mixup, draw_mixup, draw_partner, mix
from rayox_model.augment.mosaic import draw_mosaic, make_mosaic
from rayox_model.augment.partners import whole_dataset
from rayox_model.augment.sample import make_sample
from rayox_model.core.plan import sample_rng
from rayox_model.core.samples import Sample

SIZE = (192, 256)
PLAIN = Augment(mosaic_prob=0.0, hsv_prob=0.0, flip_prob=0.0)


class Rectangles(KeptSamples):
    """Black images of varied size with white rectangles; every rectangle has its own label, `only` shows just that."""

    def __init__(self, counts=(3, 2, 0, 4, 1, 3), read_only=True, only=None):
        rng = np.random.default_rng(1)
        super().__init__([])
        for count in counts:
            first = sum(len(sample.boxes) for sample in self.samples)
            self.samples.append(self._draw(rng, np.arange(first, first + count), read_only, only))

    def _draw(self, rng, labels, read_only, only):
        height, width = rng.integers(180, 320, 2).tolist()
        image = np.zeros((height, width, 3), np.uint8)
        low = rng.integers(0, (width - 60, height - 60), (len(labels), 2))
        boxes = np.hstack([low, low + rng.integers(14, 60, low.shape)])
        for (x1, y1, x2, y2), label in zip(boxes, labels, strict=True):
            if only in (None, label):
                image[y1:y2, x1:x2] = 255
        sample = Sample(image, boxes.astype(np.float32), labels)
        for array in sample:
            array.setflags(write=not read_only)
        return sample


def assert_box_follows_pixels(sample, label, brightness=255):
    """One white rectangle in the dark has the box of its pixels, or around them where the border cuts it.

    Gives whether the whole of it was seen.
    """
    (box,) = sample.boxes[sample.labels == label]
    rows, columns = (sample.image.min(axis=2) > brightness / 2).nonzero()
    height, width = sample.image.shape[:2]
    whole = (box > 0).all() and (box < (width, height, width, height)).all()
    if not len(rows):
        assert not whole
        return False
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert (seen[:2] >= box[:2] - 1.5).all(), (seen, box)
    assert (seen[2:] <= box[2:] + 1.5).all(), (seen, box)
    if whole:
        assert np.abs(seen - box).max() <= 1.5, (seen, box)
    return bool(whole)


ALL_LABELS = range(13)


@pytest.mark.parametrize("label", ALL_LABELS)
def test_boxes_follow_pixels_in_a_mosaic(label):
    images, whole = Rectangles(only=label), 0
    home = next(index for index in range(6) if label in images.annotations(index)[1])
    for seed in range(60):
        settings = Augment(mosaic_scale=(0.5, 1.5), translate=0.2)
        mosaic = draw_mosaic(np.random.default_rng(seed), seed % 6, whole_dataset(images), settings, SIZE)
        if mosaic.indices.count(home) == 1:
            whole += assert_box_follows_pixels(make_mosaic(images, mosaic, SIZE), label)
    assert whole >= 3


@pytest.mark.parametrize("label", ALL_LABELS)
def test_boxes_follow_pixels_alone_and_flipped(label):
    images, plain = Rectangles(only=label), Augment(hsv_prob=0.0)
    home = next(index for index in range(6) if label in images.annotations(index)[1])
    samples = [make_sample(images, home, np.random.default_rng(seed), plain, SIZE, strong=False) for seed in range(8)]
    assert all(assert_box_follows_pixels(sample, label) for sample in samples)
    assert len({sample.boxes.tobytes() for sample in samples}) == 2


@pytest.mark.parametrize("label", ALL_LABELS)
def test_boxes_follow_pixels_in_a_mixup(label):
    images = Rectangles(only=label)
    home = next(index for index in range(6) if label in images.annotations(index)[1])
    black = Sample(np.zeros((*SIZE, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    whole = 0
    for seed in range(20):
        mixed = mix(black, images, draw_mixup(np.random.default_rng(seed), home, Augment(), SIZE), SIZE)
        whole += assert_box_follows_pixels(mixed, label, brightness=127)
    assert whole >= 3


def test_mixup_worked_by_hand():
    """Partner 20×10 letterboxed to 40×40 is 40×20; at scale 0.5 the frame is 20×20 and the image 20×10, mirrored."""
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :5] = 201
    partner = Rectangles(counts=(1,))
    partner.samples[0] = Sample(image, np.array([[0, 0, 5, 10]], np.float32), np.array([7]))
    under = Sample(np.full((40, 40, 3), 50, np.uint8), np.array([[1, 2, 3, 4]], np.float32), np.array([3]))

    mixed = mix(under, partner, Mixup(0, (20, 20), True, (0, 0)), (40, 40))

    assert mixed.boxes.tolist() == [[1, 2, 3, 4], [15, 0, 20, 10]]
    assert mixed.labels.tolist() == [3, 7]
    assert (mixed.image[:10, 16:20] == 125).all()  # (50 + 201) / 2, cut off
    assert (mixed.image[:10, :14] == 25).all()
    assert (mixed.image[11:20, :20] == 82).all()  # 114 where the frame has no image
    assert (mixed.image[20:] == 25).all()  # 0 past the frame
    assert (mixed.image[:, 20:] == 25).all()


def test_a_larger_partner_is_cropped_at_a_drawn_place():
    rng = np.random.default_rng(0)
    drawn = [draw_mixup(rng, 0, Augment(mixup_scale=(1.5, 1.5)), (40, 60)) for _ in range(300)]
    assert {mixup.frame for mixup in drawn} == {(60, 90)}
    assert {mixup.shift[0] for mixup in drawn} == set(range(30))
    assert {mixup.shift[1] for mixup in drawn} == set(range(20))
    assert {draw_mixup(rng, 0, Augment(mixup_scale=(0.5, 1.0)), (40, 60)).shift for _ in range(50)} == {(0, 0)}


def test_affine_within_its_settings():
    rng = np.random.default_rng(0)
    for _ in range(200):
        matrix = draw_affine(rng, Augment(shear=0.0), (100, 200))
        scale = np.sqrt(np.linalg.det(matrix[:, :2]))
        assert 0.1 <= scale <= 2.0
        assert abs(np.degrees(np.arcsin(matrix[0, 1] / scale))) <= 10
        assert (np.abs(matrix[:, 2]) <= (20, 10)).all()
    still = draw_affine(rng, Augment(shear=0.0, degrees=0.0, translate=0.0, mosaic_scale=(1.0, 1.0)), (100, 200))
    assert (still == np.eye(2, 3)).all()


@pytest.mark.parametrize("strong", [True, False])
def test_same_generator_same_bytes_in_any_order(strong):
    images = Rectangles()

    def draw(index):
        sample = make_sample(images, index, sample_rng(5, 2, index), Augment(), SIZE, strong)
        return tuple(array.tobytes() for array in sample)

    forward = [draw(index) for index in range(6)]
    assert [draw(index) for index in reversed(range(6))][::-1] == forward
    assert len(set(forward)) == 6


@pytest.mark.parametrize("strong", [True, False])
def test_samples_share_no_memory_with_the_data_set(strong):
    images = Rectangles(read_only=False)
    images.samples[0] = Sample(np.zeros((*SIZE, 3), np.uint8), *images.samples[0][1:])  # needs no resizing
    images.samples[2] = Sample(np.zeros((*SIZE, 3), np.uint8), *images.samples[2][1:])
    for settings in (Augment(), PLAIN):
        for index in range(6):
            sample = make_sample(images, index, sample_rng(0, 0, index), settings, SIZE, strong)
            for given in images.samples:
                assert not any(np.shares_memory(a, b) for a in sample for b in given if a.size and b.size)
            assert sample.image.flags.c_contiguous
            assert sample.image.flags.writeable


@pytest.mark.parametrize("strong", [True, False])
def test_a_data_set_without_any_box(strong):
    images = Rectangles(counts=(0, 0, 0))
    for index in range(3):
        sample = make_sample(images, index, sample_rng(0, 0, index), Augment(), SIZE, strong)
        assert sample.image.shape == (*SIZE, 3)
        assert sample.boxes.shape == (0, 4)
        assert sample.boxes.dtype == np.float32
        assert sample.labels.dtype == np.int64
    assert draw_partner(np.random.default_rng(0), images, whole_dataset(images)) is None


def test_the_partner_of_a_mixup_has_a_box():
    images = Rectangles(counts=(0, 0, 2, 0, 0))
    assert {draw_partner(np.random.default_rng(seed), images, whole_dataset(images)) for seed in range(20)} == {2}


def test_one_image_is_enough():
    sample = make_sample(Rectangles(counts=(2,)), 0, sample_rng(0, 0, 0), Augment(), SIZE, strong=True)
    assert sample.image.shape == (*SIZE, 3)


@pytest.mark.parametrize("image_size", [(1, 1), (1, 3000), (3000, 1), (2, 700)])
def test_hairs_and_single_pixels(image_size):
    images = Rectangles(counts=(1,))
    box = np.array([[0, 0, image_size[1], image_size[0]]], np.float32)
    images.samples[0] = Sample(np.full((*image_size, 3), 200, np.uint8), box, np.zeros(1, np.int64))
    for seed in range(40):
        sample = make_sample(images, 0, np.random.default_rng(seed), Augment(), SIZE, strong=seed % 4 > 0)
        assert sample.image.shape == (*SIZE, 3)


def with_boxes(boxes):
    images = Rectangles(counts=(1,))
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    images.samples[0] = Sample(np.full((*SIZE, 3), 90, np.uint8), boxes, np.arange(len(boxes)))
    return images


def test_boxes_of_one_pixel_go_while_larger_ones_are_there():
    images = with_boxes([[10, 10, 11, 50], [10, 10, 50, 50], [60, 60, 60, 60]])
    sample = make_sample(images, 0, sample_rng(0, 0, 0), PLAIN, SIZE, strong=True)
    assert sample.labels.tolist() == [1]


def test_an_image_with_only_tiny_boxes_stays_as_it_is():
    images = with_boxes([[10, 10, 11, 50], [60, 60, 60, 60]])
    for seed in range(8):
        sample = make_sample(images, 0, np.random.default_rng(seed), Augment(), SIZE, strong=False)
        assert sample.boxes.tolist() == [[10, 10, 11, 50]]
        assert (sample.image == 90).all()


def test_at_most_max_boxes_the_first_ones():
    images = with_boxes([[x, 10, x + 3, 20] for x in range(200)])
    sample = make_sample(images, 0, sample_rng(0, 0, 0), PLAIN, SIZE, strong=True)
    assert sample.labels.tolist() == list(range(120))


def test_boxes_stay_in_the_output_and_labels_with_their_boxes():
    images = Rectangles()
    for index in range(40):
        sample = make_sample(images, index % 6, sample_rng(9, 0, index), Augment(), SIZE, strong=True)
        assert (sample.boxes >= 0).all()
        assert (sample.boxes <= (SIZE[1], SIZE[0]) * 2).all()
        assert len(sample.boxes) == len(sample.labels)


def test_shared_coco_images(shared_data):
    """Real photographs, decoded: a mosaic differs from its images, a letterboxed one is exactly cv2's."""
    path = sorted((shared_data / "coco_dev" / "train2017").glob("*.jpg"))[0]
    image = cv2.imread(str(path))
    images = Rectangles(counts=(1,))
    images.samples[0] = Sample(image, np.array([[0, 0, 100, 100]], np.float32), np.zeros(1, np.int64))

    alone = make_sample(images, 0, sample_rng(0, 0, 0), PLAIN, (416, 416), strong=True)

    ratio = 416 / max(image.shape)
    fitted = cv2.resize(image, (int(image.shape[1] * ratio), int(image.shape[0] * ratio)))
    assert (alone.image[: fitted.shape[0], : fitted.shape[1]] == fitted).all()
