"""Stream: samples in, events out. `run` is the one loop that every program goes through."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stapes.endpoint import Boundary, Endpointer, EndpointSpec
from stapes.events import AudioLost, Event, SpeechEnded, SpeechStarted
from stapes.fbank import FbankStream
from stapes.lanes import Found, WindowLane
from stapes.model import Model
from stapes.resample import Resampler, output_count
from stapes.samples import LOUDEST, Frames, Samples, as_samples, refuse_loud
from stapes.segments import SegmentLane, SpeechLane
from stapes.wake import Waker

if TYPE_CHECKING:
    from stapes.sources import Source

_PIECE = 1 << 14
"""Samples worked on at a time, so that memory does not grow with the block."""


class Stream:
    """Samples in, events out, through any number of models that share their front ends.

    Events are a function of the samples alone: blocks of any lengths give the same events in the same
    order. They are ordered by the sample that settled them, then by the order of the models.

    Not-finite samples, and those that a source lost, are replaced by silence, so that the time of what
    follows stays right, and told as `AudioLost` once the lost span is over.
    """

    sample_rate: int
    """Samples a second of what `feed` takes."""
    rate: int
    """Samples a second that the models want, and that `at` of events counts in."""

    def __init__(
        self,
        *models: Model,
        sample_rate: int = 16_000,
        endpoint: EndpointSpec | None = None,
        wake: str = "",
    ) -> None:
        """A stream at its start.

        Args:
            models: at least one, all of one sample rate. They are forked: their own state is not touched.
            sample_rate: of the samples to come; resampled to the models' rate if it is another.
            endpoint: announce speech and its end, by these settings; with a "segment" model, which needs
                it, None means the standard settings.
            wake: name of a keyword model among them. Models that take utterances, such as asr, then hear only
                the speech after one of its keywords; see `stapes.wake`.

        Raises:
            TypeError: a rate that is no whole number.
            ValueError: no model, models of different rates, a rate that cannot be resampled, or no model of
                the name `wake` or none that could wait for it.
            SpecError: a task or params that this stapes does not know.
        """
        if not models:
            raise ValueError("a stream needs at least one model")
        rates = {model.spec.features.sample_rate for model in models}
        if len(rates) > 1:
            raise ValueError(f"models of one stream must share a sample rate, these have {sorted(rates)} Hz")
        self.rate = rates.pop()
        output_count(0, sample_rate, self.rate)  # refuses rates that cannot be, 16000.0 too
        self.sample_rate = int(sample_rate)
        self.models = tuple(model.fork() for model in models)
        self._resampler = None if sample_rate == self.rate else Resampler(self.sample_rate, self.rate)
        heard = endpoint or EndpointSpec()
        self._lanes = [_lane(model, order, heard) for order, model in enumerate(self.models)]
        specs = dict.fromkeys(model.spec.features for model in self.models)
        self._fronts = [
            (FbankStream(spec), [lane for lane in self._lanes if lane.model.spec.features == spec])
            for spec in specs
        ]
        self._endpointer: Endpointer | None = None
        segments = [lane for lane in self._lanes if not isinstance(lane, WindowLane)]
        if endpoint is not None or segments:
            features = (segments or self._lanes)[0].model.spec.features
            self._listens = list(specs).index(features)
            self._endpointer = Endpointer(features, heard)
        self._waker = Waker(self._lanes, wake, self.rate, heard.pad_ms) if wake else None
        self._waiting = self._waker.lanes if self._waker else []
        self._restart()

    def _restart(self) -> None:
        self._fed = 0
        self._lost = 0
        self._closed = False

    def reset(self) -> None:
        """Back to the start: the next sample is the first."""
        if self._resampler is not None:
            self._resampler.reset()
        for front, lanes in self._fronts:
            front.reset()
            for lane in lanes:
                lane.reset()
        if self._endpointer is not None:
            self._endpointer.reset()
        if self._waker is not None:
            self._waker.reset()
        self._restart()

    def feed(self, samples: NDArray[Any]) -> list[Event]:
        """Takes the next block and gives the events that it settles.

        Args:
            samples: (samples,) float32 in [-1, 1] at `sample_rate`, any length; float64 is rounded.

        Raises:
            TypeError: samples that are not floating point.
            ValueError: more than one axis, or far out of [-1, 1]. The block then counts as not fed.
            RuntimeError: the stream is closed.
        """
        if self._closed:
            raise RuntimeError("feed() after close(): call reset() to begin a new stream")
        block = as_samples(samples)
        # One product tells of most blocks that all is well: a large sample, or NaN, would show in it.
        with np.errstate(over="ignore", invalid="ignore"):
            energy = float(np.dot(block, block))
        if energy <= LOUDEST**2 and not self._lost:
            return self._push(block)
        return self._feed_carefully(block)

    def lose(self, samples: int) -> list[Event]:
        """Silence in the place of `samples` that a source lost (at `sample_rate`), and the events of it.

        Raises:
            ValueError: a negative number.
            RuntimeError: the stream is closed.
        """
        if self._closed:
            raise RuntimeError("lose() after close(): call reset() to begin a new stream")
        if samples < 0:
            raise ValueError(f"cannot lose {samples} samples")
        if samples == 0:
            return []
        events = self._end_of_loss()
        start = self._fed
        events += self._silence(samples)
        return [*events, self._audio_lost(start, "overflow")]

    def close(self) -> list[Event]:
        """Ends the stream and gives the last events. A second call gives none.

        What was fed is decided as if silence followed, enough for a word at the very end to be in the
        middle of a window; no event lies after the last sample.
        """
        if self._closed:
            return []
        self._closed = True
        events = self._end_of_loss()
        if self._resampler is not None:
            events += self._frames_of(self._resampler.flush())
        end = output_count(self._fed, self.sample_rate, self.rate)
        silence = max(lane.end_at(end) for lane in self._lanes) - end
        while silence > 0:
            n = min(silence, _PIECE)
            events += self._frames_of(np.zeros(n, np.float32), end)
            silence -= n
        found: list[Found] = []
        if self._endpointer is not None:
            boundaries = self._endpointer.finish(end)
            found += self._told(boundaries, end)
            if self._waker is not None:
                self._waker.tell(boundaries, [])
        for lane in self._lanes:
            found += lane.finish(end)
        return events + _in_order(found)

    def _feed_carefully(self, block: Samples) -> list[Event]:
        """A block with samples that are not finite, or after one that ended so, or a loud or long one."""
        fine = np.isfinite(block)
        refuse_loud(block[fine])
        events: list[Event] = []
        turns = np.flatnonzero(fine[1:] != fine[:-1]) + 1
        for start, end in zip([0, *turns.tolist()], [*turns.tolist(), block.size], strict=True):
            if start == end:
                continue
            if fine[start]:
                events += self._end_of_loss()
                events += self._push(block[start:end])
            else:
                events += self._silence(end - start)
                self._lost += end - start
        return events

    def _end_of_loss(self) -> list[Event]:
        """Announces a span of samples that were not finite, if one was going on."""
        if not self._lost:
            return []
        start, self._lost = self._fed - self._lost, 0
        return [self._audio_lost(start, "not finite")]

    def _audio_lost(self, start: int, reason: str) -> AudioLost:
        """From input sample `start` up to now; rounded outwards to the models' samples."""
        at = start * self.rate // self.sample_rate
        end = -(-self._fed * self.rate // self.sample_rate)
        return AudioLost(at=at, rate=self.rate, samples=end - at, reason=reason)

    def _silence(self, samples: int) -> list[Event]:
        events: list[Event] = []
        while samples:
            n = min(samples, _PIECE)
            events += self._push(np.zeros(n, np.float32))
            samples -= n
        return events

    def _push(self, block: Samples) -> list[Event]:
        self._fed += block.size
        if block.size > _PIECE:
            return [
                event
                for at in range(0, block.size, _PIECE)
                for event in self._resampled(block[at : at + _PIECE])
            ]
        return self._resampled(block)

    def _resampled(self, block: Samples) -> list[Event]:
        return self._frames_of(block if self._resampler is None else self._resampler.push(block))

    def _frames_of(self, block: Samples, end: int | None = None) -> list[Event]:
        """Samples at the models' rate to events; `end` is where the stream ends, once that is known."""
        found: list[Found] = []
        made = [front.accept(block) for front, _ in self._fronts]
        boundaries: list[Boundary] = []
        if self._endpointer is not None:
            boundaries = self._endpointer.accept(made[self._listens])
            found += self._told(boundaries, end)
        found += self._accepted(made, waiting=False)
        if self._waker is not None:
            # Lanes that wait for a keyword come last: what wakes them in this block is known by then.
            self._waker.tell(boundaries, found)
            found += self._accepted(made, waiting=True)
        return _in_order(found)

    def _accepted(self, made: list[Frames], *, waiting: bool) -> list[Found]:
        """Frames of each front end to its lanes: those that wait for a keyword, or the others."""
        found: list[Found] = []
        for frames, (_, lanes) in zip(made, self._fronts, strict=True):
            for lane in lanes:
                if (lane in self._waiting) == waiting:
                    found += lane.accept(frames)
        return found

    def _told(self, boundaries: list[Boundary], end: int | None) -> list[Found]:
        """Boundaries to events, and to the models that wait for them."""
        found: list[Found] = []
        for boundary in boundaries:
            at = boundary.at if end is None else min(boundary.at, end)
            event = (SpeechStarted if boundary.started else SpeechEnded)(at=at, rate=self.rate)
            found.append((boundary.known, -1, event))
        for lane in self._lanes:
            if not isinstance(lane, WindowLane) and lane not in self._waiting:
                lane.expect(boundaries)
        return found


def _lane(model: Model, order: int, endpoint: EndpointSpec) -> WindowLane | SegmentLane | SpeechLane:
    if model.spec.window.mode != "segment":
        return WindowLane(model, order)
    return (SpeechLane if model.spec.streamed else SegmentLane)(model, order, endpoint)


def _in_order(found: list[Found]) -> list[Event]:
    """Sorted by the sample that settled them, then by model; a model's own order is kept."""
    if len(found) > 1:
        found.sort(key=lambda one: one[:2])
    return [event for _, _, event in found]


def load(
    *names_or_paths: str | os.PathLike[str], threads: int = 1, sample_rate: int = 16_000, wake: str = ""
) -> Stream:
    """A stream through models given by bundled name or path. Arguments, errors: `Model.load`, `Stream`."""
    models = [Model.load(name, threads=threads) for name in names_or_paths]
    return Stream(*models, sample_rate=sample_rate, wake=wake)


def run(source: "Source", stream: Stream) -> Iterator[Event]:
    """Everything a source gives through a stream, to its end; then both are closed.

    Args:
        source: where the sound comes from; a `Lost` in it is told to the stream.
        stream: at its start, or fed before.

    Raises:
        TypeError: a path in place of a source.
        ValueError: the source's rate is not the stream's.
    """
    if isinstance(source, str | os.PathLike):
        raise TypeError(f"run wants a source, not a path: open_source({str(source)!r})")
    from stapes.sources import Lost  # after the start: a device that feeds a stream itself never needs it

    try:
        if source.sample_rate != stream.sample_rate:
            raise ValueError(
                f"the stream wants {stream.sample_rate} Hz, the source gives {source.sample_rate} Hz: "
                f"make the stream with sample_rate={source.sample_rate}"
            )
        for block in source:
            yield from stream.lose(block.samples) if isinstance(block, Lost) else stream.feed(block)
        yield from stream.close()
    finally:
        source.close()
