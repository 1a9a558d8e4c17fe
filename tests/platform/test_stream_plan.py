"""From settings to the cut of the stream: how large blocks and partner windows are."""

import pytest

from rayox_model.augment.augment_settings import Augment
from rayox_platform.config.tree import Config, Data, Train
from rayox_platform.train.stream_blocks import block_bytes, larger_blocks, stream_plan


@pytest.mark.parametrize(
    ("partners", "batch_size", "lanes", "block_steps", "partner_steps"),
    [
        ("dataset", 64, 8, 4, 4),  # 32 rows of 640 pixels
        ("window", 64, 8, 4, 4),  # a block is a window: 32 images of 4 steps
        ("window", 8, 8, 32, 32),
        ("window", 512, 8, 1, 1),  # never less than a lane's share of a batch
    ],
)
def test_blocks_are_whole_partner_windows(partners, batch_size, lanes, block_steps, partner_steps):
    train, data = Train(batch_size=batch_size, workers=(1, 1)), Data(lanes=lanes)
    plan = stream_plan(Config(train=train, data=data, augment=Augment(partners=partners)), num_images=1000)
    assert (plan.window_steps, plan.partner_steps) == (block_steps, partner_steps)


def test_the_size_of_the_window_is_a_setting():
    config = Config(train=Train(batch_size=64), augment=Augment(partners="window", partner_window=64))
    assert stream_plan(config, num_images=1000).partner_steps == 8


@pytest.mark.parametrize(("room_blocks", "block_steps"), [(0.5, 4), (1.9, 4), (2, 8), (100, 8)])
def test_blocks_grow_to_what_the_object_store_has_room_for(room_blocks, block_steps):
    config = Config(train=Train(batch_size=64))
    plan = stream_plan(config, num_images=1000)
    larger = larger_blocks(config, plan, room_blocks * block_bytes(config, plan))
    assert larger.window_steps == block_steps  # of 8 rows each; never more than 64 rows
    assert larger.partner_steps == plan.partner_steps
    assert larger.position(17) == plan.position(17)
