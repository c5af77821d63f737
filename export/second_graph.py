"""The second graph of a model that writes text: exported, compared, and put into the first one's file."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.export import Dim

from export.errors import ExportError, ParityError
from export.parity import TOLERANCE, session
from export.torch_to_onnx import capture
from stapes.onnxfile import SECOND_GRAPH
from training.inside import put_inside

INPUTS, OUTPUTS = ["tokens", "past", "memory"], ["scores", "past_next"]
CASES = ((1, 1, 0, 7), (4, 1, 1, 1), (4, 1, 13, 40), (6, 9, 0, 25), (2, 5, 3, 3))
"""Texts, new tokens, tokens before, steps of memory: what searches and rescoring ask for."""


def second_to_onnx(module: nn.Module, shape: tuple[int, int, int], labels: int) -> ir.Model:
    """Exports it with dynamic texts, tokens and steps.

    Args:
        module: see `Exportable.second`.
        shape: blocks, heads and width of a head, of its memory.
        labels: symbols.

    Raises:
        ExportError: the exporter fails, or an axis that must be free came out fixed.
    """
    example = _random(np.random.default_rng(0), shape, labels, (3, 5, 4, 6))
    texts, new, before, steps = (Dim.DYNAMIC for _ in range(4))
    shapes = ({0: texts, 1: new}, {2: texts, 4: before}, {3: steps})
    model = capture(module, example, shapes, INPUTS, OUTPUTS)
    blocks, heads, width = shape
    wanted: dict[str, tuple[str | int, ...]] = {
        "tokens": ("texts", "new"),
        "past": (blocks, 2, "texts", heads, "tokens", width),
        "memory": (blocks, 2, heads, "steps", width),
        "scores": ("texts", "new", labels),
        "past_next": (blocks, 2, "texts", heads, "all", width),
    }
    for value in (*model.graph.inputs, *model.graph.outputs):
        axes = wanted[str(value.name)]
        have = list(value.shape or ())
        if len(have) != len(axes) or any(
            isinstance(h, int) and h != w for h, w in zip(have, axes, strict=False)
        ):
            raise ExportError(f"{value.name!r} of the second graph has shape {have}, must be {list(axes)}")
        value.shape = ir.Shape(axes)
    return model


def second_parity(module: nn.Module, shape: tuple[int, int, int], labels: int, path: Path) -> float:
    """Largest difference of log-posteriors of likely symbols, module against onnxruntime.

    Raises:
        ParityError: one above TOLERANCE times the largest value, if that is above one; or no log-posteriors.
    """
    generator, runner, largest = np.random.default_rng(0), session(path), 0.0
    for case in CASES:
        inputs = _random(generator, shape, labels, case)
        with torch.inference_mode():
            wanted = module.eval()(*inputs)
        got = runner.run(OUTPUTS, {n: x.numpy() for n, x in zip(INPUTS, inputs, strict=True)})
        if not np.allclose(np.exp(got[0]).sum(-1), 1, atol=1e-3):
            raise ParityError(f"second graph, case {case}: its scores are no log-posteriors")
        for name, want, have in zip(OUTPUTS, wanted, got, strict=True):
            scale = max(1.0, float(want.abs().max()))
            difference = float(np.abs(want.numpy() - have).max(initial=0.0))
            if want.shape != have.shape or not difference <= TOLERANCE * scale:
                raise ParityError(
                    f"second graph, case {case}: {name!r} of module and graph differ by {difference:.3g}, "
                    f"allowed is {TOLERANCE * scale:.3g}"
                )
            largest = max(largest, difference if name == "scores" else 0.0)
    return largest


def pack(first: Path, second: Path, target: Path) -> None:
    """Writes the first graph with the second one in it, as `stapes.onnxfile` reads it."""
    put_inside(first, SECOND_GRAPH, second.read_bytes(), target)


def memory_shape(module: nn.Module) -> tuple[int, int, int]:
    """Blocks, heads and width of a head, which the module names as `shape`.

    Raises:
        ExportError: it does not.
    """
    shape = getattr(module, "shape", None)
    if not isinstance(shape, tuple) or len(shape) != 3:
        raise ExportError("the second module must name (blocks, heads, width of a head) as its `shape`")
    return shape


def _random(
    generator: np.random.Generator,
    shape: tuple[int, int, int],
    labels: int,
    case: tuple[int, int, int, int],
) -> tuple[Tensor, Tensor, Tensor]:
    (blocks, heads, width), (texts, new, before, steps) = shape, case
    tokens = generator.integers(0, labels, (texts, new))
    past = generator.normal(size=(blocks, 2, texts, heads, before, width)).astype(np.float32)
    memory = generator.normal(size=(blocks, 2, heads, steps, width)).astype(np.float32)
    return torch.from_numpy(tokens), torch.from_numpy(past), torch.from_numpy(memory)
