"""torch to ONNX: names, axes and opset as the runtime expects them."""

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.export import Dim

from export.errors import ExportError
from stapes.spec import ModelSpec
from stapes.tasks import inputs_of

OPSET = 20
"""Fixed, so that a file made tomorrow runs where one made today does: onnxruntime 1.17 or later."""

_NOISE = (r".*treespec, LeafSpec.*is deprecated", r".*The axis name: .* will not be used")
"""What torch 2.11's exporter says of itself, not of the module."""


def input_names(spec: ModelSpec) -> list[str]:
    """`frames`, then the states, then the numbers that the task gives."""
    return ["frames", *(state.name for state in spec.states), *inputs_of(spec)]


def output_names(spec: ModelSpec, memory: bool = False) -> list[str]:
    """`scores`, then the next states, then perhaps `memory`."""
    return ["scores", *(f"{state.name}_next" for state in spec.states), *["memory"] * memory]


def to_onnx(module: nn.Module, spec: ModelSpec, one_hop: bool = False, memory: bool = False) -> ir.Model:
    """Exports a module with dynamic batch and time; see `Exportable` for `one_hop` and `memory`.

    The time of a streamed model is any number of hops. That of a "sliding" one may come out fixed to
    its window, if the module computes on no other length; every other time is dynamic.

    Raises:
        ExportError: the exporter fails, or the graph's inputs and outputs are not those of the spec.
    """
    frames = spec.window.hop if one_hop else _example_frames(spec)
    others = (torch.from_numpy(array) for array in (*spec.start(2), *inputs_of(spec, 2).values()))
    example = (torch.randn(2, frames, spec.features.mels), *others)
    time: Any = Dim.AUTO if spec.window.mode == "sliding" else Dim.DYNAMIC
    if spec.streamed:
        time = Dim.STATIC if one_hop else spec.window.hop * Dim("hops")
    states = tuple({0: Dim.DYNAMIC} for _ in input_names(spec)[1:])
    parameters = inspect.signature(module.forward).parameters.values()
    # torch.export wants those of *states in a tuple of their own.
    variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    shapes = ({0: Dim.DYNAMIC, 1: time}, *([states] if variadic else states))
    model = capture(module, example, shapes, input_names(spec), output_names(spec, memory))
    _name_axes(model, spec, one_hop, memory)
    return model


def capture(
    module: nn.Module, example: tuple[Tensor, ...], shapes: Any, inputs: list[str], outputs: list[str]
) -> ir.Model:
    """Exports a module.

    Args:
        module: put into eval mode.
        example: its arguments.
        shapes: the dynamic axes of each, as torch.export.export takes them.
        inputs: names of the arguments.
        outputs: names of what it gives.

    Raises:
        ExportError: the exporter fails.
    """
    try:
        with _quiet(), torch.no_grad():
            # Captured here and not by torch.onnx.export, which would try three other ways before it fails.
            captured = torch.export.export(module.eval(), example, dynamic_shapes=shapes, strict=False)
            program = torch.onnx.export(
                captured,
                dynamo=True,
                opset_version=OPSET,
                input_names=inputs,
                output_names=outputs,
                optimize=False,
                verbose=False,
            )
    except (RuntimeError, ValueError, TypeError) as error:
        raise ExportError(f"torch cannot export this module with dynamic batch and time: {error}") from error
    if program is None:
        raise ExportError("torch's exporter gave no program")
    return program.model


def _example_frames(spec: ModelSpec) -> int:
    # Sizes 0 and 1 would be taken for constants; three hops are the least that is no special case.
    return 3 * spec.window.hop if spec.streamed else spec.window.frames


def _name_axes(model: ir.Model, spec: ModelSpec, one_hop: bool, memory: bool) -> None:
    """Checks inputs and outputs against the spec and gives their axes plain names."""
    graph = model.graph
    wanted: dict[str, tuple[str | int, ...]] = {"frames": ("batch", "frames", spec.features.mels)}
    wanted["scores"] = ("batch", "steps", len(spec.labels))
    for state in spec.states:
        wanted[state.name] = wanted[f"{state.name}_next"] = ("batch", *state.shape)
    wanted |= dict.fromkeys(inputs_of(spec), ("batch", 1))
    if memory and graph.outputs:
        shape = graph.outputs[-1].shape
        wanted["memory"] = ("batch", "steps", shape[-1] if shape and isinstance(shape[-1], int) else "width")
    free_time = spec.window.mode != "sliding" and not one_hop
    for kind, values, names in (
        ("inputs", graph.inputs, input_names(spec)),
        ("outputs", graph.outputs, output_names(spec, memory)),
    ):
        if [value.name for value in values] != names:
            raise ExportError(f"the module has {kind} {[value.name for value in values]}, the spec {names}")
        for value in values:
            _name_axes_of(value, wanted[str(value.name)], free_time=free_time)


def _name_axes_of(value: ir.Value, wanted: tuple[str | int, ...], free_time: bool) -> None:
    if value.shape is None or len(value.shape) != len(wanted):
        raise ExportError(f"{value.name!r} has shape {value.shape}, the spec says {list(wanted)}")
    named = []
    for have, want in zip(value.shape, wanted, strict=True):
        fixed = have if isinstance(have, int) else None
        if isinstance(want, int) and fixed != want:
            raise ExportError(f"{value.name!r} has shape {value.shape}, the spec says {list(wanted)}")
        if fixed is not None and (want == "batch" or (want == "frames" and free_time)):
            raise ExportError(f"axis {want!r} of {value.name!r} came out fixed to {fixed}")
        named.append(want if fixed is None else fixed)
    value.shape = ir.Shape(named)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides what the exporter reports about itself."""
    registration = logging.getLogger(
        "torch.onnx._internal.exporter._registration"
    )  # "torchvision is not installed"
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _NOISE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        registration.setLevel(level)
