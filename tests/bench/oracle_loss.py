"""The official loss (pixeltable-yolox 0.4.3) on the cases of loss_cases.py; run by the oracle's own Python.

    oracle_loss.py small|full FOLDER    write one .npz per case: its input, the assignment, the terms and gradients
    oracle_loss.py published FOLDER     the small ones by yolox 0.3.0, whose rule is that of the published weights
    oracle_loss.py time CASE THREADS    a line on standard input runs the case once; answers with the seconds

Terms are those of get_losses: total, IoU, objectness, classification, L1. Gradients are with respect to `raw`.
"""

import importlib
import sys
import time
import types
import warnings
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from loss_cases import anchor_grid, full_cases, small_cases


@cache
def official_head() -> type:
    """Its head class, without its package's __init__, which imports half the world."""
    root = Path(next(iter(find_spec("yolox").submodule_search_locations)))
    for name in ("yolox", "yolox.models", "yolox.utils"):
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module
    boxes, utils = importlib.import_module("yolox.utils.boxes"), sys.modules["yolox.utils"]
    utils.bboxes_iou, utils.cxcywh2xyxy = boxes.bboxes_iou, getattr(boxes, "cxcywh2xyxy", None)
    utils.meshgrid = partial(torch.meshgrid, indexing="ij")
    utils.visualize_assign = None
    heads = importlib.import_module("yolox.models.yolo_head")
    return heads.YOLOXHead if hasattr(heads, "YOLOXHead") else heads.YoloxHead  # as 0.3.0 and 0.4.3 call it


class Recorder:
    """The official head with fabricated outputs, keeping what its assignment said."""

    def __init__(self, case: dict) -> None:
        self.num_classes = case["raw"].shape[2] - 5
        self.head = official_head()(self.num_classes, width=0.125)
        self.head.use_l1 = bool(case["with_l1"])
        self.raw = torch.from_numpy(case["raw"])
        grid, strides = (torch.from_numpy(a) for a in anchor_grid(tuple(case["size"])))
        self.grid, self.strides = grid, strides
        self.labels = padded_labels(case, len(self.raw))
        self.assigned = []
        assign = self.head.get_assignments

        def recording(batch_idx, *args, **kwargs):
            answer = assign(batch_idx, *args, **kwargs)
            self.assigned.append((batch_idx, answer[1].clone(), answer[3], answer[2]))
            return answer

        self.head.get_assignments = recording

    def decode(self, raw: torch.Tensor) -> torch.Tensor:
        center = (raw[..., :2] + self.grid) * self.strides[:, None]
        return torch.cat((center, raw[..., 2:4].exp() * self.strides[:, None], raw[..., 4:]), dim=-1)

    def losses(self, outputs: torch.Tensor, raw: torch.Tensor) -> tuple:
        x, y, strides = self.grid[None, :, 0], self.grid[None, :, 1], self.strides[None]
        return self.head.get_losses(None, [x], [y], [strides], self.labels, outputs, [raw[..., :4]], outputs.dtype)


def padded_labels(case: dict, num_images: int) -> torch.Tensor:
    """[B, G, 5] as (class, cx, cy, w, h), padded with zeros."""
    boxes = torch.from_numpy(case["boxes"])
    rows = torch.cat(
        (
            torch.from_numpy(case["labels"]).float()[:, None],
            (boxes[:, :2] + boxes[:, 2:]) / 2,
            boxes[:, 2:] - boxes[:, :2],
        ),
        dim=1,
    )
    assert (rows.sum(dim=1) > 0).all(), "the official code would take such a box for padding"
    counts = np.bincount(case["image_index"], minlength=num_images)
    labels = torch.zeros(num_images, max(int(counts.max()), 1), 5)
    for image, each in enumerate(rows.split(counts.tolist())):
        labels[image, : len(each)] = each
    return labels


def outcome(case: dict) -> dict:
    recorder = Recorder(case)
    raw = recorder.raw.clone().requires_grad_()
    terms = recorder.losses(recorder.decode(raw), raw)
    terms[0].backward()
    first = np.searchsorted(case["image_index"], np.arange(len(raw)))
    image, anchor, box, iou = [], [], [], []
    for index, foreground, matched, overlap in recorder.assigned:
        points = foreground.nonzero()[:, 0].numpy()
        image.append(np.full(len(points), index))
        anchor.append(points)
        box.append(first[index] + matched.numpy())
        iou.append(overlap.numpy())
    none = [np.zeros(0)]
    return {
        "terms": np.array([float(torch.as_tensor(term).detach()) for term in terms[:5]], dtype=np.float32),
        "gradient": raw.grad.numpy(),
        "image": np.concatenate([*none, *image]).astype(np.int64),
        "anchor": np.concatenate([*none, *anchor]).astype(np.int64),
        "box": np.concatenate([*none, *box]).astype(np.int64),
        "iou": np.concatenate([*none, *iou]).astype(np.float32),
    }


def write(cases, folder: Path, prefix: str = "loss") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        arrays = case.arrays()
        np.savez_compressed(folder / f"{prefix}_{case.name}.npz", **arrays, **outcome(arrays))


def serve(path: str, threads: int) -> None:
    """One timed run a line: raw outputs → decode → get_losses → gradients of the raw outputs."""
    torch.set_num_threads(threads)
    recorder = Recorder(dict(np.load(path)))
    for _ in sys.stdin:
        raw = recorder.raw.clone().requires_grad_()
        start = time.perf_counter()
        outputs = recorder.decode(raw)
        decoded = time.perf_counter()
        terms = recorder.losses(outputs, raw)
        forward = time.perf_counter()
        terms[0].backward()
        end = time.perf_counter()
        recorder.assigned.clear()
        print(end - start, decoded - start, forward - decoded, end - forward, flush=True)


def main() -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["small", folder]:
            write(small_cases(), Path(folder))
        case ["published", folder]:  # where no box has a candidate, 0.3.0 stops with an error
            write((case for case in small_cases() if not case.name.startswith("outside")), Path(folder), "published")
        case ["full", folder]:
            write(full_cases(), Path(folder))
        case ["time", path, threads]:
            serve(path, int(threads))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
