"""Batches on which the loss and the assignment are compared with the official code: numpy only, the same everywhere.

B images, K anchor points, C classes, N boxes of a whole batch. `raw` is the head's output as [regression 4,
objectness, classes C] over the anchor points of strides 8, 16, 32, row by row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Boxes = list[np.ndarray]  # xyxy, one array an image


@dataclass(frozen=True)
class Case:
    name: str
    size: tuple[int, int]
    num_classes: int
    with_l1: bool
    raw: np.ndarray  # [B, K, 5 + C]
    boxes: np.ndarray  # [N, 4] xyxy
    labels: np.ndarray  # [N]
    image_index: np.ndarray  # [N]

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "size": np.array(self.size),
            "with_l1": np.array(self.with_l1),
            "raw": self.raw,
            "boxes": self.boxes,
            "labels": self.labels,
            "image_index": self.image_index,
        }


def anchor_grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of every cell [K, 2] and its stride [K]."""
    cells, strides = [], []
    for stride in (8, 16, 32):
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride]
        cells.append(np.stack((x, y), axis=-1).reshape(-1, 2))
        strides.append(np.full(len(cells[-1]), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def from_centers(center: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.concatenate((center - size / 2, center + size / 2), axis=-1)


def plain(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    """Boxes of 5 to 60 % of the sides, anywhere inside."""
    sides = np.array(size[::-1]) * rng.uniform(0.05, 0.6, (count, 2))
    return from_centers(sides / 2 + rng.uniform(0, 1, (count, 2)) * (size[::-1] - sides), sides)


def tiny(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    return from_centers(rng.uniform(0, 1, (count, 2)) * size[::-1], 10 ** rng.uniform(-2, 0.5, (count, 2)))


def huge(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    return from_centers(rng.uniform(0.3, 0.7, (count, 2)) * size[::-1], size[::-1] * rng.uniform(1, 3, (count, 2)))


def same(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    """One box over and over."""
    return np.repeat(plain(rng, size, 1), count, axis=0)


def pairs(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    """Every box twice."""
    return np.repeat(plain(rng, size, (count + 1) // 2), 2, axis=0)[:count]


def corners(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    """Centres on corners and edges of the image and just outside of its right and bottom side."""
    center = rng.choice([0.0, 0.5, 1.0, 1.01], (count, 2)) * size[::-1]
    return from_centers(center, rng.uniform(10, 90, (count, 2)))


def outside(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    """Every centre far outside: no box has a candidate."""
    return from_centers(np.array(size[::-1]) * rng.uniform(1.5, 2, (count, 2)), rng.uniform(10, 90, (count, 2)))


def on_grid(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    """Square boxes centred on cell corners, halfway between anchor points: exact ties of IoU."""
    center = rng.integers(1, np.array(size[::-1]) // 32, (count, 2)) * 32
    return from_centers(center.astype(float), 2.0 ** rng.integers(4, 7, (count, 1)) * np.ones((1, 2)))


def random_raw(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    return rng.normal(0, 1, shape) - np.where(np.arange(shape[2]) >= 4, 2, 0)


def extreme_raw(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Logits from −120 to 120, sizes from e⁻⁶ to e⁶ strides."""
    return rng.uniform(-1, 1, shape) * np.where(np.arange(shape[2]) >= 4, 120, 6)


def zero_raw(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    return np.zeros(shape)


def trained_raw(
    case_boxes: Boxes, labels: list[np.ndarray], size: tuple[int, int], rng: np.random.Generator
) -> Callable:
    """Anchor points inside a box predict it with some noise, as a trained network would: many positives a box."""

    def make(_: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
        grid, strides = anchor_grid(size)
        points = (grid + 0.5) * strides[:, None]
        raw = rng.normal(0, 0.1, shape)
        raw[..., 4:] -= 4
        for image, (boxes, classes) in enumerate(zip(case_boxes, labels, strict=True)):
            for box, label in zip(boxes, classes, strict=True):
                inside = np.flatnonzero((points > box[:2]).all(1) & (points < box[2:]).all(1))
                raw[image, inside, :2] += (
                    (box[:2] + box[2:]) / 2 / strides[inside, None] - grid[inside] - raw[image, inside, :2]
                )
                raw[image, inside, 2:4] = np.log((box[2:] - box[:2]) / strides[inside, None])
                raw[image, inside, :4] += rng.normal(0, 0.1, (len(inside), 4))
                raw[image, inside, 4] = rng.normal(1, 1, len(inside))
                raw[image, inside, 5 + label] = rng.normal(1, 1, len(inside))
        return raw

    return make


def make_case(
    name: str,
    seed: int,
    size: tuple[int, int],
    num_classes: int,
    counts: list[int],
    boxes: Callable,
    raw: str,
    l1: bool,
) -> Case:
    rng = np.random.default_rng(seed)
    each = [boxes(rng, size, count).reshape(-1, 4).astype(np.float32) for count in counts]
    labels = [rng.integers(0, num_classes, count) for count in counts]
    maker = {
        "random": random_raw,
        "extreme": extreme_raw,
        "zero": zero_raw,
        "trained": trained_raw(each, labels, size, rng),
    }
    shape = (len(counts), len(anchor_grid(size)[0]), 5 + num_classes)
    return Case(
        name,
        size,
        num_classes,
        l1,
        maker[raw](rng, shape).astype(np.float32),
        np.concatenate(each),
        np.concatenate(labels).astype(np.int64),
        np.repeat(np.arange(len(counts)), counts).astype(np.int64),
    )


KINDS = (plain, tiny, huge, same, pairs, corners, outside, on_grid)


def small_cases() -> Iterator[Case]:
    """Few anchor points, for the golden files: every kind of boxes, four kinds of predictions."""
    raws = ("random", "trained", "extreme", "random")
    for i, boxes in enumerate(KINDS):
        for j, raw in enumerate(raws[: 2 + i % 3]):
            counts = [[3, 0, 5], [1, 12], [0, 7]][(i + j) % 3]
            yield make_case(
                f"{boxes.__name__}_{raw}", 10 * i + j, (64, 96), (1, 3, 5)[(i + j) % 3], counts, boxes, raw, j % 2 == 1
            )
    yield make_case("none_random", 99, (64, 96), 3, [0, 0], plain, "random", True)


def full_cases(repeats: int = 3) -> Iterator[Case]:
    """Real sizes: 416, 640 and non-square, 1, 3 and 80 classes, up to 120 boxes an image."""
    sizes, classes = ((416, 416), (640, 640), (384, 640)), (1, 3, 80)
    number = 0
    for repeat in range(repeats):
        for i, boxes in enumerate(KINDS):
            for j, raw in enumerate(("random", "trained", "extreme")):
                number += 1
                counts = [[20, 0, 120], [5, 40], [0, 1, 60]][(i + j + repeat) % 3]
                yield make_case(
                    f"{boxes.__name__}_{raw}_{repeat}",
                    1000 + number,
                    sizes[(j + repeat) % 3],
                    classes[(i + repeat) % 3],
                    counts,
                    boxes,
                    raw,
                    number % 2 == 0,
                )


def speed_case() -> Case:
    """The measured batch: 8 images of 640 px, 20 boxes each, 80 classes, a network on its way."""
    return make_case("speed", 7, (640, 640), 80, [20] * 8, plain, "trained", False)
