"""SimOTA over a batch: against a plain loop, by hand, and where there is nothing to assign."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from published_rule import PUBLISHED_SIMOTA
from pydantic import TypeAdapter, ValidationError
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from rayox_model.assign.assigner import assign
from rayox_model.assign.assignment import Assignment
from rayox_model.assign.candidates import mark_candidates
from rayox_model.assign.matcher import cheapest_columns, match
from rayox_model.assign.simota_settings import SimOTA
from rayox_model.core.anchors import anchor_points
from rayox_model.core.boxes import xyxy_to_cxcywh
from rayox_model.core.structures import AnchorPoints, Predictions, Targets

SIZE = (64, 96)
ANCHORS = anchor_points(*SIZE, torch.device("cpu"))
HALF = np.float32(0.5)
RULES = [
    SimOTA(),
    PUBLISHED_SIMOTA,
    SimOTA(center_radius=0.7, top_k=3, iou_cost_weight=1.0),
    SimOTA(center_radius=4.0, top_k=40, class_cost_weight=0.0),
]

Row = tuple[int, int, int, float]  # image, anchor point, box, IoU


def draw(seed: int, counts: list[int], num_classes: int = 3, spread: float = 1.0) -> tuple[Predictions, Targets]:
    """A batch of noise with so many boxes an image, some outside, some twice, some predicted well."""
    rng = np.random.default_rng(seed)
    num_images, num_anchors, num_boxes = len(counts), len(ANCHORS.grid), sum(counts)
    center = rng.uniform(-0.1, 1.1, (num_boxes, 2)) * SIZE[::-1]
    sides = 10 ** rng.uniform(-1, 2.3, (num_boxes, 2))
    boxes = np.concatenate((center - sides / 2, center + sides / 2), axis=1)
    boxes[rng.integers(0, num_boxes, num_boxes // 3)] = boxes[: num_boxes // 3]
    raw = rng.normal(0, spread, (num_images, num_anchors, 5 + num_classes)).astype(np.float32)
    targets = Targets(
        torch.from_numpy(boxes.astype(np.float32)),
        torch.from_numpy(rng.integers(0, num_classes, num_boxes)),
        torch.from_numpy(np.repeat(np.arange(num_images), counts)),
    )
    raw = torch.from_numpy(raw)
    for box, image in zip(xyxy_to_cxcywh(targets.boxes), targets.image_index.tolist(), strict=True):
        near = ((ANCHORS.grid + 0.5) * ANCHORS.strides[:, None] - box[:2]).abs().amax(1) < box[2:].amin() / 2
        raw[image, near, :2] += box[:2] / ANCHORS.strides[near, None] - ANCHORS.grid[near]
        raw[image, near, 2:4] += (box[2:] / ANCHORS.strides[near, None]).log()
        raw[image, near, :4] *= 0.95
    return Predictions(raw[..., :4], raw[..., 4], raw[..., 5:]), targets


def targets_of(boxes: list[list[float]], labels: list[int], image_index: list[int]) -> Targets:
    return Targets(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels).long(),
        torch.tensor(image_index).long(),
    )


def plain_simota(predictions: Predictions, anchors: AnchorPoints, targets: Targets, rule: SimOTA) -> list[Row]:
    """The same in plain loops and float32, by image and anchor point."""
    found = []
    for image in range(len(predictions.objectness)):
        boxes = [n for n, i in enumerate(targets.image_index.tolist()) if i == image]
        near, own = plain_candidates(boxes, anchors, targets, rule)
        union = [k for k in range(len(anchors.grid)) if any(near[n, k] for n in boxes)]
        if union:
            cost, overlap = plain_cost(image, boxes, union, own, predictions, anchors, targets, rule)
            found += [(image, union[j], boxes[i], overlap[i, j]) for j, i in plain_match(cost, overlap, rule)]
    return found


def plain_candidates(boxes: list[int], anchors: AnchorPoints, targets: Targets, rule: SimOTA) -> tuple[dict, dict]:
    """Which anchor points make an image's union, and which are a box's own."""
    near, own = {}, {}
    for n in boxes:
        cx, cy, w, h = xyxy_to_cxcywh(targets.boxes[n]).numpy()
        for k, ((column, row), stride) in enumerate(zip(anchors.grid.numpy(), anchors.strides.numpy(), strict=True)):
            x, y, reach = (column + HALF) * stride, (row + HALF) * stride, stride * np.float32(rule.center_radius)
            center = cx - reach < x < cx + reach and cy - reach < y < cy + reach
            inside = cx - w / 2 < x < cx + w / 2 and cy - h / 2 < y < cy + h / 2
            near[n, k] = center or (inside and rule.candidates == "box_or_center")
            own[n, k] = center and (inside or rule.candidates == "center")
    return near, own


def plain_cost(
    image: int,
    boxes: list[int],
    union: list[int],
    own: dict,
    predictions: Predictions,
    anchors: AnchorPoints,
    targets: Targets,
    rule: SimOTA,
) -> tuple[np.ndarray, np.ndarray]:
    cost = np.zeros((len(boxes), len(union)), dtype=np.float32)
    overlap = np.zeros_like(cost)
    for i, n in enumerate(boxes):
        box = xyxy_to_cxcywh(targets.boxes[n]).numpy()
        wanted = F.one_hot(targets.labels[n], predictions.class_logits.shape[2]).float()
        for j, k in enumerate(union):
            score = (predictions.class_logits[image, k].sigmoid() * predictions.objectness[image, k].sigmoid()).sqrt()
            raw, grid, stride = (
                predictions.regression[image, k].numpy(),
                anchors.grid[k].numpy(),
                anchors.strides[k].numpy(),
            )
            overlap[i, j] = plain_iou(np.concatenate(((raw[:2] + grid) * stride, np.exp(raw[2:]) * stride)), box)
            cost[i, j] = (
                np.float32(rule.class_cost_weight) * F.binary_cross_entropy(score, wanted, reduction="sum").numpy()
            )
            cost[i, j] -= np.float32(rule.iou_cost_weight) * np.log(overlap[i, j] + np.float32(1e-8))
            cost[i, j] += 0 if own[n, k] else np.float32(rule.outside_cost)
    return cost, overlap


def plain_iou(one: np.ndarray, other: np.ndarray) -> np.float32:
    """Extents of boxes given by centre and size."""
    high = np.minimum(one[:2] + one[2:] / 2, other[:2] + other[2:] / 2)
    low = np.maximum(one[:2] - one[2:] / 2, other[:2] - other[2:] / 2)
    inner = (high - low).prod() if (high > low).all() else np.float32(0)
    return inner / (one[2:].prod() + other[2:].prod() - inner)


def plain_match(cost: np.ndarray, overlap: np.ndarray, rule: SimOTA) -> list[tuple[int, int]]:
    """(column, row) of every match, by column."""
    takers: dict[int, list[int]] = {}
    for i in range(len(cost)):
        num_wanted = max(1, int(np.sort(overlap[i])[::-1][: rule.top_k].sum()))
        for j in np.argsort(cost[i], kind="stable")[:num_wanted]:
            takers.setdefault(int(j), []).append(i)
    return sorted((j, rows[0] if len(rows) == 1 else int(cost[:, j].argmin())) for j, rows in takers.items())


def rows(assignment: Assignment) -> list[tuple[int, int, int]]:
    return list(zip(*(part.tolist() for part in assignment[:3]), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("counts", [[3, 0, 9], [1], [0, 25]])
@pytest.mark.parametrize("seed", range(2))
def test_vectorised_equals_plain_loop(rule: SimOTA, counts: list[int], seed: int) -> None:
    predictions, targets = draw(seed, counts)
    expected = plain_simota(predictions, ANCHORS, targets, rule)
    found = assign(predictions, ANCHORS, targets, rule)
    assert len(expected) > len(targets.boxes) // 4
    assert rows(found) == [row[:3] for row in expected]
    np.testing.assert_allclose(found.iou, [row[3] for row in expected], rtol=1e-5, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 4.0), st.sampled_from([*([1.5] * 3), 0.5, 1.0, 2.5]))
def test_closed_form_candidates_equal_looking_at_every_anchor_point(seed: int, radius: float, usual: float) -> None:
    _, targets = draw(seed, [5, 0, 7])
    snapped = (targets.boxes / 4).round() * 4  # centres on and halfway between anchor points
    for boxes, reach in ((targets.boxes, radius), (snapped, usual)):
        centers = xyxy_to_cxcywh(boxes)
        found = mark_candidates(centers, targets.image_index, 3, ANCHORS, SimOTA(center_radius=reach))
        distance = ((ANCHORS.grid + 0.5) * ANCHORS.strides[:, None] - centers[:, None, :2]).abs().amax(2)
        near, edge = distance < reach * ANCHORS.strides, (distance - reach * ANCHORS.strides).abs() < 1e-3
        for image in range(3):
            mine = targets.image_index == image
            sure = ~edge[mine].any(0) if boxes is targets.boxes else torch.ones(len(ANCHORS.grid), dtype=torch.bool)
            assert torch.equal(found[image][sure], near[mine].any(0)[sure])


class LargestTensor(TorchDispatchMode):
    """Remembers how many elements the largest result had."""

    num_elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.num_elements = max(self.num_elements, result.numel())
        return result


def test_memory_stays_far_below_boxes_by_anchor_points_by_classes() -> None:
    anchors, generator = anchor_points(640, 640, torch.device("cpu")), torch.Generator().manual_seed(0)
    num_anchors, num_boxes, num_classes = len(anchors.grid), 120, 80
    shapes = ((1, num_anchors, 4), (1, num_anchors), (1, num_anchors, num_classes))
    predictions = Predictions(*(torch.randn(shape, generator=generator) for shape in shapes))
    corners = torch.rand(num_boxes, 2, generator=generator) * 600
    boxes = torch.cat((corners, corners + 40), dim=1)
    targets = Targets(boxes, torch.arange(num_boxes) % num_classes, torch.zeros(num_boxes, dtype=torch.int64))
    with LargestTensor() as largest:
        assign(predictions, anchors, targets, SimOTA())
    assert largest.num_elements <= 9 * num_boxes * 27 * num_boxes  # nine planes of boxes by candidates
    assert largest.num_elements * 20 < num_boxes * num_anchors * num_classes


def test_images_do_not_influence_each_other() -> None:
    predictions, targets = draw(3, [4, 0, 6, 2])
    whole = assign(predictions, ANCHORS, targets, SimOTA())
    alone = []
    for image in range(4):
        mine = targets.image_index == image
        part = Targets(targets.boxes[mine], targets.labels[mine], torch.zeros(int(mine.sum()), dtype=torch.int64))
        answer = assign(Predictions(*(p[image : image + 1] for p in predictions)), ANCHORS, part, SimOTA())
        first = int((targets.image_index < image).sum())
        alone += [(image, anchor, first + box) for _, anchor, box in rows(answer)]
    assert rows(whole) == alone


def test_positives_are_in_order_and_each_anchor_point_once() -> None:
    predictions, targets = draw(5, [30, 8])
    found = assign(predictions, ANCHORS, targets, SimOTA())
    keys = found.image_index * len(ANCHORS.grid) + found.anchor_index
    assert (keys.diff() > 0).all()
    assert not found.iou.requires_grad


@pytest.mark.parametrize("rule", [SimOTA(), PUBLISHED_SIMOTA])
@pytest.mark.parametrize(
    "targets",
    [
        targets_of([], [], []),
        targets_of([[900, 900, 950, 950], [-300, -300, -200, -200]], [0, 1], [0, 1]),
        targets_of([[1e30, 1e30, 1e31, 1e31]], [0], [1]),
        targets_of([[float("nan")] * 4], [0], [1]),
    ],
    ids=["no boxes", "far outside", "absurd", "not a number"],
)
def test_nothing_to_assign(rule: SimOTA, targets: Targets) -> None:
    predictions, _ = draw(0, [1, 1])
    assert [len(part) for part in assign(predictions, ANCHORS, targets, rule)] == [0, 0, 0, 0]


def test_a_box_outside_still_gets_an_anchor_point_when_its_image_has_candidates() -> None:
    """As in the official code: the cheapest of the others' candidates, at the price of being outside."""
    targets = targets_of([[40, 40, 60, 60], [500, 500, 520, 520]], [0, 1], [0, 0])
    owners = []
    for seed in range(5):
        predictions, _ = draw(seed, [1])
        found = rows(assign(predictions, ANCHORS, targets, SimOTA()))
        assert found == [row[:3] for row in plain_simota(predictions, ANCHORS, targets, SimOTA())]
        owners += [box for _, _, box in found]
    assert set(owners) == {0, 1}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_predictions_that_are_no_numbers_do_not_crash(bad: float) -> None:
    predictions, targets = draw(1, [3, 4])
    spoilt = Predictions(*(torch.full_like(part, bad) for part in predictions))
    found = assign(spoilt, ANCHORS, targets, SimOTA())
    assert len(found.box_index) <= 10 * len(targets.boxes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_predictions_are_assigned_in_fp32(dtype: torch.dtype) -> None:
    predictions, targets = draw(2, [6, 6])
    half = Predictions(*(part.to(dtype) for part in predictions))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = assign(half, ANCHORS, targets, SimOTA())
    expected = assign(Predictions(*(part.float() for part in half)), ANCHORS, targets, SimOTA())
    assert rows(found) == rows(expected)
    assert torch.equal(found.iou, expected.iou)


def test_matching_by_hand() -> None:
    inf = torch.inf
    cost = torch.tensor([[1.0, 2, 5, 5, inf], [0.5, 9, 9, 9, inf], [3, 1, 2, inf, inf]])
    # The first two boxes share an image: both want column 0, and the second pays less. The third takes all it may.
    box, column = match(cost, torch.tensor([3, 1, 5]), 5, torch.tensor([0, 0, 2, 3]))
    assert list(zip(box.tolist(), column.tolist(), strict=True)) == [(1, 0), (0, 1), (0, 2), (2, 0), (2, 1), (2, 2)]


def test_a_contested_column_may_go_to_a_box_that_did_not_take_it() -> None:
    cost = torch.tensor([[3.0, 9, 9], [3, 9, 9], [2, 1, 9]])
    box, column = match(cost, torch.tensor([1, 1, 1]), 1, torch.tensor([0, 3]))
    assert list(zip(box.tolist(), column.tolist(), strict=True)) == [(2, 0), (2, 1)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([0.0, 1.0, 2.0, torch.inf]), min_size=6, max_size=6), min_size=1),
    st.integers(1, 9),
)
def test_ties_go_to_the_lowest_columns(costs: list[list[float]], limit: int) -> None:
    cost = torch.tensor(costs)
    wanted = torch.arange(len(cost)) % limit + 1
    taken = cheapest_columns(cost, wanted, limit)
    for row, count, chosen in zip(cost, wanted.tolist(), taken, strict=True):
        order = [int(j) for j in row.argsort(stable=True) if row[j] < torch.inf]
        assert chosen.nonzero().flatten().tolist() == sorted(order[:count])


def test_settings_are_checked_when_read_from_a_file() -> None:
    reader = TypeAdapter(SimOTA)
    kind: Literal["simota"] = "simota"
    assert reader.validate_python({"kind": kind, "center_radius": 2.5}) == replace(SimOTA(), center_radius=2.5)
    for wrong in ({"top_k": 0}, {"center_radius": 0}, {"kind": "ota"}, {"radius": 1}):
        with pytest.raises(ValidationError):
            reader.validate_python(wrong)
