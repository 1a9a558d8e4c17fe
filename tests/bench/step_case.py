"""The batch and the weights on which a whole training step is compared with the official code: numpy only."""

import numpy as np
from loss_cases import plain

DEPTH_WIDTH = {"nano": (0.33, 0.25), "s": (0.33, 0.5)}
NUM_CLASSES = 80
BOXES_PER_IMAGE = 7  # as in COCO


def step_case(side: int, batch_size: int) -> dict[str, np.ndarray]:
    """Noise for images: a step's time does not depend on what they show."""
    rng = np.random.default_rng(0)
    boxes = np.concatenate([plain(rng, (side, side), BOXES_PER_IMAGE) for _ in range(batch_size)])
    return {
        "images": rng.integers(0, 256, (batch_size, side, side, 3), dtype=np.uint8),
        "boxes": boxes.astype(np.float32),
        "labels": rng.integers(0, NUM_CLASSES, len(boxes)),
        "image_index": np.repeat(np.arange(batch_size), BOXES_PER_IMAGE),
        "num_classes": np.array(NUM_CLASSES),
    }
