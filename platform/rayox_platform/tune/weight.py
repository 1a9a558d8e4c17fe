"""What a trained network weighs, for campaigns that trade accuracy against it."""

import time
from collections.abc import Collection
from statistics import median

import torch

from rayox_model.nets.yolox import YOLOX

WARM_UP, REPEATS = 2, 10
WEIGHTS = ("parameters", "milliseconds")


def weigh_network(network: YOLOX, image_size: tuple[int, int], asked: Collection[str]) -> dict[str, float]:
    """Those asked for: the number of parameters; the median milliseconds of a forward pass of one image, here."""
    found = {}
    if "parameters" in asked:
        found["parameters"] = float(sum(parameter.numel() for parameter in network.parameters()))
    if "milliseconds" in asked:
        found["milliseconds"] = 1000 * _seconds(network, image_size)
    return found


def _seconds(network: YOLOX, image_size: tuple[int, int]) -> float:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    was_training = network.training
    network.eval().to(device)
    image = torch.zeros(1, 3, *image_size, device=device)
    taken = []
    with torch.inference_mode():
        for _ in range(WARM_UP + REPEATS):
            began = time.perf_counter()
            network(image)
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - began)
    network.train(was_training)
    return median(taken[WARM_UP:])
