"""Mosaics of the same draws as the official code (pixeltable-yolox 0.4.3): equal boxes, and pixels but for two causes.

Small mosaics are kept in tests/golden (made anew by `oracle_samples.py small tests/golden/mosaic.npz`); those of real
photos are made when RAYOX_ORACLE_PYTHON names a Python that has it.

First, the official code applies the matrix of the boxes (corner coordinates) to pixel centres: its pixels are up to
half a pixel off. With that undone ("aligned" here) mosaics of photos that need no resizing are its own to one grey
level. Second, other photos it resamples twice, resizing and then warping, here it is once; and what shrinks to half or
less is decoded reduced here. Those differ where a photo has edges as fine as its pixels.
"""

import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from patience import patient

from rayox_model.augment.mosaic import Mosaic, make_mosaic, place_tile
from rayox_model.core.samples import Sample
from rayox_platform.data.coco import read_coco
from rayox_platform.data.images import folder_images

TESTS = Path(__file__).resolve().parents[1]


class GoldenImages:
    def __init__(self, case):
        self.case = case

    def __len__(self):
        return sum(name.startswith("input_boxes_") for name in self.case)

    def size(self, index):
        return self.case[f"input_{index}"].shape[:2]

    def annotations(self, index):
        return self.case[f"input_boxes_{index}"].astype(np.float32), np.arange(3)

    def load(self, index):
        return Sample(self.case[f"input_{index}"], *self.annotations(index))


def mosaics(case):
    draws = zip(case["indices"].tolist(), case["centre"].tolist(), case["affine"], strict=True)
    return [Mosaic(tuple(indices), tuple(centre), affine) for indices, centre, affine in draws]


def aligned(mosaic):
    """The affine that moves pixel centres as the official code does, which takes them for corners."""
    affine = mosaic.affine.copy()
    affine[:, 2] += 0.5 - affine[:, :2] @ (0.5, 0.5)
    return mosaic._replace(affine=affine)


def tiles_of(images, mosaic, side):
    return [place_tile(i, images.size(index), mosaic.centre, (side, side)) for i, index in enumerate(mosaic.indices)]


def inside_tiles(images, mosaic, side):
    """Where an output pixel is more than two canvas pixels from any tile's border."""
    inner = np.ones((2 * side, 2 * side), np.uint8)
    for tile in tiles_of(images, mosaic, side):
        cv2.rectangle(inner, tile.region[:2], tile.region[2:], 0, 5)
    return cv2.warpAffine(inner, mosaic.affine, (side, side), flags=cv2.INTER_NEAREST).astype(bool)


def compare_boxes(images, mosaic, side, official):
    """All agree but those off the canvas: of these nothing is left here, the official code makes lines of them."""
    ours = make_mosaic(images, mosaic, (side, side))
    assert ours.labels.tolist() == official[:, 4].astype(int).tolist()
    on_canvas = np.concatenate(
        [
            (images.annotations(index)[0] * tile.ratio + tile.shift * 2).clip(0, 2 * side)
            for index, tile in zip(mosaic.indices, tiles_of(images, mosaic, side), strict=True)
        ]
    )
    on_it = (on_canvas[:, 2:] - on_canvas[:, :2] > 1e-3).all(axis=1)
    np.testing.assert_allclose(ours.boxes[on_it], official[on_it, :4], atol=2e-3)
    assert not ours.boxes[~on_it].any()
    return on_it.sum()


def differences(images, mosaic, side, official):
    """Grey levels between ours and official mosaics inside the tiles: as they are, and aligned."""
    inside = inside_tiles(images, mosaic, side)
    images_of = (make_mosaic(images, each, (side, side)).image for each in (mosaic, aligned(mosaic)))
    return [np.abs(image.astype(int) - official)[inside] for image in images_of]


def test_small_mosaics_agree_with_the_official_code():
    case = dict(np.load(TESTS / "golden" / "mosaic.npz"))
    images, side, compared = GoldenImages(case), int(case["size"]), 0
    direct, straight = [], []
    for number, mosaic in enumerate(mosaics(case)):
        compared += compare_boxes(images, mosaic, side, case[f"boxes_{number}"])
        as_it_is, undone = differences(images, mosaic, side, case[f"mosaic_{number}"])
        direct.append(as_it_is.mean())
        straight.append(undone.mean())
        assert undone.max() <= 10
    assert compared > 80
    assert max(direct) < 2.0
    assert max(straight) < 1.0
    assert np.mean(straight) < 0.6 * np.mean(direct)  # most of the difference is the half pixel


def test_mosaics_of_photos_agree_with_the_official_code(shared_data, tmp_path):
    python = os.environ.get("RAYOX_ORACLE_PYTHON")
    if not python:
        pytest.skip("RAYOX_ORACLE_PYTHON names no Python with pixeltable-yolox 0.4.3")
    folder, out = shared_data / "coco_dev", tmp_path / "mosaics.npz"
    command = [python, TESTS / "bench" / "oracle_samples.py", "full", folder, "640", "16", out]
    subprocess.run(command, check=True, timeout=patient(250), stdout=subprocess.DEVNULL)
    case = dict(np.load(out))
    images = folder_images(read_coco(folder / "annotations/instances_train2017.json"), folder / "train2017")
    compared, exact = 0, 0
    for number, mosaic in enumerate(mosaics(case)):
        compared += compare_boxes(images, mosaic, 640, case[f"boxes_{number}"])
        _, undone = differences(images, mosaic, 640, case[f"mosaic_{number}"])
        assert undone.mean() < 4
        resized = any(max(images.size(index)) != 640 for index in mosaic.indices)
        if not resized and np.linalg.det(mosaic.affine[:, :2]) > 0.5**2:
            assert np.quantile(undone, 0.999) <= 1
            exact += 1
    assert compared > 100
    assert exact >= 5
