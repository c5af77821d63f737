"""Lanes: how the frames of a stream reach one model, and its scores the decoder."""

import numpy as np

from stapes.endpoint import Boundary, EndpointSpec
from stapes.events import Event
from stapes.fbank import fbank, frame_count
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
        self._decoder = task_of(self.model.spec).decoder(self.model.spec)
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
        self._stop = -(-frames // self._hop) * self._hop if end else self._count
        return (self._stop - 1) * self._hop_samples + self._frame_samples if end else 0

    def finish(self, end: int) -> list[Found]:
        """The decoder's last word."""
        return [(end, self._order, event) for event in self._decoder.flush(end)]


class SegmentLane:
    """A "segment" model: called with all frames of a stretch of speech, once it has ended.

    Speech longer than the model's window is given in parts of that length.
    """

    def __init__(self, model: Model, order: int, endpoint: EndpointSpec) -> None:
        features = model.spec.features
        self.model, self._order, self._features = model, order, features
        self._most = model.spec.window.frames
        self._pad = endpoint.pad_ms * features.sample_rate // 1000
        # A start is known min_speech later, on frames that may be of another length than these.
        memory_ms = endpoint.min_speech_ms + endpoint.pad_ms + 2 * features.frame_ms + 100
        self._memory = round(memory_ms / features.hop_ms)
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        self.model.reset()
        self._decoder = task_of(self.model.spec).decoder(self.model.spec)
        self._frames = np.empty((0, self._features.mels), np.float32)
        self._first = 0
        """Number of the first of `_frames`."""
        self._from: int | None = None
        """While there is speech: number of the first frame not yet given to the model."""
        self._given = 0
        """Frames before this one belong to an earlier segment."""
        self._since = 0
        """Samples after which the start of the speech was known."""
        self._boundaries: list[Boundary] = []

    def expect(self, boundaries: list[Boundary]) -> None:
        """Starts and ends of speech among the frames that come next."""
        self._boundaries += boundaries

    def accept(self, frames: Frames) -> list[Found]:
        """The next (frames, mels)."""
        self._frames = np.concatenate((self._frames, frames))
        found = self._advance()
        keep = self._first + len(self._frames) - self._memory if self._from is None else self._from
        if keep > self._first:
            self._frames = self._frames[keep - self._first :].copy()
            self._first = keep
        return found

    def end_at(self, end: int) -> int:
        """The stream ends at sample `end`; how many samples, with silence, its last frame takes."""
        hop, frame = self._features.hop_samples, self._features.frame_samples
        return max(-(-(end - frame) // hop), 0) * hop + frame if end else 0

    def finish(self, end: int) -> list[Found]:  # noqa: ARG002 - speech that reached the end was ended there
        """What the last boundaries settle."""
        return self._advance()

    def _advance(self) -> list[Found]:
        found: list[Found] = []
        for boundary in self._boundaries:
            if boundary.started:
                start = max(0, boundary.at - self._pad)
                self._from = max(self._given, -(-start // self._features.hop_samples))
                self._since = boundary.known
            else:
                found += self._give_long(frame_count(boundary.known, self._features))
                end = min(boundary.at + self._pad, boundary.known)
                found += self._give(frame_count(end, self._features), boundary.at, boundary.known)
                self._from = None
        self._boundaries = []
        if self._from is not None:
            found += self._give_long(self._first + len(self._frames))
        return found

    def _give_long(self, count: int) -> list[Found]:
        """Full-length parts of the speech that goes on, from the first `count` frames."""
        found: list[Found] = []
        while self._from is not None and count - self._from >= self._most:
            end = self._from + self._most
            at = (end - 1) * self._features.hop_samples + self._features.frame_samples
            found += self._give(end, at, max(at, self._since))
        return found

    def _give(self, end: int, at: int, settled: int) -> list[Found]:
        """Speech up to frame `end` to the model."""
        if self._from is None or end <= self._from:
            return []
        scores = self.model(self._frames[self._from - self._first : end - self._first])
        self._from = self._given = end
        events = self._decoder.push(scores, at) + self._decoder.flush(at)
        return [(settled, self._order, event) for event in events]
