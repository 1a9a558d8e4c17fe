"""Decoding JPEGs smaller: what comes out lies where the whole image does, and what is wrong stays refused."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rayox_model.augment.pixels import load_pixels
from rayox_model.core.errors import DataError
from rayox_platform.data.coco import read_coco
from rayox_platform.data.images import CocoImages, decode_image, folder_images
from rayox_platform.data.reduced import decode_reduced

FACTORS = (2, 4, 8)


def smooth(height: int, width: int) -> np.ndarray:
    """A ramp of one grey level a pixel from left to right in blue, from top to bottom in red."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width) + 20
    image[..., 2] = np.arange(height)[:, None] + 20
    return image


def jpeg(image: np.ndarray, orientation: int = 1, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, ::-1]).save(buffer, "JPEG", exif=exif, quality=98, subsampling=0, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("progressive", [False, True])
def test_a_pixel_is_the_mean_of_its_square_however_the_photo_is_turned(factor, orientation, progressive):
    content = jpeg(smooth(160, 200), orientation, progressive=progressive)
    whole = decode_image(content, "x")
    assert whole.shape[:2] == ((200, 160) if orientation > 4 else (160, 200))

    reduced = decode_reduced(content, whole.shape[:2], factor)

    height, width = whole.shape[0] // factor, whole.shape[1] // factor
    means = whole.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
    assert reduced is not None
    assert np.abs(reduced - means).max() < 2


@pytest.mark.parametrize("factor", FACTORS)
def test_sides_that_are_no_multiples_are_rounded_up(factor):
    content = jpeg(smooth(161, 199))
    reduced = decode_reduced(content, (161, 199), factor)
    assert reduced is not None
    assert reduced.shape[:2] == (-(-161 // factor), -(-199 // factor))
    inside = smooth(161, 199)[: 161 // factor * factor, : 199 // factor * factor]
    means = inside.reshape(161 // factor, factor, 199 // factor, factor, 3).mean(axis=(1, 3))
    assert np.abs(reduced[: 161 // factor, : 199 // factor] - means).max() < 2


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_a_turned_photo_with_an_incomplete_pixel_is_not_reduced(orientation):
    assert decode_reduced(jpeg(smooth(160, 199), orientation), (160, 199), 2) is None


def test_a_photo_annotated_as_stored_is_not_reduced_as_shown():
    content = jpeg(smooth(160, 200), orientation=6)
    assert decode_reduced(content, (160, 200), 2) is None
    assert decode_reduced(content, (200, 160), 2) is not None


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xd9", b"\x89PNG", jpeg(smooth(16, 16))[:-9]])
def test_what_is_no_whole_jpeg_is_left_to_the_whole_decoder(content):
    assert decode_reduced(content, (16, 16), 2) is None


def folder_with(tmp_path: Path, content: bytes, height: int, width: int) -> CocoImages:
    (tmp_path / "a.jpg").write_bytes(content)
    images = [{"id": 1, "file_name": "a.jpg", "height": height, "width": width}]
    coco = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    return folder_images(read_coco(tmp_path / "coco.json"), tmp_path)


@pytest.mark.parametrize("size", [(159, 200), (160, 199), (80, 100), (200, 160)])
def test_another_size_than_annotated_is_refused_even_if_the_reduced_ones_agree(tmp_path, size):
    images = folder_with(tmp_path, jpeg(smooth(160, 200)), *size)
    with pytest.raises(DataError, match="the image is 200 × 160"):
        load_pixels(images, 0, stretch=0.5)


def test_files_that_cannot_be_reduced_come_whole(tmp_path):
    ok, png = cv2.imencode(".png", smooth(160, 200))
    assert ok
    pixels = load_pixels(folder_with(tmp_path, png.tobytes(), 160, 200), 0, stretch=0.1)
    assert pixels.factor == 1
    assert (pixels.image == smooth(160, 200)).all()


def test_a_broken_file_is_refused_by_name(tmp_path):
    content = jpeg(np.random.default_rng(0).integers(0, 255, (160, 200, 3), np.uint8))
    images = folder_with(tmp_path, content[: len(content) // 2], 160, 200)
    with pytest.raises(DataError, match=r"a\.jpg: .*truncated"):
        load_pixels(images, 0, stretch=0.25)


@pytest.mark.parametrize(
    ("stretch", "factor"), [(1.0, 1), (0.51, 1), (0.5, 2), (0.26, 2), (0.25, 4), (0.125, 8), (0.01, 8)]
)
def test_an_image_is_never_reduced_below_what_is_shown_of_it(tmp_path, stretch, factor):
    pixels = load_pixels(folder_with(tmp_path, jpeg(smooth(160, 200)), 160, 200), 0, stretch)
    assert pixels.factor == factor
    assert pixels.image.shape == (160 // factor, 200 // factor, 3)
