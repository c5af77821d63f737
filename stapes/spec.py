"""What a model file says of itself: frozen dataclasses to and from one JSON value."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from typing import Any, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
"""(steps, labels) posteriors, 0 to 1."""

SCHEMA = 1
"""Version of the metadata below. A file with a newer one is refused."""

_MOST_HZ = 1_000_000
_MOST_SAMPLES = 1 << 16
_MOST_MELS = 1 << 12
_MOST_FRAMES = 100_000
"""Far more than any model has: a wrong number in a file must not take all the memory, or all the time."""

WindowMode = Literal["sliding", "stateful", "segment"]
WindowShape = Literal["povey", "hann", "hamming"]


class SpecError(ValueError):
    """Metadata that is missing, unknown, newer than this code, or contradicts itself."""


def _exact(value: float, what: str) -> int:
    rounded = round(value) if isfinite(value) else 0
    if abs(value - rounded) > 1e-9:
        raise SpecError(f"{what} must be a whole number of samples, got {value}")
    return rounded


@dataclass(frozen=True, slots=True)
class FbankSpec:
    """A Kaldi-compatible log-mel front end: no dither, edges snipped, power spectrum, natural log."""

    sample_rate: int = 16_000
    frame_ms: float = 25.0
    hop_ms: float = 10.0
    mels: int = 40
    low_hz: float = 20.0
    high_hz: float = 8_000.0
    """Upper edge of the last filter, at most half the sample rate."""
    window: WindowShape = "povey"
    preemphasis: float = 0.97
    remove_dc: bool = True
    """Subtract each frame's mean first."""
    floor: float = 1.1920928955078125e-07
    """Energies are raised to this before the log (float32 epsilon, as Kaldi)."""
    scale: float = 1.0
    """Samples in [-1, 1] are multiplied by this; 32768 gives Kaldi's 16-bit range."""

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, float) and not isfinite(value):
                raise SpecError(f"{spec.name} must be finite, got {value}")
        if not 1 <= self.sample_rate <= _MOST_HZ or not 1 <= self.mels <= _MOST_MELS:
            raise SpecError(
                f"need 1 <= sample_rate <= {_MOST_HZ} and 1 <= mels <= {_MOST_MELS}, "
                f"got {self.sample_rate}, {self.mels}"
            )
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate / 2:
            raise SpecError(
                f"need 0 <= low_hz < high_hz <= {self.sample_rate / 2}, got {self.low_hz}, {self.high_hz}"
            )
        if self.window not in get_args(WindowShape):
            raise SpecError(f"window must be one of {get_args(WindowShape)}, got {self.window!r}")
        if self.hop_samples < 1 or self.frame_samples < self.hop_samples:
            raise SpecError(f"need frame_ms >= hop_ms > 0, got {self.frame_ms}, {self.hop_ms}")
        if self.frame_samples > _MOST_SAMPLES:
            raise SpecError(f"frame_ms must be {_MOST_SAMPLES} samples at most, got {self.frame_samples}")
        if not 0 <= self.preemphasis <= 1:
            raise SpecError(f"preemphasis must be 0 to 1, got {self.preemphasis}")
        # In float32 the floor must have a logarithm, and loud sound that is scaled a finite square.
        if not 1e-30 <= self.floor <= 1e30 or not 1e-12 <= self.scale <= 1e12:
            raise SpecError(
                f"floor must be 1e-30 to 1e30 and scale 1e-12 to 1e12, got {self.floor}, {self.scale}"
            )

    @property
    def frame_samples(self) -> int:
        """Length of a frame in samples."""
        return _exact(self.sample_rate * self.frame_ms / 1000, "frame_ms")

    @property
    def hop_samples(self) -> int:
        """Distance between the starts of two frames in samples."""
        return _exact(self.sample_rate * self.hop_ms / 1000, "hop_ms")

    @property
    def fft_size(self) -> int:
        """The frame length rounded up to a power of two, as Kaldi does."""
        return 1 << (self.frame_samples - 1).bit_length()


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """How frames reach the model."""

    frames: int
    """Frames that one decision covers; the most frames of a segment for "segment"."""
    hop: int
    """Frames between two decisions, and the frames of one call of a model with states."""
    lookahead: int = 0
    """Frames after a moment that its score waits for."""
    mode: WindowMode = "sliding"
    """"sliding": the last `frames` frames, again every `hop`; "stateful": `hop` new frames a call, the rest
    in recurrent state; "segment": the frames between the start and the end of speech only, all at once, or,
    by a model with states, `hop` a call while the speech goes on."""

    def __post_init__(self) -> None:
        if self.frames < 1 or self.hop < 1 or self.lookahead < 0:
            raise SpecError(
                f"need frames >= 1, hop >= 1, lookahead >= 0, got {self.frames}, {self.hop}, {self.lookahead}"
            )
        if max(self.frames, self.hop, self.lookahead) > _MOST_FRAMES:
            raise SpecError(
                f"frames, hop and lookahead must be {_MOST_FRAMES} at most, "
                f"got {self.frames}, {self.hop}, {self.lookahead}"
            )
        if self.mode not in get_args(WindowMode):
            raise SpecError(f"mode must be one of {get_args(WindowMode)}, got {self.mode!r}")


