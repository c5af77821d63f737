"""Lanes: how the frames of a stream reach one model, and its scores the decoder.

Here the lane of models that hear everything; those that hear only speech are in `stapes.segments`.
"""

import numpy as np

from stapes.events import Event
from stapes.fbank import fbank
from stapes.model import Model
from stapes.samples import Frames
from stapes.tasks import task_of

Found = tuple[int, int, Event]
"""Samples of the stream that settled an event, the model's place in the order, the event."""


class WindowLane:
    """A "sliding" or "stateful" model: called each `hop` frames with always the same number of frames.

    A sliding window begins full of silence, so a word at the very start of a stream is heard as it would
    be after a pause.
    """

    def __init__(self, model: Model, order: int) -> None:
        spec = model.spec
        self.model, self._order = model, order
        self._hop = spec.window.hop
        self._take = spec.window.frames if spec.window.mode == "sliding" else spec.window.hop
        self._hop_samples, self._frame_samples = spec.features.hop_samples, spec.features.frame_samples
        self._late = spec.window.lookahead * self._hop_samples
        self._tail = spec.window.frames // 2 * self._hop_samples
        """Silence after the end of a stream: a word there is then in the middle of a window."""
        self._silence = fbank(np.zeros(self._frame_samples, np.float32), spec.features)
        self._buffer = np.empty((self._take + 16 * self._hop, spec.features.mels), np.float32)
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        self.model.reset()
        self._decoder = task_of(self.model.spec).decoder(self.model.spec, self.model.extras)
        self._buffer[: self._take] = self._silence
        self._filled = self._take
        self._due = self._hop
        """Frames until the next call."""
        self._count = 0
        """Frames so far, up to the last call."""
        self._stop: int | None = None
        """The last call, as a count of frames, once the stream has ended."""
        self._end = 0

    def accept(self, frames: Frames) -> list[Found]:
        """The next (frames, mels)."""
        found: list[Found] = []
        at = 0
        while at < len(frames) and self._count != self._stop:
            n = min(self._due, len(frames) - at)
            if self._filled + n > len(self._buffer):
                self._buffer[: self._take] = self._buffer[self._filled - self._take : self._filled].copy()
                self._filled = self._take
            self._buffer[self._filled : self._filled + n] = frames[at : at + n]
            self._filled += n
            self._due -= n
            at += n
            if not self._due:
                found += self._decide()
        return found

    def _decide(self) -> list[Found]:
        self._due = self._hop
        self._count += self._hop
        scores = self.model(self._buffer[self._filled - self._take : self._filled])
        settled = (self._count - 1) * self._hop_samples + self._frame_samples
        at = max(0, settled - self._late)
        if self._stop is not None:
            at = min(at, self._end)
        return [(settled, self._order, event) for event in self._decoder.push(scores, at)]

    def end_at(self, end: int) -> int:
        """The stream ends at sample `end`; how many samples, with silence, the last call takes."""
        needed = end + self._tail + self._late
        frames = -(-(needed - self._frame_samples) // self._hop_samples) + 1
        self._end = end
        self._stop = max(0, -(-frames // self._hop) * self._hop) if end else self._count
        return (self._stop - 1) * self._hop_samples + self._frame_samples if end else 0

    def finish(self, end: int) -> list[Found]:
        """The decoder's last word."""
        return [(end, self._order, event) for event in self._decoder.flush(end)]
