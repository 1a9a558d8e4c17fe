"""The matcher all assigners share: each box takes its cheapest columns, each column ends with one box at most.

N boxes of a whole batch, B images, U columns (candidate anchor points of an image, padded), G boxes of the fullest
image, P matched columns. An assigner is a cost [N, U] and a number of wanted columns [N]; nothing else differs.
"""

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor
from torch.nn import functional as F


def match(
    cost: Float32[Tensor, "N U"], wanted: Int64[Tensor, "N"], limit: int, image_starts: Int64[Tensor, "B_plus_1"]
) -> tuple[Int64[Tensor, "P"], Int64[Tensor, "P"]]:
    """(box, column) of every match, by image and then column.

    `cost` is infinite or NaN where a match is forbidden, padding included; no box wants more than `limit` columns;
    boxes image_starts[b] to image_starts[b + 1] are those of image b. A column that several boxes of an image take
    goes to the box that is cheapest for it among all boxes of the image, taking it or not. Ties go to the lowest
    column and the lowest box, on every device. N and U are at least 1.
    """
    taken = cheapest_columns(cost, wanted, limit)  # [N, U]
    num_columns, box_counts = cost.shape[1], image_starts.diff()  # [B]
    image_index = torch.repeat_interleave(box_counts, output_size=len(cost))  # [N]
    takers = cost.new_zeros((len(box_counts), num_columns)).index_add_(0, image_index, taken.float())  # [B, U]
    image, column = takers.nonzero(as_tuple=True)  # [P]
    first, end = image_starts[image, None], image_starts[image + 1, None]  # [P, 1]
    rows = first + torch.arange(int(box_counts.max()), device=cost.device)  # [P, G]
    entries = (rows.clamp(max=len(cost) - 1) * num_columns + column[:, None]).flatten()
    shared = takers[image, column, None] > 1  # [P, 1]
    eligible = (rows < end) & (shared | taken.flatten().index_select(0, entries).view_as(rows))
    costs = cost.flatten().index_select(0, entries).view_as(rows).where(eligible, torch.inf)
    cheapest = costs.nan_to_num_(nan=torch.inf, posinf=torch.inf).argmin(dim=1)  # the first one on ties
    return image_starts[image] + cheapest, column


def cheapest_columns(cost: Float32[Tensor, "N U"], wanted: Int64[Tensor, "N"], limit: int) -> Bool[Tensor, "N U"]:
    """Which columns each box takes: its `wanted` cheapest, at equal cost the lowest; never an infinite one."""
    lowest = smallest(cost, limit)  # [N, limit]
    last = lowest.gather(1, wanted[:, None] - 1)  # [N, 1]
    room = wanted[:, None] - (lowest < last).sum(dim=1, keepdim=True)  # for those that cost as much as the last one
    level = (cost == last) & last.isfinite()
    return (cost < last) | (level & (level.cumsum(dim=1) <= room))


def smallest(values: Float32[Tensor, "N U"], count: int) -> Float32[Tensor, "N count"]:
    """The `count` smallest of each row, ascending; infinite where the row is shorter, NaN counting as infinite."""
    # On CPUs torch.topk is four times faster on rows of at least 64 · count: a heap instead of a partial sort.
    num_columns, enough = values.shape[1], 64 * count
    width = enough if num_columns < enough <= 4 * num_columns else max(num_columns, count)
    padded = F.pad(values, (0, width - num_columns), value=torch.inf)
    return padded.topk(count, dim=1, largest=False).values.nan_to_num_(nan=torch.inf, posinf=torch.inf)
