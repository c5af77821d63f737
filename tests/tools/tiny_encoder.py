"""Tiny encoders, written byte by byte: two log-mel frames side by side, and what tests must see."""

from pathlib import Path

import numpy as np

from stapes.onnxfile import stamp
from stapes.spec import FbankSpec, ModelSpec, StateSpec, WindowSpec
from tests.tools.tiny_onnx import Node, Shape, Tensor, graph, model

MELS, CHUNK = 8, 4
"""CHUNK: steps of a call, of 20 ms each."""


def spec(kind: str) -> ModelSpec:
    """ "streaming", "whole" or "compressing"."""
    streaming = kind == "streaming"
    hop = 2 * CHUNK
    return ModelSpec(
        name=kind,
        task="encoder",
        features=FbankSpec(mels=MELS),
        window=WindowSpec(hop, hop, mode="stateful") if streaming else WindowSpec(300, 2, mode="segment"),
        labels=tuple(str(number) for number in range(2 * MELS)),
        states=(StateSpec("calls", (1, 1)),) if streaming else (),
        params={"step_frames": 2}
        | ({"period_ms": 20.0, "longest_ms": 90.0} if kind == "compressing" else {}),
        provenance={"data": "none: no weights"},
    )


def write(folder: Path, kind: str) -> Path:
    """A stamped file. Streaming: the number of calls before is added. Compressing: the rate is added."""
    inputs: dict[str, Shape] = {"frames": ("batch", "frames", MELS)}
    outputs: dict[str, Shape] = {"scores": ("batch", "steps", 2 * MELS)}
    constants: dict[str, Tensor] = {"pairs": np.array([0, -1, 2 * MELS], np.int64)}
    constants |= {"one": np.ones(1, np.float32), "first": np.zeros(1, np.int64)}
    constants |= {"last": np.array([-2], np.int64), "time": np.ones(1, np.int64)}
    nodes = [Node("Reshape", ["even", "pairs"], ["joined"])]
    if kind == "streaming":
        nodes.insert(0, Node("Identity", ["frames"], ["even"]))
        nodes += [Node("Add", ["joined", "calls"], ["scores"]), Node("Add", ["calls", "one"], ["calls_next"])]
        inputs["calls"] = outputs["calls_next"] = ("batch", 1, 1)
    else:  # an odd last frame is doubled: to the frames, every second one's end is appended, and cut
        constants["ends"] = np.array([2**31], np.int64)
        constants["back"] = np.array([-1], np.int64)
        constants["two"] = np.array([2], np.int64)
        nodes = [
            Node("Shape", ["frames"], ["shape"]),
            Node("Gather", ["shape", "time"], ["count"]),
            Node("Mod", ["count", "two"], ["odd"]),
            Node("Sub", ["count", "odd"], ["from"]),
            Node("Slice", ["frames", "from", "ends", "time"], ["rest"]),
            Node("Concat", ["frames", "rest"], ["even"], {"axis": 1}),
            *nodes,
        ]
        if kind == "compressing":
            inputs["rate"] = ("batch", 1)
            nodes += [
                Node("Unsqueeze", ["rate", "time"], ["wide"]),
                Node("Add", ["joined", "wide"], ["scores"]),
            ]
        else:
            nodes.append(Node("Identity", ["joined"], ["scores"]))
    path = folder / f"{kind}.onnx"
    path.write_bytes(model(graph(nodes, constants, inputs, outputs)))
    stamp(path, path, spec(kind))
    return path
