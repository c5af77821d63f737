"""Small ONNX models for tests, written byte by byte, so that no onnx package is needed to test the runtime.

Only what the tests use of onnx.proto: float tensors, nodes with whole-number or float attributes.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stapes.onnxfile import stamp
from stapes.spec import FbankSpec, ModelSpec, StateSpec, WindowMode, WindowSpec

Tensor = NDArray[np.float32] | NDArray[np.int64] | NDArray[np.uint8]
_FLOAT, _UINT8, _INT64 = 1, 2, 7
LABELS = ("_silence_", "_unknown_", "low", "high")


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field_: int, value: int) -> bytes:
    return varint(field_ << 3) + varint(value & (1 << 64) - 1)


def message(field_: int, content: bytes | str) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return varint(field_ << 3 | 2) + varint(len(raw)) + raw


def tensor(name: str, values: Tensor, external: bool = False) -> bytes:
    """A TensorProto; `external` says that its values lie in another file."""
    kind = {"float32": _FLOAT, "int64": _INT64, "uint8": _UINT8}[values.dtype.name]
    out = b"".join(number(1, n) for n in values.shape) + number(2, kind) + message(8, name)
    if external:
        return out + message(13, message(1, "location") + message(2, "weights.bin")) + number(14, 1)
    return out + message(9, values.tobytes())


@dataclass(frozen=True)
class Node:
    """An operator."""

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, int | float | str | bytes] = field(default_factory=dict)
    """bytes: an encoded TensorProto."""

    def encode(self) -> bytes:
        out = b"".join(message(1, x) for x in self.inputs) + b"".join(message(2, x) for x in self.outputs)
        out += message(4, self.kind)
        for name, value in self.attributes.items():
            if isinstance(value, bytes):
                content = message(5, value) + number(20, 4)
            elif isinstance(value, str):
                content = message(4, value) + number(20, 3)
            elif isinstance(value, int):
                content = number(3, value) + number(20, 2)
            else:
                content = varint(2 << 3 | 5) + struct.pack("<f", value) + number(20, 1)
            out += message(5, message(1, name) + content)
        return out


Shape = Sequence[int | str]


def _value_info(name: str, shape: Shape, kind: int = _FLOAT) -> bytes:
    axes = b"".join(message(1, number(1, n) if isinstance(n, int) else message(2, n)) for n in shape)
    return message(1, name) + message(2, message(1, number(1, kind) + message(2, axes)))


def graph(
    nodes: Sequence[Node],
    weights: Mapping[str, Tensor],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    external: Sequence[str] = (),
) -> bytes:
    """A GraphProto."""
    return (
        b"".join(message(1, node.encode()) for node in nodes)
        + message(2, "tiny")
        + b"".join(message(5, tensor(n, w, n in external)) for n, w in weights.items())
        + b"".join(
            message(11, _value_info(n, s, _INT64 if n == "tokens" else _FLOAT)) for n, s in inputs.items()
        )
        + b"".join(message(12, _value_info(n, s)) for n, s in outputs.items())
    )


def model(graph_: bytes) -> bytes:
    """A ModelProto of IR version 8, operator set 13."""
    return number(1, 8) + message(7, graph_) + message(8, message(1, "") + number(2, 13))


PARAMS = {
    "thresholds": {"low": 0.6, "high": 0.6},
    "smooth_hops": 2,
    "refractory_ms": 500,
    "background": ["_silence_", "_unknown_"],
}


def spec(
    mode: WindowMode,
    *,
    rate: int = 16_000,
    mels: int = 40,
    hop_ms: float = 10.0,
    task: str = "kws",
    name: str = "",
    streamed: bool = False,
    **window: int,
) -> ModelSpec:
    """The spec of a tiny model: is what is heard quiet, low, high, or something else?"""
    states = (StateSpec("mean", (1, mels)),) if streamed or mode == "stateful" else ()
    shape = WindowSpec(**{"frames": 30, "hop": 10} | window, mode=mode)
    params = {"kws": PARAMS, "encoder": {"step_frames": shape.hop}}
    return ModelSpec(
        name=name or f"tiny-{'streamed-' * streamed}{mode}",
        task=task,
        features=FbankSpec(sample_rate=rate, hop_ms=hop_ms, mels=mels, high_hz=rate / 2),
        window=shape,
        labels=LABELS,
        states=states,
        params=params.get(task, {}),
        provenance={"data": "none: weights by hand"},
    )


def weights(mels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A matrix (mels, labels) and biases that tell quiet, noisy, low and high sounds apart."""
    matrix = np.zeros((mels, len(LABELS)), np.float32)
    half = mels // 2
    matrix[:, 0] = -0.5 / mels
    matrix[:half, 2], matrix[half:, 2] = 1 / half, -1 / half
    matrix[:half, 3], matrix[half:, 3] = -1 / half, 1 / half
    return matrix, np.array([-4, 1, -3, -3], np.float32)


def build(of: ModelSpec, external: Sequence[str] = ()) -> bytes:
    """The model that `spec` describes: mean over time, one product, softmax."""
    mels = of.features.mels
    matrix, bias = weights(mels)
    constants: dict[str, Tensor] = {"matrix": matrix, "bias": bias}
    inputs: dict[str, Shape] = {"frames": ("batch", "frames", mels)}
    outputs: dict[str, Shape] = {"scores": ("batch", "steps", len(of.labels))}
    # ReduceMean would need an attribute that is a list, so the mean is a sum over a count.
    constants["time"] = np.array([1], np.int64)
    nodes = [
        Node("ReduceSum", ["frames", "time"], ["sum"], {"keepdims": 1}),
        Node("Shape", ["frames"], ["shape"]),
        Node("Gather", ["shape", "time"], ["count"]),
        Node("Cast", ["count"], ["length"], {"to": _FLOAT}),
        Node("Div", ["sum", "length"], ["now"]),
    ]
    pooled = "now"
    if of.states:
        constants["keep"], constants["add"] = np.array([0.6], np.float32), np.array([0.4], np.float32)
        nodes += [
            Node("Mul", ["mean", "keep"], ["kept"]),
            Node("Mul", ["now", "add"], ["added"]),
            Node("Add", ["kept", "added"], ["mean_next"]),
        ]
        inputs["mean"] = outputs["mean_next"] = ("batch", 1, mels)
        pooled = "mean_next"
    nodes += [
        Node("MatMul", [pooled, "matrix"], ["product"]),
        Node("Add", ["product", "bias"], ["logits"]),
        Node("Softmax", ["logits"], ["scores"], {"axis": -1}),
    ]
    return model(graph(nodes, constants, inputs, outputs, external))


def write(folder: Path, of: ModelSpec) -> Path:
    """A stamped model file."""
    path = folder / f"{of.name}.onnx"
    path.write_bytes(build(of))
    stamp(path, path, of)
    return path
