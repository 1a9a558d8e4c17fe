"""The images' files against what the annotations say of them."""

import posixpath
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from rayox_platform.data.check.files import FileFacts
from rayox_platform.data.check.finding_kinds import LONG_SIDE_RATIO, SMALL_SIDE
from rayox_platform.data.check.findings import Findings
from rayox_platform.data.check.near_names import look_alike
from rayox_platform.data.check.sections import Images

_ENDINGS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "MPO": ("jpg", "jpeg", "mpo"),
    "PNG": ("png",),
    "WEBP": ("webp",),
    "GIF": ("gif",),
    "BMP": ("bmp", "dib"),
    "TIFF": ("tif", "tiff"),
}
_KNOWN_ENDINGS = {ending for endings in _ENDINGS.values() for ending in endings}


def check_pictures(images: Images, facts: Sequence[FileFacts | None], findings: Findings) -> None:
    """Findings of each image's file; None stands for one that was not looked at."""
    for at, fact in enumerate(facts):
        if fact is None:
            continue
        name = images.file_names[at]
        if fact.missing and name is not None:
            findings.add("missing-image-file", images.place(at), _not_there(name, fact))
        elif fact.broken:
            findings.add("unreadable-image", images.place(at), fact.broken)
        if fact.size is not None and not fact.missing:
            _check_size(images, at, fact, findings)
            _check_ending(images, at, fact, findings)
    looked = [fact for fact in facts if fact is not None and not fact.missing]
    if looked and all(fact.broken for fact in looked):
        findings.add("no-readable-image", images.place(0), looked[0].broken, len(looked))
    _find_duplicates(images, facts, findings)


def _not_there(name: str, fact: FileFacts) -> str:
    there = (fact.instead,) if fact.instead else fact.alike
    said = ascii if any(look_alike(name, other) for other in there) else repr
    text = f"no file {said(name)}"
    if fact.instead:
        return f"{text}, but {said(fact.instead)} is there"
    if len(fact.alike) == 1:
        return f"{text}; {said(fact.alike[0])} is there, which several images may mean"
    return text + (f"; it may be {' or '.join(map(said, fact.alike[:4]))}" if fact.alike else "")


def with_file_sizes(images: Images, facts: Sequence[FileFacts | None]) -> tuple[Images, Bool[np.ndarray, "M"]]:
    """Sizes as the files have them, where annotations leave them out or differ; and whose size is the file's own."""
    heights, widths = images.heights.copy(), images.widths.copy()
    measured = np.zeros(len(images), np.bool_)
    for at, fact in enumerate(facts):
        if fact is None or fact.size is None:
            continue
        if (heights[at], widths[at]) != fact.stored_size:
            heights[at], widths[at] = fact.size
        measured[at] = True
    return replace(images, heights=heights, widths=widths), measured


def _check_size(images: Images, at: int, fact: FileFacts, findings: Findings) -> None:
    assert fact.size is not None
    height, width = fact.size
    given = (int(images.heights[at]), int(images.widths[at]))
    if min(height, width) < SMALL_SIDE or max(height, width) >= LONG_SIDE_RATIO * min(height, width):
        findings.add("odd-image", images.place(at), f"{width} × {height} (width × height)")
    if 0 in given or given == fact.size:
        return
    if given == fact.stored_size:
        findings.add("rotated-image", images.place(at), f"shown as {width} × {height} (width × height)")
        return
    swapped = " (swapped)" if given == fact.size[::-1] else ""
    detail = f"annotated {given[1]} × {given[0]}{swapped}, the file is {width} × {height} (width × height)"
    findings.add("image-size-differs", images.place(at), detail)


def _check_ending(images: Images, at: int, fact: FileFacts, findings: Findings) -> None:
    ending = posixpath.splitext(images.file_names[at] or "")[1].lower().removeprefix(".")
    fitting = _ENDINGS.get(fact.format)
    if fitting and ending in _KNOWN_ENDINGS and ending not in fitting:
        findings.add("wrong-extension", images.place(at), f"the contents are {fact.format}")


def _find_duplicates(images: Images, facts: Sequence[FileFacts | None], findings: Findings) -> None:
    first: dict[bytes, int] = {}
    for at, fact in enumerate(facts):
        if fact is None or not fact.digest:
            continue
        before = first.setdefault(fact.digest, at)
        if posixpath.normpath(images.file_names[before] or "") != posixpath.normpath(images.file_names[at] or ""):
            findings.add("duplicate-image", images.place(at), f"the same as {images.place(before)}")
