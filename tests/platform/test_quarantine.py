"""Broken images in training: replaced by the stated rule, alike in every worker, listed, and not without end."""

import json
import random
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.sample import make_sample
from rayox_model.core.errors import DataError
from rayox_model.core.plan import sample_rng
from rayox_model.core.quarantine import BrokenImage, Quarantine, Replacement, check_broken
from rayox_model.core.samples import LabelledImages, Sample
from rayox_platform.data.images import CocoImages, decode_image
from rayox_platform.data.resolve import resolve_split

BROKEN = {  # of the odd images, and what is said of each
    "broken.png": "not an image|broken image",
    "broken_data_stream.png": "broken image",
    "truncated_end_chunk.png": "broken image",
    "truncated_image.png": "broken image",
    "coco_cut_20_bytes.jpg": "truncated",
    "coco_truncated_half.jpg": "truncated",
    "truncated_jpeg.jpg": "truncated",
    "zero_bytes.jpg": "the file is empty",
    "text.jpg": "not an image",
    "html.jpg": "not an image",
    "decompression_bomb.gif": "too many pixels",
    "zero_width.gif": "not an image|cannot",
}
OTHERWISE = {  # where Pillow is not reference
    "i_trns.png": "it cuts 16 bits of grey off at 255",
    "gray16.png": "it cuts 16 bits of grey off at 255",
    "coco_flipped_bytes.jpg": "each decoder goes on behind damage in its own way",
    "exif_imagemagick_orientation.png": "it reads an orientation from a text field, which the official loader does not",
    "huge_12000x9000.jpg": "it would take long",
}
SIZE = (64, 96)
STRONG = Augment(mosaic_prob=1.0, mixup_prob=1.0)


@pytest.fixture(scope="module")
def odd(shared_data, tmp_path_factory) -> CocoImages:
    """All 57 odd images with the sizes their headers or manifest tell, one box each, of its own class."""
    folder = shared_data / "edge"
    manifest = json.loads((folder / "images_manifest.json").read_text())
    images, annotations = [], []
    for number, (name, entry) in enumerate(manifest.items()):
        height, width = (entry["seen"]["cv2_color"] or [40, 50])[:2]
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        annotations.append({"id": number, "image_id": number, "category_id": number, "bbox": [0, 0, width, height]})
    categories = [{"id": number, "name": f"of {number}"} for number in range(len(images))]
    path = tmp_path_factory.mktemp("odd") / "odd.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return resolve_split(str(path), str(folder / "images"), path.parent)[1]


def alone(index: int, position: int = 0):
    return lambda images: make_sample(images, index, sample_rng(0, 0, position), Augment(), SIZE, strong=False)


@pytest.mark.slow
def test_every_odd_image_is_right_or_replaced_by_the_next_readable_one(odd):
    quarantine = Quarantine(odd)
    names = list(odd.dataset.file_names)
    readable = [index for index, name in enumerate(names) if name not in BROKEN]
    for index, name in enumerate(names):
        shown = next((one for one in (*readable, *readable) if one >= index), readable[0])
        sample, expected = quarantine.sample(odd, alone(index, index)), alone(shown, index)(odd)
        assert sample.image.tobytes() == expected.image.tobytes(), name
        assert sample.boxes.tolist() == expected.boxes.tolist()
        assert set(sample.labels.tolist()) <= {shown}  # a thin image may have no box of a pixel left
    assert {names[index] for index in quarantine.replacements} == set(BROKEN)
    for replacement in quarantine.replacements.values():
        assert names[replacement.by] not in BROKEN
        path, _, why = replacement.why.partition(": ")
        assert Path(path) == Path(odd.where(replacement.index))
        assert any(word in why for word in BROKEN[names[replacement.index]].split("|")), replacement


@pytest.mark.slow
def test_right_means_the_pixels_of_the_reference(odd, shared_data):
    """What decodes is what Pillow, an independent decoder, shows; JPEGs may differ by a little rounding."""
    from PIL import Image, ImageOps

    for index, name in enumerate(odd.dataset.file_names):
        if name in BROKEN.keys() | OTHERWISE.keys():
            continue
        with warnings.catch_warnings(), Image.open(shared_data / "edge/images" / name) as image:
            warnings.simplefilter("ignore")  # of odd tags
            turned = ImageOps.exif_transpose(image)
            expected = np.asarray(turned.convert("RGBA").convert("RGB"))[:, :, ::-1]
        found = odd.pixels(index)
        assert found.shape == expected.shape, name
        difference = np.abs(found.astype(int) - expected)
        assert difference.mean() < 4, (name, difference.mean())


class Few:
    """Flat images of ten sizes with one box, or none; those of `broken` cannot be decoded."""

    def __init__(self, broken: set[int], num_images: int = 12) -> None:
        self.broken, self.num_images, self.loaded = broken, num_images, [0] * num_images

    def __len__(self) -> int:
        return self.num_images

    def size(self, index: int) -> tuple[int, int]:
        return 20 + index * 3, 60 - index * 2

    def annotations(self, index: int):
        count = index % 3  # every third image has none
        boxes = np.array([[2, 2, 12 + index, 15]] * count, np.float32).reshape(-1, 4)
        return boxes, np.full(count, index, np.int64)

    def load(self, index: int) -> Sample:
        self.loaded[index] += 1
        if index in self.broken:
            raise BrokenImage(f"image {index}: broken", "")
        return Sample(np.full((*self.size(index), 3), 10 * index + 5, np.uint8), *self.annotations(index))


def strong(position: int, index: int):
    return lambda images: make_sample(images, index, sample_rng(7, 2, position), STRONG, SIZE, strong=True)


