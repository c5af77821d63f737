"""Does the file compute what the module computes? Failing errors with the numbers in them, never prints."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.errors import ExportError, ParityError
from export.torch_to_onnx import input_names, output_names
from stapes.fbank import FbankStream
from stapes.model import Model
from stapes.samples import Frames, Samples
from stapes.sessions import open_session
from stapes.spec import ModelSpec
from stapes.tasks import inputs_of, task_of
from training.exportable import Runner

TOLERANCE = 1e-4
"""Largest difference between two posteriors. States and features may differ by as much times their largest
value, if that is above one."""
CASES = 8
"""Random batches and lengths, the shortest ones among them."""

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RandomParity:
    """Largest differences of posteriors on random features."""

    whole: float
    """Module against onnxruntime, all frames at once."""
    chunked: float
    """Module, all frames at once, against onnxruntime, hop by hop with states; 0 where there are none."""


@dataclass(frozen=True, slots=True)
class RealParity:
    """Largest difference of posteriors on real audio, module against `stapes.Model`."""

    scores: float
    clips: int
    steps: int


def session(path: Path) -> onnxruntime.InferenceSession:
    """A file as the runtime opens it: one thread."""
    return open_session(path.read_bytes(), 1, path)


def random_parity(
    module: nn.Module, spec: ModelSpec, path: Path, seed: int = 0, memory: bool = False
) -> RandomParity:
    """Compares on random features, batches and lengths, from fresh states and from used ones.

    Raises:
        ParityError: a difference above TOLERANCE, or posteriors that are not in 0 to 1.
    """
    posteriors = not task_of(spec).features
    generator = np.random.default_rng(seed)
    runner = session(path)
    names = output_names(spec, memory)
    fixed = runner.get_inputs()[0].shape[1]
    whole = chunked = 0.0
    for case in range(CASES):
        batch = 1 if case == 0 else int(generator.integers(1, 6))
        frames = _random_length(spec, fixed, case, generator)
        first, second = (_random_frames(batch, frames, spec, generator) for _ in range(2))
        states = spec.start(batch)
        numbers = [generator.random((batch, 1), np.float32) for _ in inputs_of(spec)]
        where = f"batch {batch}, {frames} frames"
        for turn, features in (("first", first), ("next", second)):
            wanted = run_module(module, features, [*states, *numbers])
            got = _run(runner, spec, names, [features, *states, *numbers])
            whole = max(whole, _compare(wanted, got, f"{where}, {turn} call", posteriors=posteriors))
            if spec.streamed:
                hops = _run_by_hops(runner, spec, names, [features, *states], numbers)
                place = f"{where}, {turn} call, hop by hop"
                chunked = max(chunked, _compare(wanted, hops, place, posteriors=posteriors))
            states = wanted[1 : 1 + len(states)]
    return RandomParity(whole, chunked)


def real_parity(module: nn.Module, model: Model, clips: Iterable[Samples]) -> RealParity:
    """Compares the module with `stapes.Model` on recordings, through the runtime's own front end.

    Raises:
        ExportError: no clip is long enough for one decision: nothing was compared.
        ParityError: a difference above TOLERANCE.
    """
    spec, worst, count, steps = model.spec, 0.0, 0, 0
    numbers = inputs_of(spec).values()
    for samples in clips:
        features = FbankStream(spec.features).accept(samples)
        states = spec.start()
        model.reset()
        got, wanted = [], []
        for piece in pieces(features, spec):
            got.append(model(piece))
            outputs = run_module(module, piece[None], [*states, *numbers])
            wanted.append(outputs[0][0])
            if spec.streamed:
                states = outputs[1 : 1 + len(states)]
        if got:
            count, steps = count + 1, steps + len(got)
            told = np.concatenate(wanted)
            scale = _size(told) if task_of(spec).features else 1.0
            worst = max(worst, _difference(told, np.concatenate(got), f"clip {count}", scale))
    if not count:
        raise ExportError("no clip is long enough for one decision: parity on real audio was not checked")
    model.reset()
    return RealParity(worst, count, steps)


def pieces(features: Frames, spec: ModelSpec) -> list[Frames]:
    """What the runtime would hand to the model, call by call: hops, windows, or one segment."""
    hop, window, total = spec.window.hop, spec.window.frames, len(features)
    if spec.streamed:
        return [features[at : at + hop] for at in range(0, total - hop + 1, hop)]
    if spec.window.mode == "sliding":
        return [features[at : at + window] for at in range(0, total - window + 1, hop)]
    return [features[:window]] if total else []


def runner(model: Model) -> Runner:
    """A loaded model as a function of one clip's frames, from fresh states; an unfinished hop is dropped."""

    def run(frames: Frames) -> Frames:
        found = pieces(frames, model.spec)
        if not found:
            raise ExportError(f"{len(frames)} frames are too few for one decision of {model.spec.name!r}")
        model.reset()
        return np.concatenate([model(piece) for piece in found])

    return run


