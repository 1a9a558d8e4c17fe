"""Images of every kind and state: decoded as they should look, or a DataError that names the file."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from real_cells import SOURCE

from rayox_model.core.errors import DataError
from rayox_platform.data.coco import read_coco
from rayox_platform.data.images import CocoImages, decode_image, folder_images, read_image
from rayox_platform.data.resolve import resolve_split


def corner_image(height: int = 20, width: int = 30) -> np.ndarray:
    """Black with a red top-left corner (BGR)."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:8, :8] = (0, 0, 255)
    return image


def save_with_orientation(path: Path, image: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image[:, :, ::-1]).save(path, exif=exif, quality=95)


def folder_of(tmp_path: Path, height: int | None, width: int | None, name: str = "a.jpg") -> CocoImages:
    image = {"id": 1, "file_name": name, "height": height, "width": width}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 100, 5], "area": 10, "iscrowd": 0}
    coco = {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "thing"}]}
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(coco))
    return folder_images(read_coco(path), tmp_path)


def is_red(pixel: np.ndarray) -> bool:
    return bool(pixel[2] > 180 and pixel[0] < 80)


def test_load_gives_bgr_pixels_and_clipped_boxes(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), corner_image())
    sample = folder_of(tmp_path, 20, 30).load(0)
    assert sample.image.shape == (20, 30, 3)
    assert is_red(sample.image[2, 2])
    assert sample.boxes.tolist() == [[2, 2, 30, 7]]
    assert sample.labels.tolist() == [0]


def test_a_turned_photo_is_taken_as_shown_if_that_is_the_annotated_size(tmp_path):
    save_with_orientation(tmp_path / "a.jpg", corner_image(20, 30), orientation=6)  # a quarter turn clockwise
    image = folder_of(tmp_path, 30, 20).load(0).image
    assert image.shape == (30, 20, 3)
    assert is_red(image[2, -3])


def test_a_turned_photo_is_taken_as_stored_if_only_that_is_the_annotated_size(tmp_path):
    save_with_orientation(tmp_path / "a.jpg", corner_image(20, 30), orientation=6)
    image = folder_of(tmp_path, 20, 30).load(0).image
    assert image.shape == (20, 30, 3)
    assert is_red(image[2, 2])


def test_a_half_turn_is_taken_as_shown(tmp_path):
    save_with_orientation(tmp_path / "a.jpg", corner_image(20, 30), orientation=3)
    assert is_red(folder_of(tmp_path, 20, 30).load(0).image[-3, -3])
    assert is_red(read_image(tmp_path / "a.jpg")[-3, -3])


def test_absent_sizes_come_from_the_header_as_shown(tmp_path):
    save_with_orientation(tmp_path / "a.jpg", corner_image(20, 30), orientation=6)
    images = folder_of(tmp_path, None, None)
    assert images.size(0) == (30, 20)
    assert images.load(0).boxes.tolist() == [[2, 2, 20, 7]]


def test_another_size_is_refused_with_both_sizes(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), corner_image(20, 30))
    with pytest.raises(
        DataError, match=r"a\.jpg: the image is 30 × 20 \(width × height\), but .*coco\.json says 31 × 20"
    ):
        folder_of(tmp_path, 20, 31).load(0)


def test_missing_image_and_folder_are_data_errors(tmp_path):
    with pytest.raises(DataError, match=r"a\.jpg: no such image"):
        folder_of(tmp_path, 20, 30).load(0)
    with pytest.raises(DataError, match="no such folder of images"):
        folder_images(folder_of(tmp_path, 20, 30).dataset, tmp_path / "nowhere")
    with pytest.raises(DataError, match="no such image"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["/etc/hostname", "../a.jpg", "x/../../a.jpg", "a\0.jpg"])
def test_file_names_that_lead_out_of_the_folder_are_refused(name, tmp_path):
    with pytest.raises(DataError, match="leads out of the folder"):
        folder_of(tmp_path, 20, 30, name)


def encoded(mode: str, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(corner_image()[:, :, ::-1]).convert(mode).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *(("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("RGB", "WEBP")),
        *(("RGB", "BMP"), ("RGB", "TIFF"), ("P", "GIF"), ("RGB", "PCX"), ("RGB", "TGA")),
    ],
)
def test_kinds_of_colour_images_look_the_same(mode, kind):
    image = decode_image(encoded(mode, kind), "x")
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8
    assert is_red(image[2, 2])
    assert image[-1, -1].max() < 40


def test_grey_becomes_three_equal_channels_and_16_bits_become_8():
    grey = decode_image(encoded("L", "JPEG"), "x")
    assert np.ptp(grey.astype(int), axis=2).max() == 0
    ok, buffer = cv2.imencode(".png", np.full((4, 4), 200 * 257, np.uint16))
    assert ok
    assert decode_image(buffer.tobytes(), "x")[0, 0].tolist() == [200, 200, 200]


def test_a_jpeg_cut_short_is_refused_and_trailing_bytes_are_not():
    ok, buffer = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    assert ok
    content = buffer.tobytes()
    with pytest.raises(DataError, match="truncated"):
        decode_image(content[: len(content) // 2], "x")
    assert decode_image(content + b"trailing \xff\xda bytes", "x").shape == (64, 64, 3)


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF89a", b"\0" * 100]
)
def test_what_is_no_image_is_refused_by_name(content):
    with pytest.raises(DataError, match=r"^some\.jpg: "):
        decode_image(content, "some.jpg")


@pytest.mark.slow
def test_the_odd_files_decode_or_are_data_errors(shared_data):
    edge = shared_data / "edge" / "images"
    refused = set()
    for path in edge.iterdir():
        try:
            image = read_image(path)
        except DataError:
            refused.add(path.name)
        else:
            assert image.ndim == 3
            assert image.shape[2] == 3
            assert image.dtype == np.uint8
    assert refused == {
        *("broken.png", "broken_data_stream.png", "truncated_end_chunk.png", "truncated_image.png"),
        *("coco_cut_20_bytes.jpg", "coco_truncated_half.jpg", "truncated_jpeg.jpg", "zero_bytes.jpg"),
        *("text.jpg", "html.jpg", "decompression_bomb.gif", "zero_width.gif"),
    }


def test_real_images_are_found_beside_their_annotations(shared_data, tmp_path):
    _, images = resolve_split(str(shared_data / "coco_dev/annotations/instances_val2017.json"), None, tmp_path)
    assert images.where(0).split("/")[-2] == "val2017"
    assert images.load(0).image.shape[:2] == images.size(0)


def test_real_photos_in_a_folder_named_images_are_found(tmp_path):
    dataset, images = resolve_split(str(SOURCE / "annotations/instances_val.json"), None, tmp_path)
    assert len(dataset) == len(images) == 12
    assert all(images.load(index).image.shape[:2] == images.size(index) == (416, 416) for index in range(12))


def test_a_split_that_is_not_there_is_a_data_error_with_a_hint(tmp_path):
    with pytest.raises(DataError, match="no split 'test'") as caught:
        resolve_split("shapes:test", None, tmp_path)
    assert "shapes:val" in caught.value.hint
    folder_of(tmp_path, 20, 30)
    with pytest.raises(DataError, match="its images are not beside it") as caught:
        resolve_split(str(tmp_path / "coco.json"), None, tmp_path)
    assert "data.train.images" in caught.value.hint
