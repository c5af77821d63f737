"""Bytes that travel inside a model file: a second graph, a language model."""

from pathlib import Path

import numpy as np
import onnx_ir as ir


def put_inside(source: Path, name: str, data: bytes, target: Path) -> None:
    """Writes a model with bytes in it, as `stapes.onnxfile.inner` reads them: a tensor that no node uses.

    Args:
        source: a self-contained ONNX file.
        name: of the tensor; one of that name is replaced.
        data: what it holds.
        target: the file to write, which is not stamped, or no longer rightly; may be the same.
    """
    model = ir.load(source)
    held = ir.tensor(np.frombuffer(data, np.uint8), name=name)
    model.graph.initializers.pop(name, None)
    model.graph.register_initializer(ir.val(name, const_value=held))
    ir.save(model, target)
