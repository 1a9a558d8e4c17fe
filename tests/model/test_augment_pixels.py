"""Letterboxing, colours, settings: answers worked by hand."""

import cv2
import numpy as np
import pytest

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.color import draw_hsv_shift, shift_hsv
from rayox_model.augment.geometry import flip_boxes, transform_boxes
from rayox_model.augment.letterbox import fit_size, letterbox


def test_letterbox_puts_the_image_top_left_on_grey():
    image = np.full((50, 100, 3), (10, 20, 30), np.uint8)

    boxed, ratio = letterbox(image, (416, 416))

    assert ratio == 4.16
    assert boxed.shape == (416, 416, 3)
    assert (boxed[:208] == (10, 20, 30)).all()
    assert (boxed[208:] == 114).all()


@pytest.mark.parametrize(
    ("image_size", "size", "expected"),
    [
        ((480, 640), (640, 640), (1.0, 480, 640)),
        ((640, 427), (416, 416), (0.65, 416, 277)),  # 277.55 is cut, not rounded
        ((100, 100), (416, 640), (4.16, 416, 416)),
        ((1, 2000), (416, 416), (0.208, 1, 416)),  # 0.2 rows would be none
    ],
)
def test_fit_size(image_size, size, expected):
    assert fit_size(image_size, size) == pytest.approx(expected)


def test_letterbox_of_one_pixel_and_of_a_hair():
    assert letterbox(np.zeros((1, 1, 3), np.uint8), (64, 64))[0].max() == 0
    assert letterbox(np.zeros((3000, 1, 3), np.uint8), (64, 64))[0].shape == (64, 64, 3)


def test_hsv_shift_equals_plain_integer_arithmetic():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for shift in ([-5, 30, -30], [4, 0, 0], [0, -29, 0], [0, 0, 255], [-90, -255, 1]):
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(int) + shift
        hsv[..., 0] %= 180
        expected = cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)

        assert (shift_hsv(image, np.array(shift)) == expected).all(), shift


def test_hue_goes_around_from_red_to_magenta():
    red = np.array([[[0, 0, 255]]], np.uint8)  # hue 0
    assert shift_hsv(red, np.array([-30, 0, 0])).tolist() == [[[255, 0, 255]]]  # hue 150


def test_no_shift_gives_the_same_pixels_in_another_array():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    shifted = shift_hsv(image, np.zeros(3, int))
    assert (shifted == image).all()
    assert not np.shares_memory(shifted, image)


def test_hsv_shifts_are_whole_within_the_settings_and_off_half_the_time():
    rng = np.random.default_rng(0)
    shifts = np.array([draw_hsv_shift(rng, Augment()) for _ in range(2000)])

    assert (np.abs(shifts).max(0) == [4, 29, 29]).all()  # cut towards 0, so the largest itself is never drawn
    assert np.allclose((shifts == 0).mean(0), [0.6, 0.5 + 0.5 / 30, 0.5 + 0.5 / 30], atol=0.03)
    assert not np.array([draw_hsv_shift(rng, Augment(hsv_prob=0.0)) for _ in range(50)]).any()


def test_flip_boxes_twice_is_nothing():
    boxes = np.array([[1.0, 2.0, 5.0, 9.0], [0.0, 0.0, 20.0, 10.0]])
    assert flip_boxes(boxes, 20).tolist() == [[15.0, 2.0, 19.0, 9.0], [0.0, 0.0, 20.0, 10.0]]
    assert (flip_boxes(flip_boxes(boxes, 20), 20) == boxes).all()
    assert flip_boxes(np.zeros((0, 4)), 20).shape == (0, 4)


def test_a_quarter_turn_of_a_box():
    quarter = np.array([[0.0, -1.0, 10.0], [1.0, 0.0, 0.0]])  # (x, y) → (10 − y, x)
    assert transform_boxes(np.array([[1.0, 2.0, 4.0, 8.0]]), quarter).tolist() == [[2.0, 1.0, 8.0, 4.0]]
    assert transform_boxes(np.zeros((0, 4)), quarter).shape == (0, 4)


def test_a_range_with_its_upper_end_first_is_refused():
    with pytest.raises(ValueError, match=r"mosaic_scale: the range \(2.0, 0.1\)"):
        Augment(mosaic_scale=(2.0, 0.1))
