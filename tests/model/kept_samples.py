"""Samples in memory as a data set, for tests that draw their own."""

import numpy as np

from rayox_model.core.samples import Sample


class KeptSamples:
    """`loaded` has the indices of what was decoded, in order."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return len(self.samples)

    def size(self, index: int) -> tuple[int, int]:
        height, width = self.samples[index].image.shape[:2]
        return height, width

    def annotations(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.samples[index].boxes, self.samples[index].labels

    def load(self, index: int) -> Sample:
        self.loaded.append(index)
        return self.samples[index]
