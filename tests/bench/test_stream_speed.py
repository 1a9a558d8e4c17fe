"""The stream against the same samples made by plain processes, and its memory over twenty epochs."""

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import empty_stream
import numpy as np
import pytest
import ray
from empty_stream import Idle, NoSamples, count_blocks, largest_bytes, private_bytes

from rayox_cluster.local import ray_session
from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.block import keep_freed_memory
from rayox_model.core.plan import StreamPlan
from rayox_platform.data.images import CocoImages
from rayox_platform.data.resolve import resolve_split
from rayox_platform.ray_internals.first_call import ray_imported
from rayox_platform.ray_internals.prestart import keep_spare_helpers, worker_environment
from rayox_platform.stream.batches import rank_batches
from rayox_platform.stream.blocks import SampleBlocks
from rayox_platform.stream.dataset import stream_dataset

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
ray.cloudpickle.register_pickle_by_value(empty_stream)  # workers do not look for modules here
CPUS = 2
NUM_IMAGES, NUM_SAMPLES, SIZE = 300, 1280, (640, 640)
ROUNDS = 8
MEMORY = {
    name: value for name, value in worker_environment().items() if name.startswith("MALLOC")
}  # as a training worker has


@pytest.fixture(scope="module")
def photos(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> CocoImages:
    """300 photos of about 640 × 480 and 86 KB with 7 boxes each, cut out of the COCO ones."""
    folder = tmp_path_factory.mktemp("photos")
    sources = sorted((shared_data / "coco_dev" / "train2017").glob("*.jpg"))
    rng = np.random.default_rng(0)
    coco: dict[str, list[dict[str, object]]] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    for number in range(NUM_IMAGES):
        image = cv2.imread(str(sources[number % len(sources)]))
        height, width = image.shape[:2]
        y, x = int(rng.integers(0, height // 5)), int(rng.integers(0, width // 5))
        image = cv2.resize(image[y : y + height * 4 // 5, x : x + width * 4 // 5], (640, 480))
        _write_of_size(folder / f"{number}.jpg", image, 86_000)
        coco["images"].append({"id": number, "file_name": f"{number}.jpg", "height": 480, "width": 640})
        for _ in range(7):
            w, h = rng.uniform(20, 250, 2)
            box = [rng.uniform(0, 640 - w), rng.uniform(0, 480 - h), w, h]
            coco["annotations"].append(
                {
                    "id": len(coco["annotations"]),
                    "image_id": number,
                    "category_id": 1,
                    "bbox": box,
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    (folder / "photos.json").write_text(json.dumps(coco))
    _, images = resolve_split(str(folder / "photos.json"), str(folder), folder)
    return images


def _write_of_size(path: Path, image: np.ndarray, num_bytes: int) -> None:
    for quality in range(95, 30, -5):
        content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(content) <= num_bytes:
            break
    path.write_bytes(content)


def plan_of(rows_per_block: int, epochs: int) -> StreamPlan:
    return StreamPlan(
        num_images=NUM_IMAGES,
        batch_size=16,
        lanes=8,
        epochs=epochs,
        seed=1,
        closing_epochs=0,
        window_steps=rows_per_block // 2,
    )


def plain_rate(images: CocoImages, plan: StreamPlan, pool: ProcessPoolExecutor) -> float:
    windows = [window for window in range(plan.num_windows) if len(plan.steps(window)) == plan.window_steps]
    blocks = [(window, lane) for window in windows for lane in range(plan.lanes)]
    blocks = blocks[: -(-NUM_SAMPLES // plan.num_rows(windows[0]))]
    start = time.perf_counter()
    made = sum(pool.map(_plain_block, blocks))
    return made / (time.perf_counter() - start)


_PLAIN: list[tuple[CocoImages, SampleBlocks]] = []


def _load(images: CocoImages, plan: StreamPlan) -> None:
    cv2.setNumThreads(0)
    keep_freed_memory()
    _PLAIN.append((images, SampleBlocks(None, plan, Augment(), SIZE)))  # type: ignore[arg-type]


def _plain_block(block: tuple[int, int]) -> int:
    images, blocks = _PLAIN[0]
    return len(blocks.samples(images, *block)["lane"])


@ray.remote(num_cpus=0)
class Consumer:
    """Takes batches as a training worker does."""

    def rate(self, shard: ray.data.DataIterator, plan: StreamPlan, num_samples: int) -> tuple[float, float]:
        """Seconds to the first batch; images a second from the first batch of a window to that of a later one."""
        start = time.perf_counter()
        batches = rank_batches(shard, plan, 0, 1)
        next(batches)
        first = time.perf_counter() - start
        for _ in range(1, plan.window_steps):
            next(batches)
        steps = -(-num_samples // (plan.window_steps * plan.batch_size)) * plan.window_steps
        next(batches)
        began = time.perf_counter()
        for _ in range(steps):
            next(batches)
        seconds = time.perf_counter() - began
        batches.close()
        return first, steps * plan.batch_size / seconds


@pytest.mark.parametrize("rows_per_block", [16, 32, 64])
def test_the_stream_is_nearly_as_fast_as_plain_processes(photos: CocoImages, rows_per_block: int) -> None:
    plan = plan_of(rows_per_block, epochs=40)
    plain, streamed, firsts = [], [], []
    pool = ProcessPoolExecutor(CPUS, get_context("spawn"), _load, (photos, plan))
    list(pool.map(_plain_block, [(0, 0), (0, 1)]))
    session = ray_session(None, CPUS, worker_environment={"OMP_NUM_THREADS": "1"}, local_environment=ray_imported())
    with pool, session:  # started, and its helpers kept ready, as for a training
        keep_spare_helpers()
        reference, consumer = ray.put(photos), Consumer.options(runtime_env={"env_vars": MEMORY}).remote()
        for attempt in range(ROUNDS + 1):
            dataset = stream_dataset(SampleBlocks(reference, plan, Augment(), SIZE))
            (shard,) = dataset.streaming_split(1, equal=False)
            first, rate = ray.get(consumer.rate.remote(shard, plan, NUM_SAMPLES))
            if attempt:  # the first one starts the data tasks' processes
                firsts.append(first)
                streamed.append(rate)
                plain.append(plain_rate(photos, plan, pool))
    ratio = float(np.median(np.divide(streamed, plain)))
    print(
        f"\n{rows_per_block} rows a block: stream {np.median(streamed):.1f} images/s, plain processes "
        f"{np.median(plain):.1f}, ratio {ratio:.2f}; first batch after {', '.join(f'{one:.1f}' for one in firsts)} s"
    )
    if rows_per_block == 64:  # as a training at this size has them where the object store has 4 GB or more
        assert ratio >= 0.9
        assert np.median(firsts) <= 5


def test_two_million_blocks_start_at_once(photos: CocoImages) -> None:
    """300 epochs of 118 287 images in blocks of 18 rows; the work itself is left out."""
    plan = StreamPlan(num_images=118_287, batch_size=16, lanes=8, epochs=300, seed=1, closing_epochs=0, window_steps=9)
    num_blocks = plan.num_windows * plan.lanes
    with ray_session(None, num_cpus=CPUS, local_environment=ray_imported()):
        ray.get(Idle.remote().ready.remote())
        start = time.perf_counter()
        dataset = stream_dataset(NoSamples(None, plan, Augment(), SIZE))  # type: ignore[arg-type]
        (shard,) = dataset.streaming_split(1, equal=False)
        made = time.perf_counter() - start
        series = ray.get(count_blocks.remote(shard, 60.0))
    first, taken, memory = series[0][0], series[-1][1], [f"{bytes_ / 2**20:.0f}" for _, _, bytes_ in series]
    print(f"\n{num_blocks} blocks: made in {made:.2f} s, first after {first:.1f} s, {taken} in {series[-1][0]:.0f} s")
    print(f"MB of the coordinating process as blocks pass: {' '.join(memory)}")
    assert num_blocks > 1_900_000
    assert first < 15


@ray.remote(num_cpus=0)
def memory_by_epoch(shard: ray.data.DataIterator, plan: StreamPlan, driver: int) -> list[tuple[int, int, int, int]]:
    """Private bytes of the driver, the reading worker, the split's coordinator and the largest data task."""
    series = []
    for number, _ in enumerate(rank_batches(shard, plan, 0, 1)):
        if number % plan.steps_per_epoch == plan.steps_per_epoch - 1:
            both = private_bytes(driver), private_bytes(os.getpid())
            tasks = largest_bytes("ray::MapBatches", "ray::IDLE")
            series.append((*both, largest_bytes("ray::SplitCoordinator"), tasks))
    return series


def test_memory_is_flat_over_twenty_epochs(photos: CocoImages) -> None:
    plan = plan_of(16, epochs=20)
    with ray_session(None, num_cpus=CPUS, worker_environment={"OMP_NUM_THREADS": "1"}):
        dataset = stream_dataset(SampleBlocks(ray.put(photos), plan, Augment(), (160, 160)))
        (shard,) = dataset.streaming_split(1, equal=False)
        series = ray.get(memory_by_epoch.remote(shard, plan, os.getpid()))
    print("\nMB by epoch")
    for name, values in zip(("driver", "worker", "coordinator", "data task"), zip(*series, strict=True), strict=True):
        print(f"{name:12s}", *[f"{value / 2**20:.0f}" for value in values])
        assert max(values[2:]) <= 1.05 * values[1], name
