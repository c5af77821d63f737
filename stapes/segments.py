"""Lanes of models that hear only speech, between its start and its end as the `Endpointer` tells them."""

from dataclasses import replace

import numpy as np

from stapes.endpoint import Boundary, EndpointSpec
from stapes.events import Event
from stapes.fbank import fbank, frame_count
from stapes.lanes import Found
from stapes.model import Model
from stapes.samples import Frames
from stapes.spec import FbankSpec
from stapes.tasks import task_of


def samples_of(count: int, features: FbankSpec) -> int:
    """Samples that the first `count` frames take."""
    return (count - 1) * features.hop_samples + features.frame_samples if count else 0


def last_frame(end: int, features: FbankSpec) -> int:
    """Samples, with silence, of the frames that cover those up to `end`."""
    frame, hop = features.frame_samples, features.hop_samples
    return frame + max(-(-(end - frame) // hop), 0) * hop if end else 0


class _Recent:
    """The last frames of a stream, by their numbers."""

    def __init__(self, features: FbankSpec, endpoint: EndpointSpec) -> None:
        # A start is known min_speech later, on frames that may be of another length than these.
        memory_ms = endpoint.min_speech_ms + endpoint.pad_ms + 2 * features.frame_ms + 100
        self._memory = round(memory_ms / features.hop_ms)
        self._features = features
        self._frames = np.empty((0, features.mels), np.float32)
        self._first = 0

    @property
    def count(self) -> int:
        """Frames of the stream so far."""
        return self._first + len(self._frames)

    def append(self, frames: Frames, end: int | None) -> None:
        """The next (frames, mels); of a stream that ends at sample `end`, those in it.

        The silence that other lanes want after the end is no speech.
        """
        if end is not None:
            frames = frames[: max(0, frame_count(end, self._features) - self.count)]
        self._frames = np.concatenate((self._frames, frames))

    def heard(self, known: int) -> int:
        """Frames of the stream up to sample `known`, or up to its end."""
        return min(frame_count(known, self._features), self.count)

    def earliest(self, known: int) -> int:
        """The first frame that speech whose start was known at a sample may begin with."""
        return max(0, self.heard(known) - self._memory)

    def between(self, start: int, end: int) -> Frames:
        """Frames `start` up to `end`, (frames, mels)."""
        return self._frames[start - self._first : end - self._first]

    def forget(self, before: int | None) -> None:
        """Frames that will not be wanted: those before a number, or if None all but what a start needs.

        Speech after a keyword begins where the keyword ends, which may be frames that are yet to come.
        """
        keep = self.count - self._memory if before is None else min(before, self.count)
        if keep > self._first:
            self._frames = self._frames[keep - self._first :].copy()
            self._first = keep


class _Lane:
    """What both kinds share: recent frames, and where in them speech begins and ends."""

    def __init__(self, model: Model, order: int, endpoint: EndpointSpec) -> None:
        features = model.spec.features
        self.model, self._order, self._features, self._endpoint = model, order, features, endpoint
        self._pad = endpoint.pad_ms * features.sample_rate // 1000

    def reset(self) -> None:
        """Back to the start of a stream."""
        self.model.reset()
        self._decoder = task_of(self.model.spec).decoder(self.model.spec, self.model.extras)
        self._recent = _Recent(self._features, self._endpoint)
        self._from: int | None = None
        """While there is speech: number of the first frame not yet given to the model."""
        self._given = 0
        """Frames before this one belong to earlier speech."""
        self._since = 0
        """Samples after which the start of the speech was known."""
        self._end: int | None = None
        """Where the stream ended, in samples, once it has."""
        self._boundaries: list[Boundary] = []

    def expect(self, boundaries: list[Boundary]) -> None:
        """Starts and ends of speech among the frames that come next."""
        self._boundaries += boundaries

    def accept(self, frames: Frames) -> list[Found]:
        """The next (frames, mels), perhaps none: boundaries are dealt with at once."""
        if not len(frames) and not self._boundaries:
            return []
        self._recent.append(frames, self._end)
        found = self._advance()
        self._recent.forget(self._from)
        return found

    def end_at(self, end: int) -> int:
        """The stream ends at sample `end`; how many samples, with silence, its last frame takes."""
        self._end = end
        return last_frame(end, self._features)

    def _advance(self) -> list[Found]:
        """What the boundaries and frames settle that came since the last time."""
        raise NotImplementedError

    def _begin(self, boundary: Boundary) -> None:
        """Speech starts; it may be some of what was heard already, but none that was given."""
        start = max(0, boundary.at - self._pad)
        first = self._recent.earliest(boundary.known)
        self._from = max(self._given, first, -(-start // self._features.hop_samples))
        self._since = boundary.known

    def _heard(self, boundary: Boundary) -> int:
        """Frames up to the end of speech, and what belongs to it of the pause after."""
        return self._recent.heard(min(boundary.at + self._pad, boundary.known))

    def _within(self, at: int) -> int:
        """A sample, or the stream's last, if that is before it."""
        return at if self._end is None else min(at, self._end)


class SegmentLane(_Lane):
    """A "segment" model: called with all frames of a stretch of speech, once it has ended.

    Speech longer than the model's window is given in parts of that length.
    """

    def __init__(self, model: Model, order: int, endpoint: EndpointSpec) -> None:
        super().__init__(model, order, endpoint)
        self._most = model.spec.window.frames
        self._exact = task_of(model.spec).features
        """Whether steps lie where their frames are, those of the pause after the speech with them."""
        self.reset()

    def finish(self, end: int) -> list[Found]:  # noqa: ARG002 - speech that reached the end was ended there
        """What the last boundaries settle."""
        return self._advance()

    def _advance(self) -> list[Found]:
        found: list[Found] = []
        for boundary in self._boundaries:
            if boundary.started:
                self._begin(boundary)
            else:
                found += self._give_long(self._recent.heard(boundary.known))
                found += self._give(self._heard(boundary), self._within(boundary.at), boundary.known)
                self._from = None
        self._boundaries = []
        if self._from is not None:
            found += self._give_long(self._recent.count)
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
        self.model.reset()
        scores = self.model(self._recent.between(self._from, end))
        at = samples_of(end, self._features) if self._exact else at
        self._from = self._given = end
        events = self._decoder.push(scores, at) + self._decoder.flush(at)
        return [(settled, self._order, event) for event in events]


class SpeechLane(_Lane):
    """A "segment" model with states: called with `hop` frames at a time while there is speech.

    Where the task carries on from one stretch of speech to the next, a hop may begin in one and end in
    another, and frames are held back until it is known that the speech did not end before them. Where it does
    not, frames are given at once, those of the pause that ends the speech with them; the states start anew
    with each speech, and its last hop is filled up with silence.
    """

    def __init__(self, model: Model, order: int, endpoint: EndpointSpec) -> None:
        super().__init__(model, order, endpoint)
        features = model.spec.features
        self._carries = task_of(model.spec).carries
        held_ms = endpoint.hangover_ms - endpoint.pad_ms if self._carries else 0
        self._held = -(-held_ms * features.sample_rate // (1000 * features.hop_samples))
        """Frames after a frame that must have been heard before it is given."""
        self._silence = fbank(np.zeros(features.frame_samples, np.float32), features)
        self._hop = np.empty((model.spec.window.hop, features.mels), np.float32)
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        super().reset()
        self._filled = 0
        """Frames of the next call that are there."""

    def finish(self, end: int) -> list[Found]:
        """What the last boundaries settle, and the decoder's last word."""
        found = self._advance()
        if self._carries:
            found += self._found(self._decoder.flush(end), end)
        return found

    def _advance(self) -> list[Found]:
        found: list[Found] = []
        for boundary in self._boundaries:
            if boundary.started:
                self._begin(boundary)
                if not self._carries:
                    self.model.reset()
            else:
                found += self._stop(boundary)
        self._boundaries = []
        return found + self._give(self._recent.count - self._held)

    def _stop(self, boundary: Boundary) -> list[Found]:
        """The end of speech."""
        known = self._recent.heard(boundary.known)
        found = self._give(known - self._held)
        if self._carries:
            found += self._give(self._heard(boundary), boundary.known)
        else:
            found += self._give(known, boundary.known)
            if self._filled:
                self._hop[self._filled :] = self._silence
                missing = len(self._hop) - self._filled
                found += self._call(self._given + missing, boundary.known)
            found += self._found(self._decoder.flush(self._within(boundary.at)), boundary.known)
        self._from = None
        return found

    def _give(self, end: int, settled: int | None = None) -> list[Found]:
        """Speech up to frame `end` to the model; `settled`: if other than by that frame and those held."""
        found: list[Found] = []
        while self._from is not None and self._from < end:
            n = min(len(self._hop) - self._filled, end - self._from)
            self._hop[self._filled : self._filled + n] = self._recent.between(self._from, self._from + n)
            self._filled += n
            self._from = self._given = self._from + n
            if self._filled == len(self._hop):
                heard = samples_of(self._from + self._held, self._features)
                found += self._call(self._from, max(heard, self._since) if settled is None else settled)
        return found

    def _call(self, count: int, settled: int) -> list[Found]:
        """The model hears a hop, of which the last frame is the stream's `count`th."""
        self._filled = 0
        at = samples_of(count, self._features)
        return self._found(self._decoder.push(self.model(self._hop), at), settled)

    def _found(self, events: list[Event], settled: int) -> list[Found]:
        """No event lies after what was heard, though a hop that was filled up does."""
        last = self._within(settled)
        return [
            (settled, self._order, event if event.at <= last else replace(event, at=last)) for event in events
        ]
