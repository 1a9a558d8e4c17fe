"""Our loss on a case of loss_cases.py, timed once per line of standard input.

rayox_loss.py CASE THREADS    answers with the seconds: whole, assignment, losses, backward
"""

import sys
import time

import numpy as np
import torch

from rayox_model.assign.assigner import assign
from rayox_model.assign.simota_settings import SimOTA
from rayox_model.core.anchors import anchor_points
from rayox_model.core.structures import Predictions, Targets
from rayox_model.loss.losses import LossWeights, divided, loss_sums


def serve(path: str, threads: int) -> None:
    """One run a line: raw outputs → assignment → losses → gradients of the raw outputs."""
    torch.set_num_threads(threads)
    case = dict(np.load(path))
    raw = torch.from_numpy(case["raw"])
    parts = [raw[..., :4].contiguous(), raw[..., 4].contiguous(), raw[..., 5:].contiguous()]
    targets = Targets(*(torch.from_numpy(case[name]) for name in ("boxes", "labels", "image_index")))
    height, width = case["size"].tolist()
    for _ in sys.stdin:
        predictions = Predictions(*(part.clone().requires_grad_() for part in parts))
        anchors = anchor_points(height, width, torch.device("cpu"))
        start = time.perf_counter()
        assignment = assign(predictions, anchors, targets, SimOTA())
        assigned = time.perf_counter()
        sums = loss_sums(predictions, anchors, targets, assignment, LossWeights(), bool(case["with_l1"]))
        terms = divided(sums, sums.num_positives.clamp(min=1))
        forward = time.perf_counter()
        terms.total.backward()
        end = time.perf_counter()
        print(end - start, assigned - start, forward - assigned, end - forward, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
