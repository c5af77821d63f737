"""int8: weights and activations of the products in 8 bits, ranges from real speech or anew in each call."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from export.errors import AccuracyError, ExportError, ParityError
from export.parity import pieces, runner, session
from export.torch_to_onnx import input_names, output_names
from stapes.fbank import fbank
from stapes.model import Model
from stapes.samples import Frames, Samples
from stapes.spec import ModelSpec
from stapes.tasks import inputs_of, task_of

LARGEST_DROP = 0.3
"""Percentage points of dev accuracy, or of what else a task measures, that int8 must cost less than."""

LARGEST_DIFFERENCE = 0.02
"""Mean absolute difference that posteriors of real audio may have from the float model's; features, whose
size is their own affair, are judged by accuracy alone."""

OPERATORS = ("Conv", "MatMul", "Gemm")
"""Where the time and the bytes go. All else, states and posteriors included, stays float."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """What int8 costs."""

    accuracy_float: float
    """Share of the dev part that the float model gets right, or whatever `measure` names."""
    accuracy: float
    """The same of the int8 model."""
    drop_points: float
    """The difference in percentage points."""
    difference: float
    """Mean absolute difference of posteriors, or features, on real audio."""
    calls: int
    """Calls of the model that the ranges come from; 0: they are found in each call."""
    measure: str = "accuracy"
    """What the task judges by."""


class SpeechReader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Feeds real features as the runtime would: call by call, with the states that the calls before left."""

    def __init__(self, path: Path, spec: ModelSpec, recordings: Iterable[Frames]) -> None:
        """Takes the float model's path: it makes the states."""
        self.count = 0
        self._feeds = self._walk(session(path), spec, recordings)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next call's inputs, None at the end."""
        return next(self._feeds, None)

    def _walk(
        self, float_model: onnxruntime.InferenceSession, spec: ModelSpec, recordings: Iterable[Frames]
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        generator = np.random.default_rng(0)
        for features in recordings:
            numbers = [generator.random((1, 1), np.float32) for _ in inputs_of(spec)]
            states = spec.start()
            for piece in pieces(features, spec):
                inputs = [np.ascontiguousarray(piece[None], np.float32), *states, *numbers]
                feeds = dict(zip(input_names(spec), inputs, strict=True))
                self.count += 1
                yield feeds
                states = float_model.run(output_names(spec)[1:], feeds) if spec.states else []


def quantise(source: Path, target: Path, spec: ModelSpec, recordings: Iterable[Frames]) -> int:
    """Writes the int8 version (QDQ, per channel) of a float model; gives the number of calibration calls.

    Raises:
        ExportError: no recording is long enough for one call, or onnxruntime cannot quantise the graph.
    """
    reader = SpeechReader(source, spec, recordings)
    try:
        with _quiet():
            quantize_static(
                str(source),
                str(target),
                reader,
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=list(OPERATORS),
            )
    except ValueError as error:
        if not reader.count:
            raise ExportError(
                "no recordings to calibrate int8 on: give the data folder with --data"
            ) from error
        raise ExportError(f"onnxruntime cannot quantise this graph: {error}") from error
    return reader.count


def quantise_dynamically(source: Path, target: Path) -> None:
    """Writes the version of a float model with int8 weights, and activations that become so in each call.

    For transformers, the range of whose activations differs from one recording to another. Convolutions and
    tables stay float. Weights take seven bits: without VNNI, sums of products of eight overflow.

    Raises:
        ExportError: onnxruntime cannot quantise the graph.
    """
    try:
        with _quiet():
            quantize_dynamic(
                str(source),
                str(target),
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
    except ValueError as error:
        raise ExportError(f"onnxruntime cannot quantise this graph: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides that onnxruntime recommends its own preprocessing: the graph has had ours."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"onnx\..*")
            yield
    finally:
        logging.root.setLevel(level)


def refuse_drop(accuracy: float, quantised: float, measure: str = "accuracy") -> float:
    """The drop in percentage points.

    Args:
        accuracy: share of the dev part that the float model gets right.
        quantised: the same of the int8 model.
        measure: what the task calls it.

    Raises:
        AccuracyError: it is LARGEST_DROP or more.
    """
    drop = 100 * (accuracy - quantised)
    if not drop < LARGEST_DROP:
        raise AccuracyError(
            f"int8 drops dev {measure} by {drop:.2f} points, "
            f"{100 * accuracy:.2f} % to {100 * quantised:.2f} %: allowed is less than {LARGEST_DROP}"
        )
    return drop


def mean_difference(model: Model, quantised: Model, clips: Iterable[Samples]) -> float:
    """Mean absolute difference of scores between two models on real audio.

    Raises:
        ParityError: it is, of posteriors, above LARGEST_DIFFERENCE, or not a number.
    """
    found = [fbank(samples, model.spec.features) for samples in clips]
    differences = [
        np.abs(runner(model)(frames) - runner(quantised)(frames)).ravel()
        for frames in found
        if pieces(frames, model.spec)
    ]
    mean = float(np.concatenate(differences).mean())
    if not mean <= (np.inf if task_of(model.spec).features else LARGEST_DIFFERENCE):
        raise ParityError(
            f"int8 posteriors are {mean:.3g} from float on average, allowed is {LARGEST_DIFFERENCE}"
        )
    return mean