def drawn(quarantine: Quarantine, images: LabelledImages, position: int) -> bytes:
    sample = quarantine.sample(images, strong(position, position % len(images)))
    return b"".join(part.tobytes() for part in sample)


@pytest.mark.slow
@pytest.mark.parametrize("broken", [{3}, {0, 1, 2, 11}, {5, 6, 7, 8}, set(range(1, 12))])
def test_a_sample_does_not_depend_on_what_the_worker_met_before(broken):
    """Each of 60 mosaics with mixup as if alone in a new process, and all of them in one, in two orders."""
    images = Few(broken)
    expected = [drawn(Quarantine(images), images, position) for position in range(60)]
    for seed in range(2):
        quarantine, order = Quarantine(images), list(range(60))
        random.Random(seed).shuffle(order)
        for position in order:
            assert drawn(quarantine, images, position) == expected[position], position
        assert quarantine.replacements.keys() == broken
        readable = [index for index in range(12) if index not in broken]
        for index, replacement in quarantine.replacements.items():
            assert replacement.by == next((one for one in readable if one > index), readable[0])


def test_without_broken_images_nothing_changes():
    images = Few(set())
    quarantine = Quarantine(images)
    for position in range(40):
        sample = strong(position, position % 12)(images)
        assert drawn(quarantine, images, position) == b"".join(part.tobytes() for part in sample)
    assert quarantine.replacements == {}


def test_a_broken_image_is_tried_once_a_process_and_shown_never():
    images = Few({4})
    quarantine = Quarantine(images)
    for position in range(40):
        sample = quarantine.sample(images, strong(position, 4))
        assert 4 not in sample.labels
    assert images.loaded[4] == 1


def test_what_cannot_be_reached_is_not_replaced():
    """A store that is down would come back with other samples: that ends the run instead."""

    class Down(Few):
        def load(self, index: int) -> Sample:
            raise DataError(f"image {index}: cannot be read", "")

    with pytest.raises(DataError, match="image 2: cannot be read"):
        Quarantine(Down(set())).sample(Down(set()), strong(0, 2))


def test_no_readable_image_at_all_is_a_data_error():
    images = Few(set(range(12)))
    with pytest.raises(DataError, match="none of the 12 images is readable; one of them: image 3: broken"):
        Quarantine(images).sample(images, alone(3))


def test_an_image_of_another_size_is_replaced_too(tmp_path):
    for name, shape in (("a.png", (20, 30, 3)), ("b.png", (25, 30, 3))):
        cv2.imwrite(str(tmp_path / name), np.full(shape, 90, np.uint8))
    coco = {"images": [{"id": n, "file_name": f"{n}.png", "height": 20, "width": 30} for n in "ab"]}
    coco["images"] = [image | {"id": number} for number, image in enumerate(coco["images"])]
    coco["categories"] = [{"id": 1, "name": "thing"}]
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    _, images = resolve_split(str(tmp_path / "coco.json"), str(tmp_path), tmp_path)
    quarantine = Quarantine(images)
    quarantine.sample(images, alone(1))
    (found,) = quarantine.replacements.values()
    assert (found.index, found.by) == (1, 0)
    assert "the image is 30 × 25" in found.why


def test_reduced_decoding_goes_through_where_there_is_any():
    class Reduced(Few):
        def load_reduced(self, index: int, factor: int) -> np.ndarray:
            image = self.load(index).image
            return np.ascontiguousarray(image[::factor, ::factor])

    def make(images) -> Sample:
        return Sample(images.load_reduced(3, 4), *images.annotations(3))

    whole = Quarantine(Few({3})).sample(Few({3}), make)
    reduced = Quarantine(Reduced({3})).sample(Reduced({3}), make)
    assert whole.image.shape == (32, 52, 3)  # of image 4
    assert reduced.image.shape == (8, 13, 3)
    assert reduced.labels.tolist() == [4]


def replacements(*indices: int) -> list[Replacement]:
    return [Replacement(index, index + 1, f"/images/{index}.jpg: broken") for index in indices]


@pytest.mark.parametrize(
    ("count", "most", "stops"),
    [(0, 0, False), (1, 0, True), (3, 3, False), (4, 3, True), (5, 0.05, False), (6, 0.05, True), (1, 0.009, True)],
)
def test_more_broken_images_than_allowed_stop_the_run(count, most, stops):
    found = replacements(*range(count)) * 2  # each was met by two workers
    if not stops:
        check_broken(found, 100, most)
        return
    allowed = {0: 0, 3: 3, 0.05: 5, 0.009: 0}[most]
    says = f"{count} of 100 images are broken, more than the {allowed} allowed"
    with pytest.raises(DataError, match=says) as caught:
        check_broken(found, 100, most)
    assert "/images/0.jpg: broken" in caught.value.message


def test_pixel_bombs_are_refused_by_their_header():
    """A PNG that says 20000 × 20000: refused without a pixel of it."""
    ok, content = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))
    assert ok
    header = bytearray(content.tobytes())
    header[16:24] = (20000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    with pytest.raises(BrokenImage, match=r"bomb\.png: too many pixels \(.*400000000 .*178956970"):
        decode_image(bytes(header), "bomb.png")


def test_mosaics_of_odd_images_show_no_broken_one(odd):
    """One of each as the first tile; boxes come from readable images alone, as each has a class of its own."""
    quarantine = Quarantine(odd)
    broken = {index for index, name in enumerate(odd.dataset.file_names) if name in BROKEN}
    for index in sorted(broken):
        make = strong(index, index)
        sample = quarantine.sample(odd, make)
        assert sample.image.shape == (*SIZE, 3)
        replaced = {one for one in quarantine.replacements if one in sample.labels}
        assert not replaced
    assert quarantine.replacements.keys() <= broken
    assert quarantine.replacements
