"""The images of a mended copy: those that have a file, with its size."""

import posixpath
from collections.abc import Sequence

from rayox_platform.data.check.checker import Checked
from rayox_platform.data.check.files import FileFacts
from rayox_platform.data.check.ids import renumbered
from rayox_platform.data.check.reading import Record


def mended_images(records: Sequence[Record], checked: Checked) -> tuple[list[Record], dict[int, int]]:
    """The images that stay, and the new image id by the position of the old image; dropped ones have none."""
    images: list[Record] = []
    image_ids: dict[int, int] = {}
    first: dict[str, tuple[int, Record]] = {}  # by path
    numbers = renumbered(checked.images.ids, checked.images.keys, checked.annotations.image_indices)
    for at, (record, number, fact) in enumerate(zip(records, numbers, checked.facts, strict=True)):
        name = _name(checked.images.file_names[at], fact)
        if number is None or name is None:
            continue
        image = record | {"id": number, "file_name": name} | _size(checked, at, fact, at in checked.frames.swapped)
        for side in ("height", "width"):
            if not image.get(side):
                image.pop(side, None)
        path = posixpath.normpath(name)
        if path in first and _same_size(first[path][1], image):
            image_ids[at] = first[path][0]
            continue
        first.setdefault(path, (number, image))
        image_ids[at] = number
        images.append(image)
    return images, image_ids


def _name(name: str | None, fact: FileFacts | None) -> str | None:
    if fact is not None and fact.missing:
        return fact.instead or None
    if name is None:
        return None
    return name.replace("\\", "/") if fact is None else name


def _size(checked: Checked, at: int, fact: FileFacts | None, swapped: bool) -> dict[str, int]:
    """From the file, unless the annotated size is the file's as stored; nothing is written where none is known."""
    height, width = int(checked.images.heights[at]), int(checked.images.widths[at])
    if fact is not None and fact.size is not None and (height, width) != fact.stored_size:
        height, width = fact.size
    elif swapped:
        height, width = width, height
    return {"height": height, "width": width}


def _same_size(image: Record, other: Record) -> bool:
    return (image.get("height"), image.get("width")) == (other.get("height"), other.get("width"))
