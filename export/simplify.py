"""Makes a graph small: less to do for each chunk, and less to read at a cold start.

onnxscript's optimizer folds constants and batch normalisation and drops what does nothing. The passes
here take away what torch's exporter leaves because it writes for any shape.
"""

from collections import Counter

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from onnxscript.optimizer import optimize_ir

from export.convolutions import widen_convolutions


def operators(model: ir.Model) -> dict[str, int]:
    """How often each operator occurs, the most frequent first; constants do not count."""
    counts = Counter(node.op_type for node in model.graph if node.op_type != "Constant")
    return dict(counts.most_common())


def simplify(model: ir.Model) -> None:
    """Rewrites a model in place; what it computes stays the same."""
    _take_shapes_later(model.graph)
    optimize_ir(model)
    _write_reshapes_as_constants(model.graph)
    _gather_instead_of_gather_nd(model.graph)
    optimize_ir(model)  # takes away what computed the shapes and indices
    widen_convolutions(model)
    _forget_inner_shapes(model)
    passes.ClearMetadataAndDocStringPass()(model)


def _take_shapes_later(graph: ir.Graph) -> None:
    """Shape of what enters a normalisation or a ReLU becomes Shape of what leaves it, which is as large.

    These are folded into the convolution before them only if nothing else uses what lies between.
    """
    for node in graph:
        if node.op_type not in ("BatchNormalization", "Relu"):
            continue
        before, after = node.inputs[0], node.outputs[0]
        # A normalisation without weights is given ones, of a size that is computed from what enters it.
        if before is None or any(each is not None and each.producer() for each in node.inputs[1:]):
            continue
        for user, position in before.uses():
            if user.op_type == "Shape":
                user.replace_input_with(position, after)
    graph.sort()


def _write_reshapes_as_constants(graph: ir.Graph) -> None:
    """Reshape to a computed shape becomes one to a constant: 0 copies an axis, -1 takes what is left.

    `x.flatten(1, 2)` with free batch and time is exported as Shape, Squeeze, Mul, Concat, Reshape.
    """
    for node in _nodes(graph, "Reshape"):
        data, shape, out = node.inputs[0], node.inputs[1], node.outputs[0]
        if (
            data is None
            or shape is None
            or shape.const_value is not None
            or data.shape is None
            or out.shape is None
        ):
            continue
        target = []
        for axis, size in enumerate(out.shape):
            if isinstance(size, int):
                target.append(size)
            elif size.value is not None and axis < len(data.shape) and data.shape[axis] == size:
                target.append(0)
            else:
                target.append(-1)
        if target.count(-1) > 1 or any(out.shape[axis] == 0 for axis in range(len(target))):
            continue
        constant = _constant(graph, f"{out.name}_shape", np.array(target, np.int64))
        node.replace_input_with(1, constant)
        node.attributes.pop("allowzero", None)


def _gather_instead_of_gather_nd(graph: ir.Graph) -> None:
    """`x[:, index]` as Gather on that axis.

    It is exported as Transpose, GatherND on the first axis, Transpose: two copies of everything. The last
    axis is left alone: there Gather copies one number at a time and is slower than all three.
    """
    for node in _nodes(graph, "GatherND"):
        out = node.outputs[0]
        data, index = node.inputs[0], _plain_index(graph, node.inputs[1])
        if data is None or data.shape is None or index is None or index.shape is None:
            continue
        if "batch_dims" in node.attributes and node.attributes["batch_dims"].as_int() != 0:
            continue
        order = list(range(len(data.shape)))
        before = data.producer()
        if before is not None and before.op_type == "Transpose" and before.inputs[0] is not None:
            data, order = before.inputs[0], list(before.attributes["perm"].as_ints())
        # An axis of the data is named by its number, one of the index by a string.
        axis, rank = order[0], len(order)
        if axis == rank - 1:
            continue
        picked: list[int | str] = [f"index {i}" for i in range(len(index.shape))]
        have = [*range(axis), *picked, *range(axis + 1, rank)]
        want = [*picked, *order[1:]]
        gather = ir.node("Gather", [data, index], {"axis": axis})
        new = [gather]
        if have != want:
            perm = [have.index(label) for label in want]
            new.append(ir.node("Transpose", [gather.outputs[0]], {"perm": perm}))
        last = new[-1].outputs[0]
        last.shape, last.type, last.name = out.shape, out.type, out.name
        ir.convenience.replace_nodes_and_values(graph, node, [node], new, [out], [last])


def _plain_index(graph: ir.Graph, indices: ir.Value | None) -> ir.Value | None:
    """The index of shape S behind GatherND's indices of shape (*S, 1), or None."""
    if indices is None or indices.shape is None or indices.shape[-1] != 1:
        return None
    if indices.const_value is not None:
        return _constant(graph, f"{indices.name}_plain", indices.const_value.numpy()[..., 0])
    producer = indices.producer()
    if producer is None or producer.op_type != "Unsqueeze" or producer.inputs[1] is None:
        return None
    axes = producer.inputs[1].const_value
    if axes is None or axes.numpy().ravel().tolist() not in ([-1], [len(indices.shape) - 1]):
        return None
    return producer.inputs[0]


def _forget_inner_shapes(model: ir.Model) -> None:
    """Shapes inside the graph are the exporter's notes ("5*s94 + 4"): onnxruntime infers its own."""
    for node in model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None


def _nodes(graph: ir.Graph, kind: str) -> list[ir.Node]:
    return [node for node in graph if node.op_type == kind]


def _constant(graph: ir.Graph, name: str, value: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> ir.Value:
    constant = ir.val(name, const_value=ir.tensor(value, name=name))
    graph.register_initializer(constant)
    return constant
