"""Box arithmetic: hand-worked answers and round trips."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rayox_model.core.anchors import anchor_points, decode
from rayox_model.core.boxes import (
    decode_cxcywh,
    extents_cxcywh,
    extents_iou,
    xyxy_to_cxcywh,
)

coordinates = st.floats(-1000, 1000, width=32)


def corners_of(boxes_cxcywh: Tensor) -> Tensor:
    center, half = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return torch.cat((center - half, center + half), dim=-1)


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    return extents_iou(extents_cxcywh(xyxy_to_cxcywh(boxes)), extents_cxcywh(xyxy_to_cxcywh(others)))


def box(*corners: float) -> Tensor:
    return torch.tensor([corners], dtype=torch.float32)


@settings(deadline=None)
@given(st.lists(st.tuples(*[coordinates] * 4), min_size=0, max_size=8))
def test_corners_to_center_and_back(corners: list[tuple[float, ...]]) -> None:
    boxes = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
    torch.testing.assert_close(corners_of(xyxy_to_cxcywh(boxes)), boxes, rtol=0, atol=1e-3)


def test_center_and_size_of_a_box() -> None:
    assert xyxy_to_cxcywh(box(2, 4, 8, 6)).tolist() == [[5, 5, 6, 2]]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),
        ((0, 0, 4, 4), (1, 1, 2, 3), 2 / 16),
        ((0, 0, 2, 2), (2, 0, 4, 2), 0.0),  # they only touch
        ((0, 0, 2, 2), (5, 5, 6, 6), 0.0),  # apart on both axes: the product of two negatives is not an overlap
        ((1, 1, 1, 1), (1, 1, 1, 1), 0.0),  # without area
        ((2, 2, 0, 0), (0, 0, 2, 2), 0.0),  # inverted
    ],
)
def test_iou_by_hand(one: tuple[float, ...], other: tuple[float, ...], expected: float) -> None:
    assert iou(box(*one), box(*other)).item() == pytest.approx(expected)
    assert iou(box(*other), box(*one)).item() == pytest.approx(expected)


def test_iou_broadcasts_to_every_pair_and_may_be_empty() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes, others = (corners_of(torch.rand(n, 4, generator=generator)) for n in (3, 5))
    each = torch.stack([torch.cat([iou(a[None], b[None]) for b in others]) for a in boxes])
    assert torch.equal(iou(boxes[:, None], others), each)
    assert iou(boxes[:0, None], others).shape == (0, 5)
    assert iou(boxes[:, None], others[:0]).shape == (3, 0)


def test_iou_by_center_and_size_keeps_tiny_boxes_far_from_the_origin_exact() -> None:
    tiny, half = torch.tensor([[640.0, 640, 1e-3, 1e-3]]), torch.tensor([[640.0, 640, 100, 100]])
    found = extents_iou(extents_cxcywh(tiny), extents_cxcywh(half)).item()
    assert extents_cxcywh(tiny).area.item() == pytest.approx(1e-6)
    assert 0 <= found < 1e-6


def test_iou_has_a_gradient_only_where_boxes_overlap() -> None:
    apart = box(0, 0, 2, 2).requires_grad_()
    iou(apart, box(2, 0, 4, 2)).sum().backward()
    assert apart.grad is not None
    assert not apart.grad.any()


def test_decoding_to_centers_agrees_with_decoding_to_corners() -> None:
    anchors = anchor_points(64, 96, torch.device("cpu"))
    regression = torch.randn(2, len(anchors.grid), 4, generator=torch.Generator().manual_seed(1))
    centers = decode_cxcywh(regression, anchors.grid, anchors.strides)
    torch.testing.assert_close(corners_of(centers), decode(regression, anchors))
