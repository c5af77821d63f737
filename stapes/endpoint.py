"""Speech and silence from the level of log-mel frames over a noise floor that follows the room.

The floor is the least of the smoothed level over the last seconds (minimum statistics, after Martin 2001):
speech has gaps, in which the floor shows, and steady noise becomes the floor. All is done frame by frame on
one number a frame, so segments do not depend on how the audio was cut into blocks.

It tells sound from silence: a barking dog is speech to it, and speech less than about 10 dB over the noise
is missed.
"""

from collections import deque
from dataclasses import dataclass
from math import log, log10

import numpy as np

from stapes.samples import Frames
from stapes.spec import FbankSpec

_DB = 10 / log(10)
"""From natural logarithms of power to decibels."""
_FIRST_MS = 1000
_BLOCK_MS = 100
"""The floor's memory, in blocks: the least level of each."""


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """Settings of the segmentation; levels are means over the mel channels of samples in [-1, 1]."""

    start_db: float = 7.0
    """Speech may start this far over the floor."""
    end_db: float = 4.0
    """It lasts while the level is this far over the floor."""
    min_speech_ms: int = 120
    """Shorter sounds are no speech."""
    hangover_ms: int = 500
    """Speech has ended after so much silence; shorter pauses are part of it."""
    pad_ms: int = 200
    """What a model is given before the start and after the end."""
    floor_memory_ms: int = 3000
    """Noise that is steady for so long is the floor."""
    quietest_db: float = -60.0
    """The floor is never taken to be lower, so that hiss after digital silence is no speech."""
    first_floor_db: float = -45.0
    """The floor in the first second, of which it is not known yet whether it is speech."""

    def __post_init__(self) -> None:
        if not 0 < self.end_db <= self.start_db:
            raise ValueError(f"need 0 < end_db <= start_db, got {self.end_db}, {self.start_db}")
        if min(self.min_speech_ms, self.hangover_ms) < 1 or self.floor_memory_ms < _BLOCK_MS:
            raise ValueError(
                f"min_speech_ms {self.min_speech_ms} and hangover_ms {self.hangover_ms} must be positive, "
                f"floor_memory_ms {self.floor_memory_ms} at least {_BLOCK_MS}"
            )
        if not 0 <= self.pad_ms <= self.hangover_ms:
            raise ValueError(f"need 0 <= pad_ms <= hangover_ms ({self.hangover_ms}), got {self.pad_ms}")


@dataclass(frozen=True, slots=True)
class Boundary:
    """The start or the end of speech."""

    started: bool
    at: int
    """Where, in samples."""
    known: int
    """Samples after which it was sure."""


class Endpointer:
    """Frames in, boundaries out."""

    def __init__(self, features: FbankSpec, spec: EndpointSpec) -> None:
        self.spec = spec
        self._hop, self._frame = features.hop_samples, features.frame_samples
        frames = 1 / features.hop_ms  # a millisecond
        self._min_speech = max(1, round(spec.min_speech_ms * frames))
        self._hangover = max(1, round(spec.hangover_ms * frames))
        self._block = max(1, round(_BLOCK_MS * frames))
        self._blocks = max(1, round(spec.floor_memory_ms * frames / self._block))
        self._offset = 20 * log10(features.scale)
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._count = 0
        self._smooth: float | None = None
        """The level for the floor, in dB: single frames of noise are now and then far below the others."""
        self._minima: deque[float] = deque(maxlen=self._blocks)
        self._least = self.spec.first_floor_db
        self._block_least = float("inf")
        self._speaking = False
        self._run = 0
        """While silent: frames since the level rose."""
        self._quiet = 0
        """While speaking: frames since the level fell."""

    def accept(self, frames: Frames) -> list[Boundary]:
        """The next (frames, mels)."""
        found = []
        for level in (np.add.reduce(frames, axis=1, dtype=np.float64) * (_DB / frames.shape[1])).tolist():
            boundary = self._step(level - self._offset)
            if boundary is not None:
                found.append(boundary)
        return found

    def finish(self, end: int) -> list[Boundary]:
        """The end of speech that the end of the stream, at sample `end`, cuts off."""
        if not self._speaking:
            return []
        self._speaking = False
        return [Boundary(False, min(self._end_of(self._count - self._quiet), end), end)]

    def _step(self, level: float) -> Boundary | None:
        self._count += 1
        smooth = level if self._smooth is None else 0.7 * self._smooth + 0.3 * level
        self._smooth = smooth
        self._block_least = min(self._block_least, smooth)
        if self._count % self._block == 0:
            self._minima.append(self._block_least)
            self._block_least = float("inf")
            if self._count * _BLOCK_MS >= self._block * _FIRST_MS:
                self._least = min(self._minima)
        floor = max(min(self._least, self._block_least), self.spec.quietest_db)
        known = self._end_of(self._count)
        if self._speaking:
            self._quiet = 0 if level >= floor + self.spec.end_db else self._quiet + 1
            if self._quiet < self._hangover:
                return None
            self._speaking, self._run = False, 0
            return Boundary(False, self._end_of(self._count - self._quiet), known)
        above = level >= floor + (self.spec.end_db if self._run else self.spec.start_db)
        self._run = self._run + 1 if above else 0
        if self._run < self._min_speech:
            return None
        self._speaking, self._quiet = True, 0
        return Boundary(True, (self._count - self._run) * self._hop, known)

    def _end_of(self, count: int) -> int:
        """The sample after the last of the first `count` frames."""
        return (count - 1) * self._hop + self._frame
