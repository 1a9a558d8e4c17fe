"""Samples to columns and back to a batch."""

import numpy as np
import pytest
import torch

from rayox_model.core.collate import unpack
from rayox_model.core.pack import pack
from rayox_model.core.samples import Sample

SIZE = (8, 12)


def samples(counts=(2, 0, 3)):
    rng = np.random.default_rng(0)
    return [
        Sample(
            rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
            rng.uniform(0, 8, (count, 4)).astype(np.float32),
            rng.integers(0, 80, count),
        )
        for count in counts
    ]


@pytest.mark.parametrize("read_only", [True, False])
def test_round_trip(read_only):
    given = samples()
    columns = pack(iter(given), 3, SIZE, max_boxes=5)._asdict()
    for column in columns.values():
        column.setflags(write=not read_only)

    batch = unpack(columns, epoch=7)

    assert batch.epoch == 7
    assert torch.equal(batch.images, torch.from_numpy(np.stack([sample.image for sample in given])))
    assert batch.targets.boxes.tolist() == np.concatenate([sample.boxes for sample in given]).tolist()
    assert batch.targets.labels.tolist() == np.concatenate([sample.labels for sample in given]).tolist()
    assert batch.targets.image_index.tolist() == [0, 0, 2, 2, 2]
    assert [t.dtype for t in batch.targets] == [torch.float32, torch.int64, torch.int64]
    assert np.shares_memory(batch.images.numpy(), columns["images"]) is not read_only


def test_columns_have_one_shape_whatever_the_boxes():
    some = [(0, 0), (5, 1), (0, 3)]
    shapes = {tuple(column.shape for column in pack(samples(counts), 2, SIZE, 5)) for counts in some}
    assert shapes == {((2, 8, 12, 3), (2, 5, 4), (2, 5), (2,))}


def test_a_batch_without_boxes():
    targets = unpack(pack(samples((0, 0)), 2, SIZE, 5)._asdict(), epoch=0).targets
    assert targets.boxes.shape == (0, 4)
    assert len(targets.labels) == len(targets.image_index) == 0


def test_more_boxes_than_fit():
    with pytest.raises(ValueError, match="a sample has 3 boxes, more than the 2"):
        pack(samples(), 3, SIZE, max_boxes=2)


@pytest.mark.parametrize("num_samples", [2, 4])
def test_another_number_of_samples_than_was_told(num_samples):
    with pytest.raises(ValueError, match="zip"):
        pack(samples(), num_samples, SIZE, max_boxes=5)