@dataclass(frozen=True, slots=True)
class StateSpec:
    """One recurrent state: input `name`, output `name`_next, zeros of `shape` at the start."""

    name: str
    shape: tuple[int, ...]
    """Without the batch axis, which comes first."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """All that the runtime must know of a model.

    The graph takes `frames` (batch, frames, mels) and the states, and gives `scores` (batch, steps, labels)
    and the next states. Normalisation of features (CMVN) lives inside the graph.
    """

    name: str
    task: str
    features: FbankSpec
    window: WindowSpec
    labels: tuple[str, ...]
    states: tuple[StateSpec, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    """The task decoder's own settings, such as thresholds; the decoder refuses unknown ones."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Data, recipe, commit, metrics: how the model came to be."""
    schema: int = SCHEMA

    @property
    def streamed(self) -> bool:
        """Whether each call takes `window.hop` new frames, and the states remember the rest."""
        return self.window.mode == "stateful" or (self.window.mode == "segment" and bool(self.states))

    def start(self, batch: int = 1) -> list[NDArray[np.float32]]:
        """The states before the first frame: zeros, (batch, *shape) each."""
        return [np.zeros((batch, *state.shape), np.float32) for state in self.states]

    def to_json(self) -> str:
        """The one metadata value that travels in the .onnx file."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`.

        Raises:
            SpecError: no JSON object, a missing or unknown key, a wrong type, or a newer schema.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"metadata is not JSON: {error}") from None
        if not isinstance(raw, dict):
            raise SpecError(f"metadata must be a JSON object, got {type(raw).__name__}")
        schema = raw.get("schema")
        if not isinstance(schema, int) or isinstance(schema, bool):
            raise SpecError(f"metadata key 'schema' must be a whole number, got {schema!r}")
        if schema > SCHEMA:
            raise SpecError(
                f"the model has schema {schema}, this stapes reads up to {SCHEMA}: install a newer stapes"
            )
        if schema < 1:
            raise SpecError(f"the model has schema {schema}, this stapes reads from 1 to {SCHEMA}")
        return cast("Self", _build(cls, raw, ""))


_NESTED: dict[str, type] = {"features": FbankSpec, "window": WindowSpec}


def _build(kind: type, raw: object, path: str) -> Any:
    """A dataclass of `kind` from a JSON object, every key checked by name and type."""
    if not isinstance(raw, dict):
        raise SpecError(f"metadata key {path!r} must be an object, got {type(raw).__name__}")
    known = {f.name: f for f in fields(kind)}
    prefix = f"{path}." if path else ""
    for key in raw:
        if key not in known:
            raise SpecError(f"unknown metadata key {prefix + key!r}")
    values: dict[str, Any] = {}
    for name, spec in known.items():
        if name not in raw:
            raise SpecError(f"metadata key {prefix + name!r} is missing")
        values[name] = _value(spec.type, raw[name], prefix + name)
    return kind(**values)


def _value(kind: Any, raw: object, path: str) -> Any:  # noqa: PLR0911 - one return a kind of value
    if path in _NESTED:
        return _build(_NESTED[path], raw, path)
    if path == "states":
        states = [_build(StateSpec, s, f"states.{i}") for i, s in enumerate(_list(raw, path))]
        _refuse_twice([state.name for state in states], path)
        return tuple(states)
    if path == "labels":
        labels = _list(raw, path)
        if not labels or not all(isinstance(x, str) for x in labels):
            raise SpecError(f"metadata key {path!r} must be a list of strings with at least one, got {raw!r}")
        _refuse_twice(labels, path)
        return tuple(labels)
    if path.startswith("states.") and path.endswith(".shape"):
        shape = _list(raw, path)
        if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape):
            raise SpecError(f"metadata key {path!r} must be a list of positive whole numbers, got {raw!r}")
        return tuple(shape)
    if path in ("params", "provenance"):
        if not isinstance(raw, dict):
            raise SpecError(f"metadata key {path!r} must be an object, got {type(raw).__name__}")
        return raw
    if kind is float:
        if isinstance(raw, bool) or not isinstance(raw, int | float):
            raise SpecError(f"metadata key {path!r} must be a number, got {raw!r}")
        try:
            return float(raw)
        except OverflowError:
            raise SpecError(f"metadata key {path!r} is too large: {raw!r}") from None
    wants = kind if isinstance(kind, type) else str
    if not isinstance(raw, wants) or (wants is int and isinstance(raw, bool)):
        raise SpecError(f"metadata key {path!r} must be {wants.__name__}, got {raw!r}")
    return raw


def _refuse_twice(names: list[str], path: str) -> None:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise SpecError(f"metadata key {path!r} names {twice!r} twice")


def _list(raw: object, path: str) -> list[Any]:
    if not isinstance(raw, list):
        raise SpecError(f"metadata key {path!r} must be a list, got {type(raw).__name__}")
    return raw