def run_module(module: nn.Module, features: Array, states: list[Array]) -> list[Array]:
    """Scores and next states of the torch module in float32, from arrays to arrays; numbers follow states."""
    with torch.inference_mode():
        outputs = module.eval()(torch.from_numpy(features), *(torch.from_numpy(state) for state in states))
    tensors = cast("tuple[Tensor, ...]", (outputs,) if isinstance(outputs, Tensor) else outputs)
    return [tensor.numpy() for tensor in tensors]


def _random_length(spec: ModelSpec, fixed: Any, case: int, generator: np.random.Generator) -> int:
    """One hop or one window first, then any length that the runtime may give or the graph takes."""
    if isinstance(fixed, int):
        return fixed
    hop, window = spec.window.hop, spec.window.frames
    if spec.streamed:
        return hop * (1 if case < 2 else int(generator.integers(2, 15)))
    if case < 2:
        return window
    if spec.window.mode == "segment":  # a window is the longest that the runtime gives
        return int(generator.integers(max(hop, window // 20), window))
    return int(generator.integers(window, 2 * window))


def _random_frames(batch: int, frames: int, spec: ModelSpec, generator: np.random.Generator) -> Array:
    # About the spread of log energies: silence is near -16, loud speech near 5.
    return generator.normal(-5, 4, (batch, frames, spec.features.mels)).astype(np.float32)


def _run(
    runner: onnxruntime.InferenceSession, spec: ModelSpec, names: list[str], inputs: list[Array]
) -> list[Array]:
    return cast("list[Array]", runner.run(names, dict(zip(input_names(spec), inputs, strict=True))))


def _run_by_hops(
    runner: onnxruntime.InferenceSession,
    spec: ModelSpec,
    names: list[str],
    inputs: list[Array],
    numbers: list[Array],
) -> list[Array]:
    features, *states = inputs
    hop, count, calls = spec.window.hop, 1 + len(states), []
    for at in range(0, features.shape[1], hop):
        piece = np.ascontiguousarray(features[:, at : at + hop])
        calls.append(_run(runner, spec, names, [piece, *states, *numbers]))
        states = calls[-1][1:count]
    scores = np.concatenate([outputs[0] for outputs in calls], axis=1)
    memory = [np.concatenate([outputs[-1] for outputs in calls], axis=1)] if names[-1] == "memory" else []
    return [scores, *states, *memory]


def _compare(wanted: list[Array], got: list[Array], where: str, *, posteriors: bool) -> float:
    """Checks scores, which are posteriors or features, and states; gives the largest difference of scores."""
    if len(wanted) != len(got):
        raise ParityError(f"{where}: the module gives {len(wanted)} outputs, the graph {len(got)}")
    for state, other in zip(wanted[1:], got[1:], strict=True):
        _difference(state, other, f"{where}, states", _size(state))
    if posteriors and (got[0].min() < -TOLERANCE or got[0].max() > 1 + TOLERANCE):
        raise ParityError(f"{where}: scores from {got[0].min():.3g} to {got[0].max():.3g} are no posteriors")
    scale = 1.0 if posteriors else _size(wanted[0])
    return _difference(wanted[0], got[0], f"{where}, scores", scale)


def _size(values: Array) -> float:
    """The largest of the values, at least one."""
    return max(1.0, float(np.abs(values).max(initial=0.0)))


def _difference(wanted: Array, got: Array, where: str, scale: float = 1.0) -> float:
    if wanted.shape != got.shape:
        raise ParityError(f"{where}: the module gives shape {wanted.shape}, the graph {got.shape}")
    largest = float(np.abs(wanted - got).max(initial=0.0))
    if not largest <= TOLERANCE * scale:  # not: NaN must fail too
        raise ParityError(
            f"{where}: module and graph differ by {largest:.3g}, allowed is {TOLERANCE * scale:.3g}"
        )
    return largest
