"""A tiny recogniser of two graphs, by hand: says "low" while it hears low sounds and "high" while high ones.

The second graph writes what a table says of the last token, and hears nothing. Its memory is the first
graph's own posteriors, so that tests can look at what arrives.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stapes.onnxfile import LANGUAGE_MODEL, SECOND_GRAPH, stamp
from stapes.spec import FbankSpec, ModelSpec, StateSpec, WindowSpec
from tests.tools.tiny_onnx import Node, Shape, Tensor, graph, model, weights

LABELS = ("<pad>", "<unk>", "<l2r>", "</s>", "<r2l>", "▁low", "▁high", "▁new", "▁york")
MELS = 40
BLOCKS, HEADS, WIDTH = 1, 3, 2
"""Of the memory: 2 * BLOCKS * HEADS * WIDTH numbers a step."""


def spec(**params: object) -> ModelSpec:
    """Hops of 80 ms; a step each."""
    return ModelSpec(
        name="tiny-asr",
        task="asr",
        features=FbankSpec(mels=MELS, high_hz=8000),
        window=WindowSpec(frames=400, hop=8, mode="segment"),
        labels=LABELS,
        states=(StateSpec("mean", (1, MELS)),),
        params={"step_frames": 8} | params,
        provenance={"data": "none: weights by hand"},
    )


def table() -> NDArray[np.float32]:
    """(labels, labels) log-posteriors of what follows a token: low and high in turn, soon the end."""
    logits = np.full((len(LABELS), len(LABELS)), -9, np.float32)
    logits[:, 3] = 0.0
    for start in (2, 4):
        logits[start, 5:7] = 2.0, 1.0
    logits[5, 6], logits[6, 5] = 0.5, 0.25
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def second() -> bytes:
    """The second graph."""
    constants: dict[str, Tensor] = {
        "table": table(),
        "zeros": np.zeros((len(LABELS), HEADS * WIDTH), np.float32),
        "shape": np.array([0, 0, HEADS, WIDTH], np.int64),
        "axes": np.array([0, 1], np.int64),
    }
    nodes = [
        Node("Gather", ["table", "tokens"], ["scores"]),
        Node("Gather", ["zeros", "tokens"], ["flat"]),
        Node("Reshape", ["flat", "shape"], ["four"]),  # (texts, tokens, heads, width)
        Node("Unsqueeze", ["four", "axes"], ["six"]),
        Node("Concat", ["six", "six"], ["both"], {"axis": 1}),  # (1, 2, texts, tokens, heads, width)
        Node("Einsum", ["both"], ["added"], {"equation": "abtnhw->abthnw"}),
        Node("Concat", ["past", "added"], ["past_next"], {"axis": 4}),
    ]
    past: Shape = (BLOCKS, 2, "texts", HEADS, "tokens", WIDTH)
    inputs: dict[str, Shape] = {
        "tokens": ("texts", "new"),
        "past": past,
        "memory": (BLOCKS, 2, HEADS, "steps", WIDTH),
    }
    outputs: dict[str, Shape] = {
        "scores": ("texts", "new", len(LABELS)),
        "past_next": (BLOCKS, 2, "texts", HEADS, "all", WIDTH),
    }
    return model(graph(nodes, constants, inputs, outputs))


def first(inner: bytes | None, language: bytes | None = None) -> bytes:
    """The first graph, perhaps with the second and a language model in it."""
    four, bias = weights(MELS)
    matrix = np.zeros((MELS, len(LABELS)), np.float32)
    matrix[:, 0] = four[:, 0]
    matrix[:, 5:7] = four[:, 2:]
    constants: dict[str, Tensor] = {
        "matrix": 3 * matrix,
        "bias": 3 * np.array([bias[1], *[-5] * 4, *bias[2:], -5, -5], np.float32),
        "time": np.array([1], np.int64),
        "hop": np.array([8], np.float32),
        "keep": np.array([0.3], np.float32),
        "add": np.array([0.7], np.float32),
        "places": np.arange(12) % len(LABELS),
    }
    if inner is not None:
        constants[SECOND_GRAPH] = np.frombuffer(inner, np.uint8)
    if language is not None:
        constants[LANGUAGE_MODEL] = np.frombuffer(language, np.uint8)
    nodes = [
        Node("ReduceSum", ["frames", "time"], ["sum"], {"keepdims": 1}),
        Node("Div", ["sum", "hop"], ["now"]),
        Node("Mul", ["mean", "keep"], ["kept"]),
        Node("Mul", ["now", "add"], ["added"]),
        Node("Add", ["kept", "added"], ["mean_next"]),
        Node("MatMul", ["mean_next", "matrix"], ["product"]),
        Node("Add", ["product", "bias"], ["logits"]),
        Node("Softmax", ["logits"], ["scores"], {"axis": -1}),
    ]
    outputs: dict[str, Shape] = {
        "scores": ("batch", "steps", len(LABELS)),
        "mean_next": ("batch", 1, MELS),
    }
    if inner is not None:
        nodes.append(Node("Gather", ["scores", "places"], ["memory"], {"axis": 2}))
        outputs["memory"] = ("batch", "steps", 12)
    inputs: dict[str, Shape] = {"frames": ("batch", "frames", MELS), "mean": ("batch", 1, MELS)}
    return model(graph(nodes, constants, inputs, outputs))


def write(folder: Path, of: ModelSpec, inner: bytes | None = b"") -> Path:
    """A stamped file; `inner`: another second graph, None: none."""
    path = folder / f"{of.name}.onnx"
    path.write_bytes(first(second() if inner == b"" else inner))
    stamp(path, path, of)
    return path
