"""A data set on one page: classes, sizes, shapes and places of its boxes."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rayox_platform.data.stats.measure import DataStats, Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY = "#2f6fab", "#e08a2c", "#6b7280"
_MOST_CLASSES = 30
_MOST_POINTS = 200_000
_FEW_SIZES = 200  # of images: circles that show how many have each
_STYLE: Any = {
    "text.parse_math": False,  # a class may be named $
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _GREY,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
}


def draw_stats(measured: Measured, stats: DataStats, title: str, output: Path) -> None:
    """Write the page; the file's ending says as what. Raises OSError if it cannot be written."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a class's name in a script the font lacks
        figure = Figure(figsize=(16, 9))
        FigureCanvasAgg(figure)
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
        grid = figure.add_gridspec(2, 4, width_ratios=(1.15, 1, 1, 1))
        _classes(figure.add_subplot(grid[:, 0]), stats)
        _sizes(figure.add_subplot(grid[0, 1]), stats)
        _sides(figure.add_subplot(grid[0, 2]), measured, stats)
        _ratios(figure.add_subplot(grid[0, 3]), measured)
        _per_image(figure.add_subplot(grid[1, 1]), measured)
        _images(figure.add_subplot(grid[1, 2]), measured)
        _places(figure.add_subplot(grid[1, 3]), measured)
        figure.suptitle(
            f"{title}   {stats.images:,} images   {stats.boxes:,} boxes   {len(stats.classes)} classes"
            f"   {stats.empty_images:,} images without annotations   {stats.crowds:,} crowds",
            x=0.01,
            ha="left",
            fontsize=12,
        )
        figure.savefig(output, dpi=120)


def _classes(axes: "Axes", stats: DataStats) -> None:
    ordered = sorted(stats.classes, key=lambda found: found.boxes, reverse=True)
    shown, rest = ordered[:_MOST_CLASSES], ordered[_MOST_CLASSES:]
    names = [found.name if len(found.name) <= 24 else f"{found.name[:23]}…" for found in shown]
    rows = np.arange(len(shown))
    boxes = axes.barh(rows, [found.boxes for found in shown], -0.4, align="edge", color=_BLUE, label="boxes")
    axes.barh(rows, [found.images for found in shown], 0.4, align="edge", color=_ORANGE, label="images")
    axes.bar_label(boxes, [f"{found.boxes:,}" for found in shown], color=_GREY, fontsize=8, padding=2)
    axes.set_yticks(rows, names)
    axes.set_ylim(max(len(shown), 12) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=2)
    axes.set_title("Classes")
    axes.set_xlabel(f"{len(rest)} more classes are not shown" if rest else "")


def _sizes(axes: "Axes", stats: DataStats) -> None:
    names = ("small\n< 32²", "medium", "large\n≥ 96²")
    places = np.arange(3)
    for shift, (label, shares, color) in enumerate(
        (("in the image", stats.sizes, _BLUE), (f"at {stats.image_size} px", stats.sizes_at_training, _ORANGE))
    ):
        counts = np.array([shares.small, shares.medium, shares.large])
        bars = axes.bar(places + 0.4 * shift - 0.2, counts, 0.38, color=color, label=label)
        percent = [f"{count / max(counts.sum(), 1):.0%}" for count in counts]
        axes.bar_label(bars, percent, color=_GREY, fontsize=8)
    axes.set_xticks(places, names)
    axes.legend(frameon=False)
    axes.set_title("Boxes by COCO's sizes")


