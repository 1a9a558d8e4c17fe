"""The val images in two parts that never change: one the search scores, one only the confirmation is measured on."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from rayox_platform.data.coco import CocoDataset
from rayox_platform.data.enough import has_boxes, nothing_to_find
from rayox_platform.tune.campaign import Confirm


def parted(dataset: CocoDataset, share: float) -> tuple[list[int], list[int]]:
    """Indices (for the search, for the confirmation) by the digests of the names: `share` goes to the latter."""
    names = [hashlib.sha256(name.encode()).digest() for name in dataset.file_names]
    order = sorted(range(len(dataset)), key=lambda index: names[index])
    count = min(max(1, round(len(dataset) * share)), len(dataset) - 1)
    return sorted(order[count:]), sorted(order[:count])


def parts(dataset: CocoDataset, confirm: Confirm) -> dict[str, list[int]]:
    """Indices for "search" and "confirm"; empty without a confirmation: the search then has all images."""
    if not confirm.top or len(dataset) < 2:
        return {}
    return dict(zip(("search", "confirm"), parted(dataset, confirm.share), strict=True))


def nothing_to_score(dataset: CocoDataset, confirm: Confirm) -> list[str]:
    """A line for each part in which there is nothing to find, or one for all of them."""
    nothing = nothing_to_find(dataset)
    if nothing:
        return [f"{nothing}, and no trial gets a score"]
    if confirm.top and len(dataset) < 2:
        return [f"{dataset.source}: one image, which the search scores, so nothing can be confirmed on others"]
    words = {
        "search": ("the search scores", "no trial gets an AP"),
        "confirm": ("the confirmation is measured on", "nothing can be confirmed"),
    }
    return [
        f"{dataset.source}: no boxes in the {len(indices)} of {len(dataset)} images that {words[name][0]} "
        f"(confirm.share={confirm.share:g}), so {words[name][1]}"
        for name, indices in parts(dataset, confirm).items()
        if not has_boxes(dataset, indices)
    ]


def part_of(dataset: CocoDataset, indices: Sequence[int]) -> dict[str, Any]:
    """A COCO file of these images alone, with every category."""
    categories = zip(dataset.category_ids.tolist(), dataset.classes, strict=True)
    return {
        "images": [
            {
                "id": int(dataset.image_ids[index]),
                "file_name": dataset.file_names[index],
                **_size(dataset, index),
            }
            for index in indices
        ],
        "annotations": [_annotation(dataset, index, row) for index in indices for row in _rows(dataset, index)],
        "categories": [{"id": number, "name": name} for number, name in categories],
    }


def _rows(dataset: CocoDataset, index: int) -> range:
    return range(int(dataset.offsets[index]), int(dataset.offsets[index + 1]))


def _size(dataset: CocoDataset, index: int) -> dict[str, int]:
    height, width = int(dataset.heights[index]), int(dataset.widths[index])
    return {"height": height, "width": width} if height and width else {}


def _annotation(dataset: CocoDataset, index: int, row: int) -> dict[str, Any]:
    return {
        "id": int(dataset.annotation_ids[row]),
        "image_id": int(dataset.image_ids[index]),
        "category_id": int(dataset.category_ids[dataset.labels[row]]),
        "bbox": np.round(dataset.bboxes_xywh[row], 6).tolist(),
        "area": float(dataset.areas[row]),
        "iscrowd": int(dataset.iscrowd[row]),
    }
