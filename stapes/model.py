"""Model: an onnxruntime session, what the file says of itself, and the recurrent state."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from stapes import onnxfile
from stapes.onnxfile import ModelFileError
from stapes.samples import Frames
from stapes.sessions import open_session
from stapes.spec import ModelSpec, Scores, SpecError
from stapes.tasks import inputs_of
from stapes.tasks.reading import Extras

if TYPE_CHECKING:  # what only some models have is imported when one of them is loaded
    from stapes.reader import MemoryReader, SecondGraph
    from stapes.tasks.ngrams import Ngrams

_BUNDLED = Path(__file__).parent / "models"
_SUFFIX = ".onnx"


def bundled_models() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(path.stem for path in _BUNDLED.glob(f"*{_SUFFIX}")))


def _find(name_or_path: str | os.PathLike[str]) -> Path:
    path = Path(name_or_path)
    bundled = _BUNDLED / f"{path}{_SUFFIX}"
    if isinstance(name_or_path, str) and path.name == name_or_path and bundled.is_file():
        return bundled
    if path.is_file():
        return path
    if isinstance(name_or_path, str) and path.name == name_or_path and path.suffix != _SUFFIX:
        names = ", ".join(bundled_models()) or "none"
        raise ModelFileError(
            f"no bundled model {name_or_path!r} (there are: {names}) and no file of that name"
        )
    raise FileNotFoundError(f"no model file {path}")


def _second(data: bytes, threads: int, path: Path) -> "SecondGraph":
    from stapes.reader import SecondGraph

    return SecondGraph(data, threads, path)


def _ngrams(data: bytes, spec: ModelSpec, path: Path) -> "Ngrams":
    from stapes.tasks.ngrams import Ngrams

    try:
        return Ngrams(data, spec.labels)
    except SpecError as error:
        raise ModelFileError(f"{path}: {error}") from error


class Model:
    """A loaded model. Call it with frames; it keeps the recurrent states between calls.

    Make one with `Model.load`. `fork` gives another that shares the session and the weights and has
    states of its own, so one file can serve several streams.
    """

    spec: ModelSpec
    """What the file says of itself."""
    path: Path
    """The file."""
    reader: "MemoryReader | None"
    """What was heard since the last reset, for a decoder that writes from it; None: one graph is all."""

    language: "Ngrams | None"
    """How likely texts are; None: there is no language model."""

    def __init__(
        self,
        session: Any,
        spec: ModelSpec,
        path: Path,
        second: "SecondGraph | None" = None,
        language: "Ngrams | None" = None,
    ) -> None:
        self.spec = spec
        self.path = path
        self.language = language
        self._session = session
        self._second = second
        self.reader = second.reader(len(spec.labels)) if second else None
        self._states = tuple(state.name for state in spec.states)
        self._numbers = inputs_of(spec)
        self._outputs = ["scores", *(f"{name}_next" for name in self._states), *["memory"] * bool(second)]
        # Two sets of states: each call reads one and writes the other.
        self._kept = [spec.start(), spec.start()]
        self._now = 0
        self._bound: _Bound | None = None

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str], threads: int = 1, verify: bool = True) -> Self:
        """Read a model file, once, and make a session of it.

        Args:
            name_or_path: a bundled name such as "kws", or a path.
            threads: of onnxruntime; for models this small two are slower than one.
            verify: compare the file's SHA-256.

        Raises:
            FileNotFoundError: no such file.
            ModelFileError: no such bundled model; a file that is cut, damaged, not stamped or newer than
                this stapes; or a graph that is not what its metadata says.
            SpecError: params that decide what the graph is given, unknown or out of range.
        """
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        path = _find(name_or_path)
        data, spec = onnxfile.read(path, check=verify)
        inner, language = onnxfile.second_graph(data), onnxfile.language_model(data)
        session = open_session(data, threads, path)
        _check(session, spec, path, memory=inner is not None)
        second = _second(inner, threads, path) if inner is not None else None
        ngrams = _ngrams(language, spec, path) if language is not None else None
        return cls(session, spec, path, second, ngrams)

    @property
    def extras(self) -> Extras:
        """What its task's decoder may ask of it."""
        return Extras(self.reader, self.language)

    def fork(self, **params: Any) -> Self:
        """The same model with states of its own, at their start.

        Args:
            params: in place of those of the spec, such as `hotwords=["new york"]` or `period_ms=60`; the
                task's decoder refuses what it does not know.

        Raises:
            SpecError: params that decide what the graph is given, out of range.
        """
        spec = replace(self.spec, params={**self.spec.params, **params}) if params else self.spec
        return type(self)(self._session, spec, self.path, self._second, self.language)

    def reset(self) -> None:
        """Puts the states back to zero, and forgets what was heard."""
        for state in self._kept[self._now]:
            state.fill(0)
        if self.reader:
            self.reader.reset()

    def __call__(self, frames: Frames) -> Scores:
        """Scores of the next frames.

        Args:
            frames: (frames, mels) float32, as `spec.features` makes them.

        Returns:
            (steps, labels) float32.

        Raises:
            ValueError: another shape or dtype.
            ModelFileError: the graph cannot take so many frames, or gives another number of labels or states
                of another shape than the metadata names.
        """
        bound = self._bound
        if bound is not None and frames.shape == bound.shape and frames.dtype == np.float32:
            bound.frames[0] = frames
            bound.run(bound.calls[self._now])
            self._now = 1 - self._now
            if self.reader:
                self.reader.hear(bound.memory[0])
            scores: Scores = bound.scores[0].copy()
            return scores
        return self._call(frames)

    def _call(self, frames: Frames) -> Scores:
        """A first call, or one with another number of frames than the first."""
        spec = self.spec
        if frames.ndim != 2 or frames.shape[1] != spec.features.mels or frames.dtype != np.float32:
            raise ValueError(
                f"{spec.name} wants (frames, {spec.features.mels}) float32, got {frames.shape} {frames.dtype}"
            )
        feed = dict(zip(self._states, self._kept[self._now], strict=True)) | self._numbers
        try:
            scores, *rest = self._session.run(self._outputs, feed | {"frames": frames[None]})
        except Exception as error:  # onnxruntime's exceptions share no narrower base class
            raise ModelFileError(
                f"{self.path}: onnxruntime cannot run it on {frames.shape}: {error}"
            ) from error
        if scores.ndim != 3 or scores.shape[2] != len(spec.labels):
            raise ModelFileError(
                f"{self.path}: scores are {scores.shape}, the metadata names {len(spec.labels)} labels"
            )
        self._now = 1 - self._now
        for name, kept, state in zip(self._states, self._kept[self._now], rest, strict=False):
            if state.shape != kept.shape:
                raise ModelFileError(
                    f"{self.path}: state {name!r} comes back as {state.shape}, the metadata says {kept.shape}"
                )
            kept[...] = state
        memory = np.zeros((1, 0, 0), np.float32)
        if self.reader:
            memory = rest[-1]
            if memory.ndim != 3 or memory.shape[1] != scores.shape[1]:
                raise ModelFileError(
                    f"{self.path}: memory is {memory.shape}, wants a step for each of scores {scores.shape}"
                )
            self.reader.hear(memory[0])
        if self._bound is None and (spec.streamed or spec.window.mode == "sliding"):
            self._bound = self._bind(frames.shape, scores.shape, memory.shape)
        return scores[0]  # type: ignore[no-any-return]

    def _bind(self, frames: tuple[int, ...], scores: tuple[int, ...], memory: tuple[int, ...]) -> "_Bound":
        """Calls with fixed places for all that goes in and out; a tenth faster where models are small."""
        from onnxruntime import OrtValue

        bound = _Bound(
            shape=frames,
            frames=np.zeros((1, *frames), np.float32),
            scores=np.zeros(scores, np.float32),
            memory=np.zeros(memory, np.float32),
            calls=(self._session.io_binding(), self._session.io_binding()),
            run=self._session.run_with_iobinding,
        )
        for now, call in enumerate(bound.calls):
            arrays_in = [bound.frames, *self._kept[now], *self._numbers.values()]
            arrays_out = [bound.scores, *self._kept[1 - now], *[bound.memory] * bool(self.reader)]
            # An OrtValue on the CPU does not copy: it stands for the array's own memory.
            for name, array in zip(("frames", *self._states, *self._numbers), arrays_in, strict=True):
                call.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array))
            for name, array in zip(self._outputs, arrays_out, strict=True):
                call.bind_ortvalue_output(name, OrtValue.ortvalue_from_numpy(array))
        return bound


