"""One image of the embedded data set: what lies where, what hides what, and how it is painted.

`owner` [H, W] holds the number of the object that shows at each pixel, so visibility is counted, not estimated.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rayox_platform.data.outlines import OUTLINES, clutter, draw_mask
from rayox_platform.data.textures import HUES, Colour, bright_colour, dull_colour, texture

SIZES = (12.0, 180.0)  # longer side of a whole object in pixels, log-uniform
MAX_OBJECTS = 12
MAX_OCCLUSION = 0.4
_MIN_OCCLUSION = 0.08
_WANTED_OCCLUDED = 0.25  # of the objects; nearly all find something to hide them
_CROWD_SHARE = 0.06  # of the images
_FREE, _CLUTTER = -1, -2  # owners that are not an object
_HEAP = 1000  # the owner of a crowd: a number no single object has
_HUE_SPREAD = 12.0  # standard deviation; the classes are 22.5 apart
_NAMES = tuple(OUTLINES)

Mask = NDArray[np.uint8]


class PaintedObject(NamedTuple):
    """An object as annotated: the box is tight around the visible pixels, `area` their number."""

    name: str
    box_xywh: tuple[int, int, int, int]
    area: int
    occlusion: float  # hidden share of the whole object
    crowd_rle: list[int] | None = None  # run lengths down the columns, starting with zeros, for a crowd


class Scene(NamedTuple):
    image: NDArray[np.uint8]  # [H, W, 3] BGR
    objects: list[PaintedObject]


@dataclass
class _Canvas:
    """A scene in the making."""

    rng: np.random.Generator
    image: NDArray[np.uint8]
    owner: NDArray[np.int16]
    names: list[str] = field(default_factory=list)
    whole_areas: list[int] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)

    def paint(self, mask: Mask, x: int, y: int, owner: int, name: str | None) -> None:
        """Lay a textured mask over the image, in a colour that stands out from what is there if eight draws find one.

        An object's hue lies around its class's own, wide enough to overlap with the next ones; clutter is dull.
        """
        height, width = mask.shape
        here = (slice(y, y + height), slice(x, x + width))
        below = self.image[here].mean(axis=(0, 1))
        for _ in range(8):
            colour = self._colour(name)
            if np.linalg.norm(colour - below) >= 70.0:
                break
        fill = texture(self.rng, height, width, colour, spread=45.0)
        self.image[here] = _blend(self.image[here], fill, mask)
        self.owner[here][mask >= 128] = owner

    def _colour(self, name: str | None) -> Colour:
        if name is None:
            return dull_colour(self.rng)
        return bright_colour(self.rng, _NAMES.index(name) * HUES / len(_NAMES), _HUE_SPREAD)

    def add(self, name: str, mask: Mask, x: int, y: int) -> None:
        self.paint(mask, x, y, owner=len(self.names), name=name)
        self.names.append(name)
        self.whole_areas.append(int(np.count_nonzero(mask >= 128)))


def paint_scene(rng: np.random.Generator, empty: bool) -> Scene:
    """Draw one image; `empty` leaves clutter only."""
    canvas = _background(rng)
    for _ in range(rng.integers(0, 4)):
        _drop_clutter(canvas)
    crowd = _paint_crowd(canvas) if not empty and rng.random() < _CROWD_SHARE else None
    if not empty:
        _place_objects(canvas)
    image = _camera(rng, canvas.image)
    annotated = [_annotate(canvas, number) for number in range(len(canvas.names))]
    return Scene(image, annotated + ([crowd] if crowd else []))


def _blend(below: NDArray[np.uint8], above: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
    alpha = mask[:, :, None].astype(np.uint16)
    return ((above * alpha + below * (255 - alpha) + 127) // 255).astype(np.uint8)


def _background(rng: np.random.Generator) -> _Canvas:
    longer = int(rng.integers(304, 353))
    shorter = int(rng.integers(208, longer + 1))
    height, width = (longer, shorter) if rng.random() < 0.4 else (shorter, longer)
    image = texture(rng, height, width, dull_colour(rng), spread=60.0)
    if rng.random() < 0.5:
        image = cv2.addWeighted(image, 0.5, texture(rng, height, width, dull_colour(rng), spread=60.0), 0.5, 0)
    return _Canvas(rng, image, np.full((height, width), _FREE, np.int16))


def _camera(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sensor noise and, for a third of the images, slight blur."""
    if rng.random() < 0.33:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.0))
    amplitude = int(rng.integers(0, 13))
    noise = rng.integers(-amplitude, amplitude + 1, image.shape, dtype=np.int16)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def _random_mask(rng: np.random.Generator, name: str, size: float) -> Mask:
    return draw_mask(OUTLINES[name](), rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.0), size)


def _place_objects(canvas: _Canvas) -> None:
    """Largest first, so that sizes stay log-uniform; some go over an earlier object that is to be partly hidden."""
    rng = canvas.rng
    weights = 0.88 ** np.arange(MAX_OBJECTS)
    count = 1 + int(rng.choice(MAX_OBJECTS, p=weights / weights.sum()))
    sizes = np.sort(np.exp(rng.uniform(np.log(SIZES[0]), np.log(SIZES[1]), count)))[::-1]
    to_hide: list[int] = []
    for size in sizes:
        name = _NAMES[rng.integers(len(_NAMES))]
        mask = _random_mask(rng, name, float(size))
        over_another = bool(to_hide) and rng.random() < 0.6 and _hide(canvas, to_hide[-1], mask, name)
        if over_another:
            to_hide.pop()
        elif not _place_freely(canvas, mask, name):
            continue
        if rng.random() < _WANTED_OCCLUDED:
            to_hide.append(len(canvas.names) - 1)
    for target in to_hide:
        _hide_by_clutter(canvas, target)


