"""The gate's checks, each a pure function from what was measured to a verdict with its numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rayox_platform.data.coco import CocoDataset
from rayox_platform.evaluate.compare import Difference
from rayox_platform.evaluate.operating import Operating
from rayox_platform.promote.candidate import Candidate
from rayox_platform.promote.gate_settings import Gate
from rayox_platform.promote.leaked_images import Leaks
from rayox_platform.promote.measurement import Measured

CHECKS = (
    "champion",
    "floors",
    "change",
    "classes",
    "latency",
    "size",
    "compatibility",
    "signature",
    "lineage",
    "leaks",
)
LINEAGE = {"run": "its MLflow run", "data": "the fingerprint of its training data", "settings": "its settings"}
LINEAGE |= {"code": "the commit or version of rayox"}


@dataclass(frozen=True)
class Check:
    """What one check says, in one line."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Evidence:
    """All that the gate has found out."""

    gate: Gate
    candidate: Candidate
    measured: Measured
    champion: Measured | None  # None while there is no champion, or none that can be used
    champion_wrong: str  # why it cannot be used
    difference: Difference | None
    dataset: CocoDataset
    operating: Operating
    leaks: Leaks
    device: str
    signature: Mapping[str, object]
    champion_signature: Mapping[str, object] | None


def run_checks(found: Evidence) -> tuple[Check, ...]:
    """All of them, in the order of CHECKS; champion only where there is something wrong with it."""
    return (
        *([Check("champion", False, found.champion_wrong)] if found.champion_wrong else []),
        _floors(found),
        _change(found),
        _classes(found),
        _latency(found),
        _size(found),
        _compatibility(found),
        _signature(found),
        _lineage(found),
        _leaks(found),
    )


def _floors(found: Evidence) -> Check:
    metrics = found.measured.metrics
    texts = [_floor(name, metrics.get(name), floor) for name, floor in found.gate.floors.items()]
    passed = all(metrics.get(name, -1) >= floor for name, floor in found.gate.floors.items())
    return Check("floors", passed, "; ".join(texts) or f"AP {metrics['AP']:.3f}, no floor asked for")


def _change(found: Evidence) -> Check:
    wanted, difference = found.gate.change, found.difference
    if difference is None or found.champion is None:
        return Check("change", True, "there is no champion to compare with")
    said = difference.says(wanted.margin)
    passed = said == "better" or (said == "not worse" and wanted.require == "not_worse")
    before, after = found.champion.metrics[wanted.metric], found.measured.metrics[wanted.metric]
    text = (
        f"{wanted.metric} {after:.3f} against {before:.3f}: {difference.value:+.4f}, "
        f"{difference.confidence:.0%} interval [{difference.lower:+.4f}, {difference.upper:+.4f}] "
        f"over {difference.images} images: {said}"
    )
    if not passed and said == "undecided":
        text += f"; so few images cannot tell it from a loss of {wanted.margin:g}: use more, or allow a larger margin"
    elif not passed:
        text += f" (asked for: {wanted.require.replace('_', ' ')}, margin {wanted.margin:g})"
    return Check("change", passed, text)


def _classes(found: Evidence) -> Check:
    wrong = list(_classes_too_low(found)) + list(_classes_that_lose(found))
    least = min(((ap, name) for name, ap in found.measured.class_ap.items()), default=None)
    lowest = f"the lowest is {least[1]} with AP {least[0]:.3f}" if least else "no class has a box"
    return Check("classes", not wrong, "; ".join(wrong) or f"{len(found.measured.class_ap)} classes, {lowest}")


def _classes_too_low(found: Evidence) -> Iterator[str]:
    for name, floor in found.gate.classes.floors.items():
        ap = found.measured.class_ap.get(name)
        if ap is None:
            yield f"{name}: the gate's data have none"
        elif ap < floor:
            yield _floor(f"{name}: AP", ap, floor)


def _classes_that_lose(found: Evidence) -> Iterator[str]:
    allowed = found.gate.classes.largest_drop
    if found.champion is None or allowed is None:
        return
    counts = np.bincount(found.dataset.labels[~found.dataset.iscrowd], minlength=len(found.dataset.classes))
    for name, count in zip(found.dataset.classes, counts, strict=True):
        if count < found.gate.classes.fewest_boxes:
            continue
        before, after = found.champion.class_ap[name], found.measured.class_ap[name]
        if before - after > allowed:
            yield f"{name}: AP {after:.3f} against {before:.3f} loses more than {allowed:g}"


