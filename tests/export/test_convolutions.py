"""Convolutions over time, made two-dimensional: fewer microseconds, the same numbers."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from export.convolutions import widen_convolutions
from export.simplify import operators

HEAD = '<ir_version: 10, opset_import: ["" : 20]> g (float[batch, 16, time] x) => (float[batch, 32, steps] y)'
KERNELS = {
    "w": (32, 16, 3),
    "v": (32, 32, 5),
    "b": (32,),
    "odd": (20, 16, 3),
    "even": (32, 20, 1),
    "deep": (32, 1, 3),
}


def run(model: onnx.ModelProto) -> Any:
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 16, 30)).astype(np.float32)}
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)[0]


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ("y = Conv (x, w)", {"Unsqueeze": 1, "Conv": 1, "Squeeze": 1}),
        (
            "y = Conv <pads = [4, 1], strides = [2], dilations = [2]> (x, w, b)",
            {"Unsqueeze": 1, "Conv": 1, "Squeeze": 1},
        ),
        ("c = Conv (x, w, b) y = Relu (c)", {"Unsqueeze": 1, "Conv": 1, "Relu": 1, "Squeeze": 1}),
        (
            "c = Conv (x, w, b) r = Relu (c) y = Conv (r, v)",
            {"Conv": 2, "Unsqueeze": 1, "Relu": 1, "Squeeze": 1},
        ),
        (
            "c = Conv (x, w) r = Relu (c) d = Conv <pads = [2, 2]> (r, v) y = Add (r, d)",
            {"Conv": 2, "Squeeze": 2, "Unsqueeze": 1, "Relu": 1, "Add": 1},
        ),
        ("c = Conv (x, odd) y = Conv (c, even)", {"Conv": 2}),
        ("c = Conv (x, w) y = Conv <group = 32> (c, deep)", {"Conv": 2, "Unsqueeze": 1, "Squeeze": 1}),
        ('y = Conv <auto_pad = "SAME_UPPER"> (x, w)', {"Conv": 1}),
    ],
)
def test_same_numbers(body: str, kinds: dict[str, int]) -> None:
    generator = np.random.default_rng(0)
    before = onnx.parser.parse_model(f"{HEAD} {{ {body} }}")
    for name, shape in KERNELS.items():
        values = generator.normal(size=shape).astype(np.float32)
        before.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    model = ir.serde.deserialize_model(before)
    widen_convolutions(model)
    after = ir.serde.serialize_model(model)
    onnx.checker.check_model(after, full_check=True)
    assert operators(model) == kinds
    assert [value.name for value in after.graph.output] == ["y"]
    np.testing.assert_allclose(run(after), run(before), atol=1e-4)
