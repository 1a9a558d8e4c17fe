"""ONNX files whose boxes are decoded inside, made of files that give the head's raw regression."""

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from rayox_model.core.anchors import anchor_points

Form = Literal["centers", "corners", "fractions"]


def decode_inside(source: Path, target: Path, image_size: tuple[int, int], form: Form = "centers") -> Path:
    """As the official export's --decode_in_inference writes it (centers), or as others do."""
    model = onnx.load(source)
    graph, given = model.graph, model.graph.output[0].name
    anchors = anchor_points(*image_size, torch.device("cpu"))
    height, width = image_size
    constants = {
        "grid": anchors.grid.numpy(),
        "strides": anchors.strides.numpy()[:, None],
        **{f"at_{place}": np.array([place], np.int64) for place in (0, 2, 4, 1000)},
        "axis": np.array([2], np.int64),
        "halves": np.array(0.5, np.float32),
        "sides": np.array([width, height], np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, f"new_{name}") for name, value in constants.items())
    nodes = [
        *(
            helper.make_node("Slice", [given, f"new_at_{start}", f"new_at_{end}", "new_axis"], [f"new_{part}"])
            for part, start, end in (("xy", 0, 2), ("wh", 2, 4), ("rest", 4, 1000))
        ),
        helper.make_node("Add", ["new_xy", "new_grid"], ["new_cells"]),
        helper.make_node("Mul", ["new_cells", "new_strides"], ["new_centers"]),
        helper.make_node("Exp", ["new_wh"], ["new_scales"]),
        helper.make_node("Mul", ["new_scales", "new_strides"], ["new_sizes"]),
        helper.make_node("Mul", ["new_sizes", "new_halves"], ["new_half_sizes"]),
        helper.make_node("Sub", ["new_centers", "new_half_sizes"], ["new_low"]),
        helper.make_node("Add", ["new_centers", "new_half_sizes"], ["new_high"]),
        helper.make_node("Div", ["new_centers", "new_sides"], ["new_places"]),
        helper.make_node("Div", ["new_sizes", "new_sides"], ["new_shares"]),
    ]
    parts = {
        "centers": ("new_centers", "new_sizes"),
        "corners": ("new_low", "new_high"),
        "fractions": ("new_places", "new_shares"),
    }[form]
    graph.node.extend([*nodes, helper.make_node("Concat", [*parts, "new_rest"], ["new_output"], axis=2)])
    graph.output[0].name = "new_output"
    onnx.save(model, target)
    return target