def _latency(found: Evidence) -> Check:
    wanted, took = found.gate.latency, found.measured.p95_milliseconds
    text = f"p95 {took:.1f} ms an image on {found.device}"
    if found.champion is not None:
        text += f", the champion {found.champion.p95_milliseconds:.1f} ms"
    if wanted.p95_milliseconds is None:
        return Check("latency", True, f"{text}; no limit asked for")
    if wanted.device is not None and wanted.device.lower() not in found.device.lower():
        return Check("latency", False, f"{text}; the limit is meant for {wanted.device!r}: run the gate there")
    return Check("latency", took <= wanted.p95_milliseconds, f"{text}; limit {wanted.p95_milliseconds:g} ms")


def _size(found: Evidence) -> Check:
    megabytes, limit = found.measured.num_bytes / 1e6, found.gate.size.megabytes
    text = f"{megabytes:.1f} MB"
    if limit is None:
        return Check("size", True, f"{text}; no limit asked for")
    return Check("size", megabytes <= limit, f"{text}; limit {limit:g} MB")


def _compatibility(found: Evidence) -> Check:
    ours = found.measured.classes
    unknown = [name for name in found.dataset.classes if name not in ours]
    if unknown:
        return Check("compatibility", False, f"it does not know classes of the gate's data: {_listed(unknown)}")
    if found.champion is None or found.gate.compatibility == "any":
        return Check("compatibility", True, f"{len(ours)} classes: {_listed(ours)}")
    theirs = found.champion.classes
    lost, fresh = [name for name in theirs if name not in ours], [name for name in ours if name not in theirs]
    if lost:
        return Check("compatibility", False, f"classes of the champion are lost: {_listed(lost)}")
    if found.gate.compatibility == "same" and ours != theirs:
        return Check(
            "compatibility", False, f"not the champion's classes in their order; new: {_listed(fresh) or 'none'}"
        )
    return Check("compatibility", True, "the champion's classes" + (f", and {_listed(fresh)}" if fresh else ""))


def _signature(found: Evidence) -> Check:
    if found.champion_signature is None:
        return Check("signature", True, "image bytes in; boxes, scores and labels out")
    if found.signature == found.champion_signature:
        return Check("signature", True, "what it takes and gives is as of the champion")
    parts = [part for part in found.signature if found.signature[part] != found.champion_signature.get(part)]
    return Check("signature", False, f"other {', '.join(parts)} than the champion: its callers would break")


def _lineage(found: Evidence) -> Check:
    candidate = found.candidate
    known = {
        "run": candidate.run_id,
        "data": candidate.tags.get("data.train.fingerprint"),
        "settings": candidate.params,
        "code": candidate.tags.get("mlflow.source.git.commit") or candidate.tags.get("version.rayox"),
    }
    missing = [LINEAGE[part] for part in found.gate.lineage if not known[part]]
    if missing:
        return Check("lineage", False, f"not known: {', '.join(missing)}")
    return Check("lineage", True, f"run {candidate.run_id or 'unknown'}, code {str(known['code'] or 'unknown')[:12]}")


def _leaks(found: Evidence) -> Check:
    leaks = found.leaks
    if found.gate.leaks == "ignore":
        return Check("leaks", True, "not looked for (leaks: ignore)")
    if leaks.unknown:
        return Check("leaks", False, f"cannot be told: {leaks.unknown}")
    if leaks.images:
        return Check(
            "leaks", False, f"{len(leaks.images)} of the gate's images were trained on; the first: {min(leaks.images)}"
        )
    return Check("leaks", True, f"none of {len(found.dataset)} images is among the {leaks.trained_on} trained on")


def _floor(name: str, value: float | None, floor: float) -> str:
    if value is None:
        return f"{name}: the gate's data have nothing to find"
    return f"{name} {value:.3f} ({'at least' if value >= floor else 'below'} {floor:g})"


def _listed(names: "tuple[str, ...] | list[str]") -> str:
    return ", ".join(names[:6]) + (f", … {len(names)} in all" if len(names) > 6 else "")
