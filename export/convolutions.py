"""One-dimensional convolutions as two-dimensional ones of height 1.

onnxruntime has fast kernels, on blocks of channels and with ReLU built in, for two-dimensional convolutions
only. On chunks of a few steps they take half the time, the two changes of shape around them included:
a 100 ms chunk of the streaming keyword network took 93 instead of 125 microseconds (AMD EPYC, one thread).
"""

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

Kernel = NDArray[np.float32]
"""(channels out, channels in, time), then with an axis of height before time."""
BLOCK = 16
"""Channels in and out must be multiples of this for the fast kernels (AVX-512; others want 8)."""
HEIGHT = 2
"""The new axis, of length 1: (batch, channels, 1, time)."""


def widen_convolutions(model: ir.Model) -> None:
    """Rewrites, in place, Conv over (batch, channels, time) where the fast kernels take its channels."""
    graph = model.graph
    axis = ir.val("height_axis", const_value=ir.tensor(np.array([HEIGHT]), name="height_axis"))
    graph.register_initializer(axis)
    for node in [node for node in graph if node.op_type == "Conv"]:
        kernel = _kernel(node)
        if kernel is not None:
            _widen(graph, node, kernel[:, :, None], axis)
    passes.RemoveUnusedNodesPass()(model)


def _kernel(node: ir.Node) -> Kernel | None:
    """The weights of a convolution that is one-dimensional, plain, and of as many channels as wanted."""
    weight = node.inputs[1]
    if weight is None or weight.const_value is None or len(weight.const_value.shape) != 3:
        return None
    kernel = weight.const_value.numpy()
    outward, inward, _ = kernel.shape
    plain = "group" not in node.attributes or node.attributes["group"].as_int() == 1
    padded = "auto_pad" in node.attributes and node.attributes["auto_pad"].as_string() != "NOTSET"
    fits = plain and not padded and outward % BLOCK == 0 and inward % BLOCK == 0
    return kernel if fits else None


def _widen(graph: ir.Graph, node: ir.Node, kernel: Kernel, axis: ir.Value) -> None:
    name = f"{node.outputs[0].name}_kernel"
    wide = ir.val(name, const_value=ir.tensor(kernel, name=name))
    graph.register_initializer(wide)
    node.replace_input_with(0, _with_height(graph, node, axis))
    node.replace_input_with(1, wide)
    begin, end = _integers(node, "pads", (0, 0))
    for key, values in {
        "kernel_shape": (1, kernel.shape[3]),
        "dilations": (1, *_integers(node, "dilations", (1,))),
        "strides": (1, *_integers(node, "strides", (1,))),
        "pads": (0, begin, 0, end),
    }.items():
        node.attributes.add(ir.AttrInt64s(key, values))
    # A ReLU stays next to its convolution, where onnxruntime makes one node of them.
    last, users = node, list(node.outputs[0].uses())
    if len(users) == 1 and users[0].node.op_type == "Relu":
        last = users[0].node
    _without_height(graph, last, axis)


def _with_height(graph: ir.Graph, node: ir.Node, axis: ir.Value) -> ir.Value:
    """The convolution's input with the new axis: what the convolution before it gave, if it has one still."""
    before = node.inputs[0]
    producer = before.producer() if before is not None else None
    if producer is not None and producer.op_type == "Squeeze" and producer.inputs[1] is axis:
        value = producer.inputs[0]
        if value is not None:
            return value
    unsqueeze = ir.node("Unsqueeze", [before, axis])
    graph.insert_before(node, unsqueeze)
    return unsqueeze.outputs[0]


def _without_height(graph: ir.Graph, node: ir.Node, axis: ir.Value) -> None:
    """Gives the users of a node its output without the new axis."""
    wide = node.outputs[0]
    users = list(wide.uses())
    squeeze = ir.node("Squeeze", [wide, axis])
    graph.insert_after(node, squeeze)
    narrow = squeeze.outputs[0]
    narrow.type = wide.type
    if wide.is_graph_output():
        position = graph.outputs.index(wide)
        narrow.name, narrow.shape = wide.name, wide.shape
        wide.name = f"{wide.name}_wide"
        graph.outputs[position] = narrow
    for user, position in users:
        user.replace_input_with(position, narrow)
    wide.shape = None


def _integers(node: ir.Node, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(node.attributes[key].as_ints()) if key in node.attributes else default