@dataclass(frozen=True, slots=True)
class _Bound:
    """Calls of one shape."""

    shape: tuple[int, ...]
    """(frames, mels)."""
    frames: Frames
    """(1, frames, mels), read by each call."""
    scores: Scores
    """(1, steps, labels), written by each call."""
    memory: NDArray[np.float32]
    """(1, steps, width), written by each call; empty if there is no second graph."""
    calls: tuple[Any, Any]
    """onnxruntime's bindings: from the first states to the second, and back."""
    run: Callable[[Any], None]


def _check(session: Any, spec: ModelSpec, path: Path, *, memory: bool) -> None:
    """The graph's inputs and outputs against what the metadata promises."""
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    numbers = inputs_of(spec)
    wanted_in = {"frames", *(state.name for state in spec.states), *numbers}
    wanted_out = {"scores", *(f"{state.name}_next" for state in spec.states), *["memory"] * memory}
    if inputs.keys() != wanted_in:
        raise ModelFileError(
            f"{path}: its metadata wants inputs {sorted(wanted_in)}, the graph has {sorted(inputs)}"
        )
    if not wanted_out <= outputs.keys():
        missing = sorted(wanted_out - outputs.keys())
        raise ModelFileError(f"{path}: its metadata wants outputs {missing}, the graph has {sorted(outputs)}")
    scores = outputs["scores"].shape
    if scores and isinstance(scores[-1], int) and scores[-1] != len(spec.labels):
        raise ModelFileError(f"{path}: scores are {scores}, the metadata names {len(spec.labels)} labels")
    # How many frames a whole segment has is not known before.
    frames = (
        spec.window.hop if spec.streamed else spec.window.frames if spec.window.mode == "sliding" else None
    )
    shapes = {state.name: state.shape for state in spec.states} | {"frames": (frames, spec.features.mels)}
    shapes |= dict.fromkeys(numbers, (1,))
    for name, shape in shapes.items():
        node = inputs[name]
        if node.type != "tensor(float)":
            raise ModelFileError(f"{path}: input {name!r} must be tensor(float), the graph has {node.type}")
        axes = node.shape[1:]
        fits = len(axes) == len(shape) and all(
            want is None or not isinstance(axis, int) or axis == want
            for axis, want in zip(axes, shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if axis is None else str(axis) for axis in shape)
            raise ModelFileError(
                f"{path}: input {name!r} must be (batch, {wanted}), the graph has {node.shape}"
            )
