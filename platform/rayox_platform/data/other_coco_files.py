"""Files that COCO publishes beside the instances and that hold no boxes: panoptic segments and captions."""

from collections.abc import Mapping
from typing import Any

OTHER_COCO_HINT = "Give instances_*.json."
_KEYS = {"segments_info": "a panoptic file (segments of whole images, no boxes)", "caption": "a file of captions"}


def other_coco_file(coco: Mapping[str, Any]) -> str | None:
    """What kind of file it is, by its first annotation; None for one of instances."""
    annotations = coco.get("annotations")
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    if not isinstance(first, dict) or "bbox" in first:
        return None
    return next((what for key, what in _KEYS.items() if key in first), None)
