"""How long one sample and one step take here: measured on a few of a training's own, without Ray and without a run."""

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import islice, pairwise

import cv2
import torch

from rayox_model.core.collate import unpack
from rayox_model.core.pack import pack
from rayox_model.core.samples import Sample
from rayox_model.core.structures import Batch
from rayox_model.train.engine import new_state, train
from rayox_platform.data.look import step_samples
from rayox_platform.resources.outlook import Rates
from rayox_platform.train.from_config import engine_settings
from rayox_platform.train.prepare import Prepared

STEPS, WARM_UP_STEPS = 6, 2
SAMPLES = 24  # beside a few that find the images in the file cache
TOGETHER_SECONDS, TOGETHER_ROUNDS = 0.2, 5  # something else may have a core for a moment
EVALUATION_SHARE = 0.4  # of a training step's time, that the forward pass and the decoding of an image take


def measure(prepared: Prepared, images_per_worker: int) -> Rates:
    """The rates of a training with so many images of a batch on each worker; leaves the network as it is."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)  # so that a step is told in the time of one core
    try:
        fewer = max(images_per_worker // 2, 1)
        whole, half = _step_seconds(prepared, images_per_worker, device), _step_seconds(prepared, fewer, device)
    finally:
        torch.set_num_threads(threads)
    per_image = max((whole - half) / max(images_per_worker - fewer, 1), whole / images_per_worker / 4)
    num_parameters = sum(parameter.numel() for parameter in prepared.network.parameters())
    return Rates(
        sample_seconds=_sample_seconds(prepared),
        step_seconds=max(whole - per_image * images_per_worker, 0.0),
        image_seconds=per_image,
        evaluation_seconds=per_image * EVALUATION_SHARE,
        gradient_bytes=4 * num_parameters,
        checkpoint_bytes=16 * num_parameters,  # weights, their average, and two numbers each of the optimiser
        gpu=device.type == "cuda",
        together=_together(os.cpu_count() or 1),
    )


def _together(cpus: int) -> float:
    """Speed of a core while all of them compute, against one that computes alone: they share caches, memory, heat."""
    if cpus == 1:
        return 1.0
    return min(1.0, statistics.median(_convolutions(cpus) / cpus / _convolutions(1) for _ in range(TOGETHER_ROUNDS)))


def _convolutions(threads: int) -> float:
    """How many a second all threads do together; torch does them without the interpreter's lock."""

    def count(_: int) -> float:
        torch.set_num_threads(1)  # each thread has a number of its own
        image, kernel = torch.zeros(4, 64, 80, 80), torch.zeros(64, 64, 3, 3)
        with torch.inference_mode():
            torch.nn.functional.conv2d(image, kernel)
            began, done = time.perf_counter(), 0
            while (taken := time.perf_counter() - began) < TOGETHER_SECONDS:
                torch.nn.functional.conv2d(image, kernel)
                done += 1
        return done / taken

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(count, range(threads)))


def _sample_seconds(prepared: Prepared) -> float:
    """How long one augmented image takes on one core."""
    config = prepared.config
    before = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        made = step_samples(prepared.train_images, prepared.plan, 0, config.augment, config.image_size)
        list(islice(made, 4))
        began, count = time.perf_counter(), 0
        for step in range(1, max(prepared.plan.num_steps, 2)):
            shown = step_samples(prepared.train_images, prepared.plan, step, config.augment, config.image_size)
            count += len([one.sample for one in islice(shown, SAMPLES - count)])
            if count >= SAMPLES:
                break
        return (time.perf_counter() - began) / max(count, 1)
    finally:
        cv2.setNumThreads(before)


def _step_seconds(prepared: Prepared, images: int, device: torch.device) -> float:
    settings = engine_settings(prepared.config, prepared.plan, device.type)
    state = new_state(deepcopy(prepared.network).to(device), settings, device)
    batch = _batch(prepared, images)
    times = [time.perf_counter()]
    for report in train(state, [batch] * (STEPS + WARM_UP_STEPS), settings, device):
        float(report.losses.total)  # waits for a GPU
        times.append(time.perf_counter())
    between = [after - before for before, after in pairwise(times)]
    return statistics.median(between[WARM_UP_STEPS:])


def _batch(prepared: Prepared, images: int) -> Batch:
    """So many images of the run's first steps; the same again when the data set has no more."""
    config = prepared.config
    samples: list[Sample] = []
    for step in range(prepared.plan.num_steps):
        shown = step_samples(prepared.train_images, prepared.plan, step, config.augment, config.image_size)
        samples += [one.sample for one in islice(shown, images - len(samples))]
        if len(samples) == images:
            break
    samples += [samples[at % len(samples)] for at in range(images - len(samples))]
    return unpack(pack(samples, images, config.image_size, config.augment.max_boxes)._asdict(), epoch=0)
