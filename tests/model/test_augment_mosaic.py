"""The direct warp of mosaic against the plain way: paste on a canvas of twice the size, then warp that."""

import cv2
import numpy as np
import pytest
from kept_samples import KeptSamples

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.mosaic import Mosaic, draw_mosaic, make_mosaic, place_tile
from rayox_model.augment.partners import whole_dataset
from rayox_model.core.errors import DataError
from rayox_model.core.samples import Sample

SIZES = [(160, 160), (128, 224)]


class SmoothImages(KeptSamples):
    """Random soft images of varied size with random boxes; every third has none."""

    def __init__(self, num_images: int = 9):
        rng = np.random.default_rng(0)
        super().__init__([self._draw(rng, 0 if i % 3 == 2 else 5) for i in range(num_images)])

    @staticmethod
    def _draw(rng, num_boxes):
        height, width = rng.integers(60, 320, 2).tolist()
        image = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 6)
        image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
        corners = np.sort(rng.uniform(0, 1, (num_boxes, 2, 2)), axis=1) * (width, height)
        return Sample(image, corners.reshape(-1, 4).astype(np.float32), rng.integers(0, 3, num_boxes))


def on_canvas(images: SmoothImages, mosaic: Mosaic, size):
    """The canvas, its boxes, and where it is 3 or more pixels from any tile's border."""
    height, width = size
    canvas = np.full((2 * height, 2 * width, 3), 114, np.uint8)
    inner = np.ones((2 * height, 2 * width), np.uint8)
    cx, cy = mosaic.centre
    all_boxes = []
    for corner, index in enumerate(mosaic.indices):
        image, boxes, _ = images.samples[index]
        ratio = min(height / image.shape[0], width / image.shape[1])
        image = cv2.resize(image, (int(image.shape[1] * ratio), int(image.shape[0] * ratio)))
        h, w = image.shape[:2]
        x, y = (cx - w if corner % 2 == 0 else cx), (cy - h if corner < 2 else cy)
        x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, 2 * width), min(y + h, 2 * height)
        canvas[y1:y2, x1:x2] = image[y1 - y : y2 - y, x1 - x : x2 - x]
        cv2.rectangle(inner, (x1, y1), (x2, y2), 0, 7)
        boxes = np.concatenate([boxes[:, :2] * ratio + (x, y), boxes[:, 2:] * ratio + (x, y)], 1)
        all_boxes.append(boxes.clip(0, [2 * width, 2 * height] * 2))
    return canvas, np.concatenate(all_boxes), inner


def plain_mosaic(images, mosaic, size):
    canvas, boxes, inner = on_canvas(images, mosaic, size)
    affine = mosaic.affine.copy()
    affine[:, 2] += affine[:, :2] @ (0.5, 0.5) - 0.5  # pixel centres are half a pixel off the corners
    height, width = size
    warped = cv2.warpAffine(canvas, affine, (width, height), borderValue=(114,) * 3)
    inner = cv2.warpAffine(inner, affine, (width, height), flags=cv2.INTER_NEAREST)
    moved = []
    for x1, y1, x2, y2 in boxes:
        points = np.array([[x1, y1], [x2, y2], [x1, y2], [x2, y1]]) @ mosaic.affine[:, :2].T + mosaic.affine[:, 2]
        moved.append([*points.min(0), *points.max(0)] if x2 > x1 and y2 > y1 else [0] * 4)
    return warped, np.array(moved).reshape(-1, 4).clip(0, [width, height] * 2), inner.astype(bool)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(12))
def test_direct_warp_equals_the_canvas(size, seed):
    images = SmoothImages()
    mosaic = draw_mosaic(
        np.random.default_rng(seed), seed % 9, whole_dataset(images), Augment(mosaic_scale=(0.3, 2.0)), size
    )

    direct = make_mosaic(images, mosaic, size)
    plain, boxes, inner = plain_mosaic(images, mosaic, size)

    difference = np.abs(direct.image.astype(int) - plain)[inner]
    assert difference.size == 0 or difference.mean() < 1.5
    assert np.allclose(direct.boxes, boxes, atol=1e-3)
    assert len(direct.labels) == len(boxes)


def test_tiles_out_of_view_are_not_decoded_and_the_rest_does_not_need_them():
    images = SmoothImages()
    num_loaded = []
    for seed in range(60):
        images.loaded.clear()
        mosaic = draw_mosaic(np.random.default_rng(seed), 0, whole_dataset(images), Augment(), (160, 160))
        make_mosaic(images, mosaic, (160, 160))
        num_loaded.append(len(images.loaded))
    assert min(num_loaded) < 3
    assert 2.0 < np.mean(num_loaded) < 3.2  # of four; the published ranges show 2.44 on average


def test_identity_shows_the_upper_left_quarter_pixel_for_pixel():
    flat = KeptSamples(
        [
            Sample(np.full((40, 40, 3), 10 * i, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
            for i in range(4)
        ]
    )
    mosaic = Mosaic((0, 1, 2, 3), (30, 20), np.eye(2, 3))
    image = make_mosaic(flat, mosaic, (40, 40)).image

    assert (image[:20, :30] == 0).all()
    assert (image[:19, 31:] == 10).all()
    assert (image[21:, :29] == 20).all()
    assert (image[21:, 31:] == 30).all()


def test_tiles_meet_at_the_centre_and_end_at_the_canvas():
    tiles = [place_tile(corner, (200, 100), (90, 60), (100, 100)) for corner in range(4)]
    assert [tile.region for tile in tiles] == [
        (40, 0, 90, 60),
        (90, 0, 140, 60),
        (40, 60, 90, 160),
        (90, 60, 140, 160),
    ]
    assert [tile.shift for tile in tiles] == [(40, -40), (90, -40), (40, 60), (90, 60)]
    assert all(tile.ratio == 0.5 for tile in tiles)


def test_a_box_off_the_canvas_is_not_opened_by_the_rotation():
    images = SmoothImages()
    box = np.array([[10, 0, 60, 5]], np.float32)  # at the top of an image that hangs over the canvas's top
    images.samples[0] = Sample(np.zeros((160, 160, 3), np.uint8), box, np.zeros(1, np.int64))
    turned = np.array([[0.98, 0.17, 20.0], [-0.17, 0.98, 40.0]])

    sample = make_mosaic(images, Mosaic((0, 2, 5, 8), (160, 100), turned), (160, 160))

    assert sample.boxes.tolist() == [[0, 0, 0, 0]]


def test_mosaic_of_images_without_boxes():
    images = SmoothImages()
    sample = make_mosaic(images, Mosaic((2, 5, 8, 2), (80, 80), np.eye(2, 3)), (160, 160))
    assert sample.boxes.shape == (0, 4)
    assert sample.boxes.dtype == np.float32
    assert sample.labels.dtype == np.int64


def test_an_image_of_another_size_than_its_data_set_says():
    class Wrong(SmoothImages):
        def size(self, index):
            return 77, 33

    with pytest.raises(DataError, match="its data set says 33×77"):
        make_mosaic(Wrong(), Mosaic((0, 0, 0, 0), (80, 80), np.eye(2, 3)), (160, 160))
