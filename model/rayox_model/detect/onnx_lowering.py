"""ONNX files for old runtimes: the lowest operator set and file format that hold the network.

torch writes operator set 18 and format (IR) 10, which runtimes on devices may be too old for. What YOLOX computes is
in operator set 11 already, of 2019, as the official exports have it: the few operators that changed since are written
in their older form. A network that needs more keeps the lowest set that has it.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper, version_converter

Constants = dict[str, NDArray[np.generic]]

OLDEST, OLDEST_IR = 11, 6
CONVERTED = 14  # the lowest that onnx's own converter reaches from 18
IR_OF = {OLDEST: OLDEST_IR, CONVERTED: 7, 18: 8}  # of the first release of onnx with that operator set
_SAME_SINCE_11 = frozenset(
    (
        *("Add", "Concat", "Constant", "Conv", "Div", "Exp", "Identity"),
        *("MaxPool", "Mul", "Sigmoid", "Slice", "Sub", "Transpose"),
    )
)  # for floats: later versions take more types


def lowered(model: ModelProto) -> ModelProto:
    """The same network for the oldest runtimes that can hold it; the model as it is where nothing lower can."""
    for operators in (OLDEST, CONVERTED):
        try:
            older = version_converter.convert_version(model, CONVERTED)
            if operators == OLDEST:
                _write_for_oldest(older)
            older.ir_version = IR_OF[operators]
            onnx.checker.check_model(older, full_check=True)
        except (_NotInOldest, RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
            continue
        return older
    model.ir_version = min(model.ir_version, IR_OF[18])
    return model


class _NotInOldest(Exception):
    """An operator that the oldest set does not have, or defines differently."""


def _write_for_oldest(model: ModelProto) -> None:
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    for node in model.graph.node:
        match node.op_type:
            case "Reshape":
                _reshape(node, constants)
            case "Squeeze" | "Unsqueeze":
                _axes_as_attribute(node, constants)
            case "Resize":
                _resize(node, model)
            case kind if kind not in _SAME_SINCE_11:
                raise _NotInOldest(kind)
    _drop_unused(model)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OLDEST))


def _reshape(node: NodeProto, constants: Constants) -> None:
    """allowzero came later: without a zero in the shape it says nothing."""
    shape = constants.get(node.input[1])
    if shape is None or 0 in shape.tolist():
        raise _NotInOldest("Reshape")
    _drop_attributes(node, {"allowzero"})


def _axes_as_attribute(node: NodeProto, constants: Constants) -> None:
    if len(node.input) != 2 or node.input[1] not in constants:
        raise _NotInOldest(node.op_type)
    axes = [int(axis) for axis in constants[node.input[1]].ravel()]
    del node.input[1]
    node.attribute.append(helper.make_attribute("axes", axes))


def _resize(node: NodeProto, model: ModelProto) -> None:
    """The region of interest had to be given, though nothing looked at it."""
    _drop_attributes(node, {"antialias", "axes", "keep_aspect_ratio_policy"})
    if node.input[1] == "":
        name = f"{node.output[0]}_roi"
        model.graph.initializer.append(helper.make_tensor(name, onnx.TensorProto.FLOAT, [0], []))
        node.input[1] = name


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _drop_attributes(node: NodeProto, names: set[str]) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)
