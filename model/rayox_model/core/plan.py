"""Which image stands where in the training stream: a pure function of (seed, epoch, position).

An epoch is a permutation of the n images, its last batch filled up from the permutation's start. Batches of B samples
are cut into L lanes of B/L, so that any number of workers up to L can share them and see the same batches.
R rows in a block of samples, P images in a partner window.
"""

from bisect import bisect
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from rayox_model.core.errors import ConfigError, DataError

STREAM_CONTRACT = 1  # goes up whenever the same plan would give other samples: a run goes on under its own only
INDEX_BITS = 40  # of the key's second word; the epoch has the bits above
PERMUTATION = 1 << 63  # set in the key's second word, which no sample's key has


class Rows(NamedTuple):
    """A block of samples in the order they are trained on; (epoch, position) names a sample's random numbers."""

    epoch: Int64[np.ndarray, "R"]
    position: Int64[np.ndarray, "R"]  # in the epoch, past n where the last batch is filled up
    image: Int64[np.ndarray, "R"]


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of the sample at a position of an epoch (0 ≤ index < 2^40, epoch < 2^23)."""
    return _generator(seed, epoch << INDEX_BITS | index)


def epoch_permutation(seed: int, epoch: int, num_images: int) -> Int64[np.ndarray, "num_images"]:
    """The order of the images in an epoch."""
    order: np.ndarray = _generator(seed, PERMUTATION | epoch).permutation(num_images)
    return order


def _generator(seed: int, word: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, word], np.uint64)))


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Batches in an epoch, the last one filled up."""
    return -(-num_images // batch_size)


def epoch_images(seed: int, epoch: int, positions: Int64[np.ndarray, "R"], num_images: int) -> Int64[np.ndarray, "R"]:
    """The images at positions of an epoch; past the last image the permutation starts again."""
    images: np.ndarray = epoch_permutation(seed, epoch, num_images)[positions % num_images]
    return images


def lane_positions(
    steps: Int64[np.ndarray, "S"], lane: int, batch_size: int, lanes: int
) -> Int64[np.ndarray, "S lane_size"]:
    """The positions in their epoch that a lane holds of the epoch's steps."""
    lane_size = batch_size // lanes
    return steps[:, None] * batch_size + lane * lane_size + np.arange(lane_size)


def check_lanes(batch_size: int, lanes: int) -> None:
    """Raise ConfigError unless the batch divides evenly into the lanes."""
    if batch_size % lanes == 0:
        return
    fitting = max(divisor for divisor in range(1, min(lanes, batch_size) + 1) if batch_size % divisor == 0)
    raise ConfigError(
        f"train.batch_size {batch_size} is not a multiple of data.lanes {lanes}",
        f"set data.lanes to {fitting}, or train.batch_size to {-(-batch_size // lanes) * lanes}",
    )


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """The whole training stream, from a global step on, cut into blocks: one for each window of steps and lane.

    Raises DataError without images and ConfigError when the lanes do not divide the batch.
    """

    num_images: int
    batch_size: int
    """Images a step, all workers together."""
    lanes: int
    epochs: int
    seed: int
    closing_epochs: int
    """How many epochs at the end are without mosaic and mixup."""
    start_step: int = 0
    """The first step of the stream: the number of steps trained before. Step 0 begins epoch 0."""
    window_steps: int = 8
    """Steps in a window, cut at multiples of it; the last has what is left over too, and the steps up to the first
    multiple are cut into windows of 1, 2, 4 …: training begins when the first is there, not the first 8."""
    partner_steps: int = 8
    """Steps whose images of a lane may be each other's partners, cut at multiples of it too."""

    def __post_init__(self) -> None:
        if self.num_images < 1:
            raise DataError("there are no images to train on", "check data.train.annotations with `rayox data check`")
        check_lanes(self.batch_size, self.lanes)

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.num_images, self.batch_size)

    @property
    def num_steps(self) -> int:
        """Steps of the whole run, with those before start_step."""
        return self.epochs * self.steps_per_epoch

    @property
    def num_windows(self) -> int:
        """None of them has fewer steps than the one before: what deals blocks by their rows then skips no rank."""
        if self.start_step >= self.num_steps:
            return 0
        return len(self._short_windows) + (self.num_steps - self._first_full) // self.window_steps

    @property
    def _first_full(self) -> int:
        """The first step of the first window of full length; the number of the run's steps if there is none."""
        step = (self.start_step // self.window_steps + 1) * self.window_steps
        return step if step + self.window_steps <= self.num_steps else self.num_steps

    @property
    def _short_windows(self) -> list[int]:
        """The first steps of the windows before that, of 1, 2, 4 … steps, the last with what is left over."""
        starts, length = [self.start_step], 1
        while self._first_full - starts[-1] >= 3 * length:
            starts.append(starts[-1] + length)
            length *= 2
        return starts

    def position(self, step: int) -> dict[str, int]:
        """Where the stream goes on after so many steps, and all that decides what comes there, beside the images."""
        return {
            "contract": STREAM_CONTRACT,
            "step": step,
            "epoch": step // self.steps_per_epoch,
            "index": step % self.steps_per_epoch * self.batch_size,
            "seed": self.seed,
            "num_images": self.num_images,
            "batch_size": self.batch_size,
            "lanes": self.lanes,
            "partner_steps": self.partner_steps,
        }

    def strong(self, epoch: int) -> bool:
        """Whether an epoch has mosaic and mixup."""
        return epoch < self.epochs - self.closing_epochs

    def steps(self, window: int) -> range:
        """The global steps of a window."""
        assert 0 <= window < self.num_windows, f"window {window} of {self.num_windows}"
        return range(self._first_step(window), self._first_step(window + 1))

    def _first_step(self, window: int) -> int:
        """The first step of a window; for the number of windows, the number of the run's steps."""
        if window >= self.num_windows:
            return self.num_steps
        short = self._short_windows
        if window < len(short):
            return short[window]
        return self._first_full + (window - len(short)) * self.window_steps

    def num_rows(self, window: int) -> int:
        """The rows of each of a window's blocks."""
        return len(self.steps(window)) * self.batch_size // self.lanes

    def window_of(self, step: int) -> int:
        """The window that a step of the stream is in."""
        assert self.start_step <= step < self.num_steps, f"step {step} of {self.start_step} to {self.num_steps}"
        short = self._short_windows
        if step < self._first_full:
            return bisect(short, step) - 1
        return min(len(short) + (step - self._first_full) // self.window_steps, self.num_windows - 1)

    def position_of(self, image: int, epoch: int) -> int:
        """Where an image first stands in an epoch."""
        return int(np.flatnonzero(epoch_permutation(self.seed, epoch, self.num_images) == image)[0])

    def rows(self, window: int, lane: int) -> Rows:
        """A lane's samples in a window, step by step: (number of steps)·B/L rows."""
        assert 0 <= window < self.num_windows, f"window {window} of {self.num_windows}"
        return self._lane_rows(self.steps(window), lane)

    def partner_window(self, epoch: int, position: int) -> int:
        """The number of the partner window that a sample is in."""
        step = epoch * self.steps_per_epoch + position // self.batch_size
        return step // self.partner_steps

    def partners(self, partner_window: int, lane: int) -> Int64[np.ndarray, "P"]:
        """The images of a lane in a partner window; always all of them, as if the run had begun before and went on."""
        first = partner_window * self.partner_steps
        return self._lane_rows(range(first, first + self.partner_steps), lane).image

    def _lane_rows(self, steps: range, lane: int) -> Rows:
        epochs, in_epoch = np.divmod(np.array(steps, np.int64), self.steps_per_epoch)
        positions = lane_positions(in_epoch, lane, self.batch_size, self.lanes)  # [S, B/L]
        parts = [
            epoch_images(self.seed, epoch, positions[epochs == epoch].ravel(), self.num_images)
            for epoch in np.unique(epochs).tolist()
        ]
        return Rows(np.repeat(epochs, positions.shape[1]), positions.ravel(), np.concatenate(parts))
