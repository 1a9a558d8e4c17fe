"""The losses: by hand, without positives, in half precision, and divided by the positives of several workers."""

import math

import pytest
import torch

from rayox_model.assign.assigner import assign
from rayox_model.assign.assignment import Assignment
from rayox_model.assign.simota_settings import SimOTA
from rayox_model.core.anchors import anchor_points, decode
from rayox_model.core.boxes import decode_cxcywh
from rayox_model.core.structures import Predictions, Targets
from rayox_model.loss.losses import LossTerms, LossWeights, divided, l1_targets, loss_sums

ANCHORS = anchor_points(64, 64, torch.device("cpu"))
NUM_ANCHORS = len(ANCHORS.grid)
WEIGHTS = LossWeights()


def outputs(num_images: int, num_classes: int = 3, seed: int = 0) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((num_images, NUM_ANCHORS, 4), (num_images, NUM_ANCHORS), (num_images, NUM_ANCHORS, num_classes))
    return Predictions(*(torch.randn(shape, generator=generator).requires_grad_() for shape in shapes))


def targets_of(boxes: list[list[float]], labels: list[int], image_index: list[int]) -> Targets:
    return Targets(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels).long(),
        torch.tensor(image_index).long(),
    )


TWO_IMAGES = targets_of([[8, 8, 30, 40], [20, 10, 60, 50], [1, 1, 12, 9]], [0, 2, 1], [0, 1, 1])


def loss(predictions: Predictions, targets: Targets, with_l1: bool = True, weights: LossWeights = WEIGHTS) -> LossTerms:
    """A batch's loss per positive of this process, as the official code has it."""
    assignment = assign(predictions, ANCHORS, targets, SimOTA())
    sums = loss_sums(predictions, ANCHORS, targets, assignment, weights, with_l1)
    return divided(sums, sums.num_positives.clamp(min=1))


def test_terms_by_hand() -> None:
    """One positive whose box is right in place and twice too wide, all logits 0."""
    predictions = Predictions(
        torch.zeros(1, NUM_ANCHORS, 4), torch.zeros(1, NUM_ANCHORS), torch.zeros(1, NUM_ANCHORS, 2)
    )
    # Anchor point 0 predicts the box of 8 × 8 around (0, 0); the target is 4 × 8 there.
    targets = targets_of([[-2, -4, 2, 4]], [1], [0])
    zero = torch.zeros(1, dtype=torch.int64)
    sums = loss_sums(
        predictions, ANCHORS, targets, Assignment(zero, zero, zero, torch.tensor([0.5])), LossWeights(), True
    )
    assert sums.iou.item() == pytest.approx(5 * (1 - 0.5**2))
    assert sums.objectness.item() == pytest.approx(NUM_ANCHORS * math.log(2))
    assert sums.classification.item() == pytest.approx(2 * math.log(2))  # at logit 0 any wanted score costs log 2
    assert sums.l1.item() == pytest.approx(math.log(2), abs=1e-6)
    assert sums.total.item() == pytest.approx(sum(float(term) for term in sums[1:5]))
    assert (sums.num_positives.item(), sums.num_boxes.item()) == (1, 1)


def test_classification_wants_the_iou_and_not_one() -> None:
    logits = torch.full((1, NUM_ANCHORS, 2), 0.0).requires_grad_()
    predictions = Predictions(torch.zeros(1, NUM_ANCHORS, 4), torch.zeros(1, NUM_ANCHORS), logits)
    zero = torch.zeros(1, dtype=torch.int64)
    assignment = Assignment(zero, zero + 7, zero, torch.tensor([0.3]))
    targets = targets_of([[0, 0, 8, 8]], [1], [0])
    loss_sums(predictions, ANCHORS, targets, assignment, LossWeights(), False).classification.backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[0, 7], torch.tensor([0.5, 0.2]))
    assert logits.grad.count_nonzero() == 2


def test_l1_targets_are_the_inverse_of_decoding() -> None:
    raw = torch.randn(NUM_ANCHORS, 4, generator=torch.Generator().manual_seed(0))
    boxes = decode_cxcywh(raw, ANCHORS.grid, ANCHORS.strides)
    torch.testing.assert_close(l1_targets(boxes, ANCHORS.grid, ANCHORS.strides), raw, rtol=1e-4, atol=1e-5)