def _place_freely(canvas: _Canvas, mask: Mask, name: str | None) -> bool:
    """Put a mask where no object is; without a name it is clutter."""
    room_y, room_x = canvas.owner.shape[0] - mask.shape[0], canvas.owner.shape[1] - mask.shape[1]
    if room_y < 0 or room_x < 0:
        return False
    solid = mask >= 128
    for _ in range(80):
        y, x = int(canvas.rng.integers(room_y + 1)), int(canvas.rng.integers(room_x + 1))
        below = canvas.owner[y : y + mask.shape[0], x : x + mask.shape[1]]
        if not (below[solid] >= 0).any():
            _lay(canvas, mask, x, y, name)
            return True
    return False


def _lay(canvas: _Canvas, mask: Mask, x: int, y: int, name: str | None) -> None:
    if name is None:
        canvas.paint(mask, x, y, owner=_CLUTTER, name=None)
    else:
        canvas.add(name, mask, x, y)


def _hide(canvas: _Canvas, target: int, mask: Mask, name: str | None) -> bool:
    """Lay a mask over part of one object and of no other: 8 to 40 % of it hidden, at least 12 px still showing."""
    left, top, width, height = cv2.boundingRect((canvas.owner == target).astype(np.uint8))
    mask_height, mask_width = mask.shape
    solid = mask >= 128
    for _ in range(30):
        x = int(canvas.rng.integers(left - mask_width + 1, left + width))
        y = int(canvas.rng.integers(top - mask_height + 1, top + height))
        if x < 0 or y < 0 or x + mask_width > canvas.owner.shape[1] or y + mask_height > canvas.owner.shape[0]:
            continue
        below = canvas.owner[y : y + mask_height, x : x + mask_width][solid]
        share = np.count_nonzero(below == target) / canvas.whole_areas[target]
        touches_others = ((below >= 0) & (below != target)).any()
        if touches_others or not _MIN_OCCLUSION <= share <= MAX_OCCLUSION:
            continue
        if _still_large(canvas, target, solid, x, y):
            _lay(canvas, mask, x, y, name)
            canvas.hidden.add(target)
            return True
    return False


def _still_large(canvas: _Canvas, target: int, solid: NDArray[np.bool_], x: int, y: int) -> bool:
    left = canvas.owner == target
    left[y : y + solid.shape[0], x : x + solid.shape[1]] &= ~solid
    _, _, width, height = cv2.boundingRect(left.astype(np.uint8))
    return bool(max(width, height) >= SIZES[0])


def _hide_by_clutter(canvas: _Canvas, target: int) -> None:
    _, _, width, height = cv2.boundingRect((canvas.owner == target).astype(np.uint8))
    for _ in range(4):
        size = max(width, height) * canvas.rng.uniform(0.5, 1.3)
        mask = draw_mask(clutter(canvas.rng), canvas.rng.uniform(0, 2 * np.pi), 1.0, size)
        if _hide(canvas, target, mask, name=None):
            return


def _drop_clutter(canvas: _Canvas) -> None:
    mask = draw_mask(clutter(canvas.rng), canvas.rng.uniform(0, 2 * np.pi), 1.0, canvas.rng.uniform(20, 120))
    _place_freely(canvas, mask, name=None)


def _paint_crowd(canvas: _Canvas) -> PaintedObject:
    """A heap of small overlapping shapes of one class that nobody would count; later objects stay off it."""
    rng = canvas.rng
    height, width = canvas.owner.shape
    name = _NAMES[rng.integers(len(_NAMES))]
    region = int(rng.integers(60, 110))
    top, left = int(rng.integers(height - region)), int(rng.integers(width - region))
    heap = np.zeros((height, width), np.uint8)
    for _ in range(region // 4):
        mask = _random_mask(rng, name, float(rng.uniform(12, 22)))
        y = top + int(rng.integers(region - mask.shape[0]))
        x = left + int(rng.integers(region - mask.shape[1]))
        canvas.paint(mask, x, y, owner=_HEAP, name=name)
        heap[y : y + mask.shape[0], x : x + mask.shape[1]] |= (mask >= 128).astype(np.uint8)
    x, y, box_width, box_height = cv2.boundingRect(heap)
    return PaintedObject(name, (x, y, box_width, box_height), int(heap.sum()), 0.0, _run_lengths(heap))


def _run_lengths(mask: Mask) -> list[int]:
    """COCO's uncompressed RLE: lengths of runs down the columns, the first of zeros."""
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    starts = np.flatnonzero(np.diff(flat))
    return [int(length) for length in np.diff(np.concatenate([[0], starts]))]


def _annotate(canvas: _Canvas, number: int) -> PaintedObject:
    visible = (canvas.owner == number).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(visible)
    area = int(visible.sum())
    return PaintedObject(canvas.names[number], (x, y, width, height), area, 1 - area / canvas.whole_areas[number])
