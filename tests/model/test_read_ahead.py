"""What a block will show is read together, ahead, and nothing else is; its samples are the same bits."""

from collections import Counter

import pytest
from test_augment_partners import CountedImages, plan, stream

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.block import READ_TOGETHER, block_samples
from rayox_model.core.errors import DataError
from rayox_model.core.samples import ReadTogether

pytestmark = pytest.mark.usefixtures("shapes_unchecked")
SIZE = (32, 48)
KINDS = {
    "published": Augment(),
    "window": Augment(partners="window"),
    "some": Augment(mosaic_prob=0.5, mixup_prob=0.5),
    "near": Augment(degrees=45.0, translate=0.9, mosaic_scale=(1.5, 2.0)),  # tiles out of view
}


class FarImages(CountedImages):
    """Their bytes have to be read before they are decoded; counts what is read and how often something was not."""

    def __init__(self, missing=(), **given):
        super().__init__(**given)
        self.missing, self.calls, self.alone = set(missing), [], Counter()

    def holding(self, indices):
        if self.missing & set(indices):
            raise DataError("no such image", "")
        self.calls.append(set(indices))
        return Held(self, set(indices))

    def load(self, index):
        self.alone[index] += 1
        return super().load(index)


class Held(CountedImages):
    def __init__(self, far, held):
        super().__init__(far.num_images)
        self.boxes, self.far, self.held = far.boxes, far, held

    def load(self, index):
        if index not in self.held:
            return self.far.load(index)
        self.far.decoded[index] += 1
        return super().load(index)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "boxes"), [*((kind, True) for kind in KINDS), ("published", False)])
def test_all_that_is_decoded_was_read_ahead_and_all_that_was_read_is_decoded(kind, boxes):
    far = FarImages(boxes=boxes)
    assert isinstance(far, ReadTogether)
    short = plan(epochs=2, lanes=2, window_steps=2)
    assert stream(far, short, KINDS[kind]) == stream(CountedImages(boxes=boxes), short, KINDS[kind])
    assert far.alone == {}
    assert set(far.decoded) == set().union(*far.calls)
    assert len(far.calls) > 1


def test_a_part_is_read_while_the_one_before_it_is_made():
    stream_plan = plan(batch_size=64, lanes=1, num_images=200)
    far = FarImages(num_images=200)
    samples = block_samples(far, stream_plan, 1, 0, Augment(), SIZE)
    next(samples)
    assert len(far.calls) <= 2
    list(samples)
    rows = len(stream_plan.rows(1, 0).epoch)
    assert len(far.calls) == -(-rows // READ_TOGETHER)
    assert max(map(len, far.calls)) <= 5 * READ_TOGETHER


def test_an_image_that_cannot_be_read_is_the_error_of_the_block():
    far = FarImages(missing=range(53))
    with pytest.raises(DataError, match="no such image"):
        list(block_samples(far, plan(), 1, 0, Augment(), SIZE))