def test_perfect_predictions_cost_no_iou_and_no_l1() -> None:
    raw = torch.zeros(1, NUM_ANCHORS, 4)
    boxes = decode(raw, ANCHORS)[0]
    index = torch.arange(NUM_ANCHORS)
    targets = Targets(boxes, index % 3, index * 0)
    assignment = Assignment(index * 0, index, index, torch.ones(NUM_ANCHORS))
    predictions = Predictions(raw, torch.zeros(1, NUM_ANCHORS), torch.zeros(1, NUM_ANCHORS, 3))
    sums = loss_sums(predictions, ANCHORS, targets, assignment, LossWeights(), True)
    torch.testing.assert_close(sums.iou, torch.tensor(0.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(sums.l1, torch.tensor(0.0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("with_l1", [False, True])
@pytest.mark.parametrize(
    "targets", [targets_of([], [], []), targets_of([[500, 500, 600, 600]], [1], [1])], ids=["no boxes", "none near"]
)
def test_without_positives_every_output_still_gets_a_gradient(targets: Targets, with_l1: bool) -> None:
    """DDP waits forever for a parameter that got none."""
    predictions = outputs(2)
    terms = loss(predictions, targets, with_l1)
    terms.total.backward()
    assert terms.num_positives.item() == 0
    assert terms.total.item() == terms.objectness.item() > 0
    assert all(part.grad is not None and part.grad.isfinite().all() for part in predictions)
    assert not predictions.regression.grad.any()
    assert not predictions.class_logits.grad.any()


def test_l1_is_only_in_when_asked_for() -> None:
    without, with_it = (loss(outputs(2), TWO_IMAGES, with_l1) for with_l1 in (False, True))
    assert without.l1.item() == 0
    assert with_it.l1.item() > 0
    torch.testing.assert_close(with_it.total, without.total + with_it.l1)


def test_weights_scale_their_terms() -> None:
    weights = LossWeights(iou=1.0, objectness=2.0, classification=3.0, l1=4.0)
    plain = loss(outputs(2), TWO_IMAGES)
    weighted = loss(outputs(2), TWO_IMAGES, weights=weights)
    ratios = [(a / b).item() for a, b in zip(weighted[1:5], plain[1:5], strict=True)]
    assert ratios == pytest.approx([0.2, 2, 3, 4])


def test_workers_dividing_by_all_positives_have_the_gradient_of_one_process() -> None:
    whole = outputs(2)
    loss(whole, TWO_IMAGES).total.backward()
    shares = []
    for image in range(2):
        part = Predictions(*(p.detach()[image : image + 1].clone().requires_grad_() for p in whole))
        mine = TWO_IMAGES.image_index == image
        targets = Targets(TWO_IMAGES.boxes[mine], TWO_IMAGES.labels[mine], torch.zeros(int(mine.sum())).long())
        assignment = assign(part, ANCHORS, targets, SimOTA())
        shares.append((part, loss_sums(part, ANCHORS, targets, assignment, LossWeights(), True)))
    all_positives = torch.stack([sums.num_positives for _, sums in shares]).sum()
    for _, sums in shares:
        divided(sums, all_positives).total.backward()
    for i, output in enumerate(whole):
        assert output.grad is not None
        torch.testing.assert_close(torch.cat([part[i].grad for part, _ in shares]), output.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_counted_in_fp32(dtype: torch.dtype) -> None:
    half = Predictions(*(part.detach().to(dtype).requires_grad_() for part in outputs(2)))
    full = Predictions(*(part.detach().float().requires_grad_() for part in half))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = loss(half, TWO_IMAGES)
    expected = loss(full, TWO_IMAGES)
    assert terms.total.dtype == torch.float32
    assert torch.equal(terms.total, expected.total)
    terms.total.backward()
    expected.total.backward()
    for a, b in zip(half, full, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.equal(a.grad, b.grad.to(dtype))
