"""Drawing keeps the image's size, leaves the original alone and stays inside."""

import numpy as np
import pytest

from rayox_model.core.samples import Detections
from rayox_platform.data.draw import PALETTE, contact_sheet, draw_detections


def detections(boxes: list[list[float]]) -> Detections:
    scores = np.linspace(0.9, 0.3, len(boxes), dtype=np.float32)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, np.arange(len(boxes)))


@pytest.mark.parametrize("side", [1, 8, 100, 3000])
def test_boxes_and_labels_fit_images_of_any_size(side):
    image = np.full((side, side, 3), 90, np.uint8)
    boxes = [[0.2 * side, 0.2 * side, 0.8 * side, 0.8 * side], [-50, -50, side + 50, side + 50], [0, 0, 0, 0]]
    drawn = draw_detections(image, detections(boxes), [f"class {i}" for i in range(3)])
    assert drawn.shape == image.shape
    assert (image == 90).all()
    assert (drawn != 90).any()


def test_a_box_is_drawn_where_it_is_in_its_class_colour():
    image = np.zeros((200, 300, 3), np.uint8)
    drawn = draw_detections(image, detections([[50, 60, 250, 160]]), ["thing"])
    assert tuple(drawn[110, 50]) == tuple(drawn[160, 200]) == PALETTE[0]
    assert not drawn[110, 150].any()


def test_without_detections_it_is_a_copy():
    image = np.zeros((20, 30, 3), np.uint8)
    drawn = draw_detections(image, detections([]), [])
    assert drawn is not image
    assert np.array_equal(drawn, image)


def test_a_contact_sheet_fits_every_image_into_its_tile():
    white = [np.full(shape, 255, np.uint8) for shape in ((10, 400, 3), (400, 10, 3), (3, 3, 3), (1, 4000, 3))]
    sheet = contact_sheet(white, num_columns=3, tile=50)
    assert sheet.shape == (100, 150, 3)
    for row, column in ((0, 0), (0, 1), (0, 2), (1, 0)):
        assert (sheet[row * 50 : row * 50 + 50, column * 50 : column * 50 + 50] == 255).any()
    assert not (sheet[50:, 50:] == 255).any()
    assert contact_sheet([], tile=50).shape == (50, 50, 3)