def _sides(axes: "Axes", measured: Measured, stats: DataStats) -> None:
    axes.set_title(f"Box sizes at {stats.image_size} px")
    axes.set_xlabel("width")
    axes.set_ylabel("height")
    objects = ~measured.crowds
    sides = (measured.bboxes[objects, 2:] * measured.box_scales[objects, None])[:_MOST_POINTS]
    if not len(sides):
        return _nothing(axes)
    limits = (1, stats.image_size)
    sides = np.clip(sides, *limits)
    bins = np.geomspace(*limits, 40)
    counts, _, _ = np.histogram2d(sides[:, 0], sides[:, 1], bins=(bins, bins))
    axes.pcolormesh(bins, bins, np.ma.masked_equal(counts.T, 0), cmap="Blues", norm="log" if counts.max() > 1 else None)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for side in (8, 16, 32):  # the strides: below them a box is less than one cell
        axes.axvline(side, color=_ORANGE, linewidth=0.6, linestyle=":")
        axes.axhline(side, color=_ORANGE, linewidth=0.6, linestyle=":")
    ticks = [side for side in (2, 8, 16, 32, 96, 320, 1280) if side <= stats.image_size]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(mpl.ticker.FixedLocator(ticks))
        axis.set_major_formatter(mpl.ticker.ScalarFormatter())
        axis.set_minor_locator(mpl.ticker.NullLocator())


def _ratios(axes: "Axes", measured: Measured) -> None:
    axes.set_title("Boxes: width / height")
    sides = measured.bboxes[~measured.crowds, 2:]
    if not len(sides):
        return _nothing(axes)
    axes.hist(np.clip(np.log2(sides[:, 0] / sides[:, 1]), -4, 4), bins=np.linspace(-4, 4, 41).tolist(), color=_BLUE)
    axes.set_xticks(range(-4, 5, 2), ["≤ 1/16", "1/4", "1", "4", "≥ 16"])


def _per_image(axes: "Axes", measured: Measured) -> None:
    axes.set_title("Boxes an image")
    counts = measured.boxes_per_image
    top = max(int(np.quantile(counts, 0.99)), 5)
    bins = np.arange(-0.5, top + 1.5) if top <= 60 else np.linspace(-0.5, top + 0.5, 41)
    axes.hist(np.minimum(counts, top), bins=bins.tolist(), color=_BLUE)
    axes.set_xlabel(f"the last bar: {top} and more" if counts.max() > top else "")
    axes.set_ylabel("images")
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))


def _images(axes: "Axes", measured: Measured) -> None:
    axes.set_title("Image sizes")
    known = measured.heights > 0
    if not known.any():
        return _nothing(axes)
    sizes, counts = np.unique(np.column_stack([measured.widths, measured.heights])[known], axis=0, return_counts=True)
    area = 20 + 600 * counts / counts.max() if len(sizes) <= _FEW_SIZES else np.full(len(sizes), 3.0)
    axes.scatter(sizes[:, 0], sizes[:, 1], s=area, color=_BLUE, alpha=0.45, linewidths=0)
    limit = float(sizes.max()) * 1.15
    axes.plot([0, limit], [0, limit], color=_GREY, linewidth=0.6, linestyle=":")
    axes.set_xlim(0, limit)
    axes.set_ylim(0, limit)
    axes.set_aspect("equal")
    axes.set_xlabel("width")
    axes.set_ylabel("height")


def _places(axes: "Axes", measured: Measured) -> None:
    axes.set_title("Where the boxes' centers are")
    known = ~measured.crowds & np.isfinite(measured.box_image_sizes).all(axis=1)
    if not known.any():
        return _nothing(axes)
    boxes, sizes = measured.bboxes[known], measured.box_image_sizes[known]
    x = (boxes[:, 0] + boxes[:, 2] / 2) / sizes[:, 1]
    y = (boxes[:, 1] + boxes[:, 3] / 2) / sizes[:, 0]
    counts, _, _ = np.histogram2d(np.clip(x, 0, 1), np.clip(y, 0, 1), bins=24, range=((0, 1), (0, 1)))
    axes.imshow(counts.T, cmap="Blues", extent=(0, 1, 1, 0))
    axes.set_xticks([0, 0.5, 1], ["left", "", "right"])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)


def _nothing(axes: "Axes") -> None:
    axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, ha="center", color=_GREY)
    axes.set_xticks([])
    axes.set_yticks([])
