"""Assignment, losses and gradients are those of the official code: pixeltable-yolox 0.4.3 for today's rule of which
anchor points are candidates, yolox 0.3.0 for the one that the published weights were trained under.

What they answered on small batches is kept in tests/golden (made anew by `oracle_loss.py small tests/golden`, and
`published`); the real sizes are computed when RAYOX_ORACLE_PYTHON names a Python that has the first.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from patience import patient
from published_rule import PUBLISHED_SIMOTA

from rayox_model.assign.assigner import assign
from rayox_model.assign.assignment import Assignment
from rayox_model.assign.candidates import candidates_of, mark_candidates
from rayox_model.assign.simota import simota_pairs
from rayox_model.assign.simota_settings import SimOTA
from rayox_model.core.anchors import anchor_points
from rayox_model.core.boxes import xyxy_to_cxcywh
from rayox_model.core.structures import AnchorPoints, Predictions, Targets
from rayox_model.loss.losses import LossWeights, divided, loss_sums

TESTS = Path(__file__).resolve().parents[1]
GOLDEN = sorted((TESTS / "golden").glob("loss_*.npz"))
TODAY = SimOTA()
PUBLISHED = sorted((TESTS / "golden").glob("published_*.npz"))

Case = dict[str, np.ndarray]


def outputs(case: Case) -> Predictions:
    raw = torch.from_numpy(case["raw"])
    return Predictions(*(part.clone().requires_grad_() for part in (raw[..., :4], raw[..., 4], raw[..., 5:])))


def inputs(case: Case) -> tuple[AnchorPoints, Targets]:
    height, width = case["size"].tolist()
    targets = Targets(*(torch.from_numpy(case[name]) for name in ("boxes", "labels", "image_index")))
    return anchor_points(height, width, torch.device("cpu")), targets


def official_assignment(case: Case) -> Assignment:
    return Assignment(*(torch.from_numpy(case[name]) for name in ("image", "anchor", "box", "iou")))


def compare(case: Case, rule: SimOTA = TODAY) -> bool:
    """Assert that everything agrees; True unless the assignments differ, at exact ties only."""
    predictions, (anchors, targets) = outputs(case), inputs(case)
    ours, official = assign(predictions, anchors, targets, rule), official_assignment(case)
    same = all(torch.equal(a, b) for a, b in zip(ours[:3], official[:3], strict=True))
    if same:
        torch.testing.assert_close(ours.iou, official.iou, rtol=1e-5, atol=1e-7)
    else:
        only_tied(ours, official, predictions, anchors, targets, rule)
    sums = loss_sums(predictions, anchors, targets, ours if same else official, LossWeights(), bool(case["with_l1"]))
    terms = divided(sums, sums.num_positives.clamp(min=1))
    np.testing.assert_allclose([float(term.detach()) for term in terms[:5]], case["terms"], rtol=1e-5)
    terms.total.backward()
    gradient = case["gradient"]
    for part, expected in zip(predictions, (gradient[..., :4], gradient[..., 4], gradient[..., 5:]), strict=True):
        assert part.grad is not None
        scale = np.abs(expected).max(initial=1e-12)
        np.testing.assert_allclose(part.grad, expected, rtol=1e-5, atol=1e-6 * scale)
    return same


def only_tied(
    a: Assignment, b: Assignment, predictions: Predictions, anchors: AnchorPoints, targets: Targets, rule: SimOTA
) -> None:
    """The official code leaves the choice among anchor points of the very same cost to the sorting library."""
    boxes, num_images = xyxy_to_cxcywh(targets.boxes), len(predictions.objectness)
    candidates = candidates_of(mark_candidates(boxes, targets.image_index, num_images, anchors, rule))
    with torch.no_grad():
        pairs = simota_pairs(predictions, anchors, targets, candidates, rule)
    rows_a, rows_b = (set(zip(*(part.tolist() for part in x[:3]), strict=True)) for x in (a, b))
    for image, anchor, box in rows_a ^ rows_b:
        column = (candidates.anchor_index[candidates.position[image]] == anchor).nonzero()[0, 0]
        costs = pairs.cost[box]
        assert ((costs - costs[column]).abs() <= 1e-6 * costs[column].abs()).sum() > 1, (image, anchor, box)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem.removeprefix("loss_"))
def test_small_batches_agree_with_the_official_code(path: Path) -> None:
    compare(dict(np.load(path)))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem.removeprefix("published_"))
def test_small_batches_agree_with_the_rule_of_the_published_weights(path: Path) -> None:
    compare(dict(np.load(path)), PUBLISHED_SIMOTA)


def test_the_golden_batches_hardly_differ_by_ties() -> None:
    assert len(GOLDEN) > 20
    assert sum(not compare(dict(np.load(path))) for path in GOLDEN) <= 2
    assert len(PUBLISHED) == 20
    assert sum(not compare(dict(np.load(path)), PUBLISHED_SIMOTA) for path in PUBLISHED) <= 4


@pytest.fixture(scope="module")
def full_cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    python = os.environ.get("RAYOX_ORACLE_PYTHON")
    if not python:
        pytest.skip("RAYOX_ORACLE_PYTHON names no Python with pixeltable-yolox 0.4.3")
    folder = tmp_path_factory.mktemp("oracle")
    subprocess.run([python, TESTS / "bench" / "oracle_loss.py", "full", folder], check=True, timeout=patient(250))
    yield sorted(folder.glob("*.npz"))
    for path in folder.iterdir():
        path.unlink()  # 130 MB


def test_real_sizes_agree_with_the_official_code(full_cases: list[Path]) -> None:
    tied = [path.stem for path in full_cases if not compare(dict(np.load(path)))]
    assert len(full_cases) == 72
    assert len(tied) <= 3, tied
