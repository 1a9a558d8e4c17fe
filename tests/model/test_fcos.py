"""FCOS's assigner over a batch: against a plain loop, by hand, and where there is nothing to assign."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from test_simota import ANCHORS, draw, targets_of
from torchvision.ops import box_iou

from rayox_model.assign.assigner import assign
from rayox_model.assign.assigner_settings import Assigner, assigner_of
from rayox_model.assign.assignment import Assignment
from rayox_model.assign.fcos_settings import FCOS
from rayox_model.assign.simota_settings import SimOTA
from rayox_model.core.boxes import decode_cxcywh
from rayox_model.core.errors import ConfigError
from rayox_model.core.structures import Predictions, Targets
from rayox_model.loss.loss_weights import LossWeights
from rayox_model.loss.losses import loss_sums


def plainly(predictions: Predictions, targets: Targets, settings: FCOS) -> list[tuple[int, int, int]]:
    """(image, anchor point, box), one box and one anchor point at a time."""
    strides = [level.stride for level in ANCHORS.levels]
    found = []
    for image in range(len(predictions.objectness)):
        for anchor, (cell, stride) in enumerate(zip(ANCHORS.grid.tolist(), ANCHORS.strides.tolist(), strict=True)):
            x, y = ((side + 0.5) * stride for side in cell)
            level = strides.index(int(stride))
            low = settings.level_reach * strides[level - 1] if level else 0.0
            high = settings.level_reach * stride if level + 1 < len(strides) else float("inf")
            wanted = []
            for box, (x1, y1, x2, y2) in enumerate(targets.boxes.tolist()):
                sides = (x - x1, y - y1, x2 - x, y2 - y)
                near = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < settings.center_radius * stride
                mine = int(targets.image_index[box]) == image
                if mine and near and min(sides) > 0 and low < max(sides) <= high:
                    wanted.append(((x2 - x1) * (y2 - y1), box))
            if wanted:
                found.append((image, anchor, min(wanted)[1]))
    return found


def rows(assignment: Assignment) -> list[tuple[int, int, int]]:
    return list(zip(*(part.tolist() for part in assignment[:3]), strict=True))


@pytest.mark.parametrize("settings", [FCOS(), FCOS(center_radius=3.2, level_reach=2.0), FCOS(center_radius=0.8)])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_a_plain_loop_finds(seed, settings):
    predictions, targets = draw(seed, [3, 0, 7, 1])
    assigned = assign(predictions, ANCHORS, targets, settings)
    assert rows(assigned) == plainly(predictions, targets, settings)
    assert len(assigned.iou)


def test_the_iou_is_that_of_the_predicted_with_the_assigned_box():
    predictions, targets = draw(1, [4, 4])
    found = assign(predictions, ANCHORS, targets, FCOS())
    raw = predictions.regression[found.image_index, found.anchor_index]
    x, y, w, h = decode_cxcywh(raw, ANCHORS.grid[found.anchor_index], ANCHORS.strides[found.anchor_index]).unbind(-1)
    corners = torch.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), -1)
    expected = box_iou(corners, targets.boxes[found.box_index]).diagonal()
    torch.testing.assert_close(found.iou, expected, rtol=1e-4, atol=1e-5)


def test_a_size_belongs_to_one_level_and_a_shared_point_to_the_smaller_box():
    predictions, _ = draw(0, [1])
    small, large = [24, 24, 40, 40], [0, 0, 64, 64]
    found = rows(assign(predictions, ANCHORS, targets_of([large, small], [0, 0], [0, 0]), FCOS(level_reach=4.0)))
    strides = {box: {int(ANCHORS.strides[anchor]) for _, anchor, b in found if b == box} for box in (0, 1)}
    assert strides == {0: {16}, 1: {8}}
    twins = targets_of([small, small], [0, 1], [0, 0])
    assert {box for _, _, box in rows(assign(predictions, ANCHORS, twins, FCOS()))} == {0}


@pytest.mark.parametrize("boxes", [[], [[-90.0, -90.0, -60.0, -60.0]]])
def test_nothing_to_assign(boxes):
    predictions, _ = draw(0, [1])
    targets = Targets(
        torch.tensor(boxes).reshape(-1, 4), torch.zeros(len(boxes)).long(), torch.zeros(len(boxes)).long()
    )
    assert rows(assign(predictions, ANCHORS, targets, FCOS())) == []


def test_the_loss_learns_from_it():
    predictions, targets = draw(2, [5, 3])
    raw = [output.clone().requires_grad_() for output in predictions]
    assignment = assign(Predictions(*raw), ANCHORS, targets, FCOS())
    sums = loss_sums(Predictions(*raw), ANCHORS, targets, assignment, LossWeights(), True)
    (sums.total / len(assignment.iou)).backward()
    assert all(torch.isfinite(part.grad).all() and part.grad.abs().sum() > 0 for part in raw)


def test_the_kind_says_which_settings_there_are():
    read = TypeAdapter(Assigner).validate_python
    assert read({"kind": "fcos", "level_reach": 4.0}) == FCOS(level_reach=4.0)
    with pytest.raises(ValidationError):
        read({"kind": "fcos", "top_k": 5})
    assert assigner_of({"kind": "simota", "top_k": 5}) == SimOTA(top_k=5)
    with pytest.raises(ConfigError, match=r"assigner\.kind: 'tal' is not one of simota, fcos"):
        assigner_of({"kind": "tal"})
