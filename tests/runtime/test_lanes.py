"""Models that hear speech by hops: what a plain loop over its frames gives, under any cutting."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes.endpoint import Boundary, Endpointer, EndpointSpec
from stapes.events import DialectGuessed, Event, SpeechEnded, SpeechStarted
from stapes.fbank import fbank, frame_count
from stapes.model import Model
from stapes.samples import Frames, Samples
from stapes.scoring import score
from stapes.stream import Stream
from tests.runtime.conftest import Tiny
from tests.tools.signals import cuttings, every, feed_in, low, quiet, words

HOP, FRAME = 160, 400


def _model(tiny: Tiny, *, carries: bool, **settings: Any) -> Model:
    return tiny("segment", streamed=True, task="trace on" if carries else "trace", **settings)


def _boundaries(model: Model, samples: Samples) -> list[Boundary]:
    endpointer = Endpointer(model.spec.features, EndpointSpec())
    return endpointer.accept(fbank(samples, model.spec.features)) + endpointer.finish(samples.size)


def _rows(events: list[Event]) -> list[tuple[int, list[float]]]:
    return [(e.at, list(e.scores.values())) for e in events if isinstance(e, DialectGuessed) and e.scores]


def _flushes(events: list[Event]) -> list[int]:
    return [e.at for e in events if isinstance(e, DialectGuessed) and e.label == "flush"]


def _calls(model: Model, frames: Frames, hop: int) -> list[list[float]]:
    return [model(frames[at : at + hop])[0].tolist() for at in range(0, len(frames) - hop + 1, hop)]


@pytest.mark.parametrize("hop", [10, 7, 33])
def test_each_utterance_starts_anew_and_is_filled_up(tiny: Tiny, hop: int) -> None:
    model, samples = _model(tiny, carries=False, hop=hop), words()
    events = feed_in(Stream(model), samples, [])
    frames, plain = fbank(samples, model.spec.features), model.fork()
    silence = fbank(np.zeros(FRAME, np.float32), model.spec.features)
    wanted, ends = [], []
    boundaries = _boundaries(model, samples)
    for start, end in zip(boundaries[::2], boundaries[1::2], strict=True):
        first = -(-(start.at - 3200) // HOP)
        part = frames[first : frame_count(end.known, model.spec.features)]
        filled = np.concatenate((part, np.repeat(silence, -len(part) % hop, axis=0)))
        plain.reset()
        found = _calls(plain, filled, hop)
        wanted += [
            (min((first + hop * n - 1) * HOP + FRAME, end.known), row) for n, row in enumerate(found, 1)
        ]
        ends.append(end.at)
    assert _rows(events) == wanted
    assert _flushes(events) == ends
    assert len(ends) == 3
    last = [e for e in events if isinstance(e, SpeechEnded | DialectGuessed)][-2:]
    assert isinstance(last[0], DialectGuessed)


@pytest.mark.parametrize("hop", [10, 33, 50])
def test_evidence_carries_on_over_pauses(tiny: Tiny, hop: int) -> None:
    """Frames short of a hop wait for the next speech, and the states live on."""
    model, samples = _model(tiny, carries=True, hop=hop), words()
    events = feed_in(Stream(model), samples, [])
    frames, plain = fbank(samples, model.spec.features), model.fork()
    parts, numbers = [], []
    boundaries = _boundaries(model, samples)
    for start, end in zip(boundaries[::2], boundaries[1::2], strict=True):
        first, last = -(-(start.at - 3200) // HOP), frame_count(end.at + 3200, model.spec.features)
        parts.append(frames[first:last])
        numbers += range(first, last)
    found = _calls(plain, np.concatenate(parts), hop)
    assert len(found) == len(numbers) // hop > 1
    wanted = [(numbers[hop * n - 1] * HOP + FRAME, row) for n, row in enumerate(found, 1)]
    assert _rows(events) == wanted
    assert _flushes(events) == [samples.size]


@settings(deadline=None, max_examples=40)
@given(
    cuts=cuttings,
    carries=st.booleans(),
    hop=st.sampled_from([3, 10, 64]),
    end=st.tuples(st.sampled_from([16_000, 44_100]), st.integers(0, 70_000)),
)
def test_any_cutting_gives_the_same_events(
    tiny: Tiny, cuts: list[int], carries: bool, hop: int, end: tuple[int, int]
) -> None:
    rate, cut_off = end
    stream = Stream(_model(tiny, carries=carries, hop=hop), sample_rate=rate)
    samples = words(rate)[: rate * 2 + cut_off]
    whole = feed_in(stream, samples, [])
    stream.reset()
    assert feed_in(stream, samples, cuts) == whole
    assert all(0 <= e.at <= -(-samples.size * 16_000 // rate) for e in whole)


@settings(deadline=None, max_examples=20)
@given(cuts=cuttings, cut_off=st.integers(0, 20_000))
def test_beside_other_models_the_events_are_the_same(tiny: Tiny, cuts: list[int], cut_off: int) -> None:
    """Others want silence after the end: it is not heard as speech."""
    samples = words()[: words().size - cut_off]
    models = [
        _model(tiny, carries=True, name="carries"),
        tiny("sliding", task="trace", name="slides", hop=7),
        _model(tiny, carries=False, name="starts", hop=13),
        tiny("segment", task="trace", name="whole"),
    ]
    together = feed_in(Stream(*models), samples, cuts)
    for model in models:
        alone = feed_in(Stream(model), samples, [])
        assert [e for e in together if e.model == model.spec.name] == [e for e in alone if e.model]


def test_frames_are_heard_at_once_where_utterances_stand_alone(tiny: Tiny) -> None:
    """A step is out as soon as its last frame is there; where speech carries on, 300 ms later."""
    samples = np.concatenate([quiet(1), low(2)])
    for carries, late in ((False, 0), (True, 4800)):
        stream = Stream(_model(tiny, carries=carries))
        lag = []
        for fed in range(HOP, samples.size + 1, HOP):
            lag += [fed - e.at for e in stream.feed(samples[fed - HOP : fed]) if e.model]
        assert len(lag) > 10
        assert max(lag[5:]) <= late + 2 * HOP
        assert min(lag) >= late


def test_speech_up_to_the_end(tiny: Tiny) -> None:
    samples = words()[:21_111]
    events = feed_in(Stream(_model(tiny, carries=False)), samples, every(997))
    assert [e.at for e in events if isinstance(e, SpeechStarted | SpeechEnded)] == pytest.approx(
        [16_000, 21_111], abs=600
    )
    assert _flushes(events) == [21_111]
    assert _rows(events)[-1][0] == 21_111


def test_reset_is_a_new_stream(tiny: Tiny) -> None:
    for carries in (False, True):
        stream = Stream(_model(tiny, carries=carries))
        first = feed_in(stream, words(), [])
        stream.reset()
        stream.feed(words()[:20_000])
        stream.reset()
        assert feed_in(stream, words(), []) == first


@pytest.mark.parametrize("length", [0, 1, 400, 5_000, 16_000])
def test_a_clip_is_heard_hop_by_hop(tiny: Tiny, length: int) -> None:
    model, clip = _model(tiny, carries=True), low(1)[:length]
    size = max(0, -(-(length - FRAME) // HOP)) * HOP + FRAME
    padded = np.zeros(size, np.float32)
    padded[(size - length) // 2 :][:length] = clip
    frames = fbank(padded, model.spec.features)
    silence = fbank(np.zeros(FRAME, np.float32), model.spec.features)
    filled = np.concatenate((frames, np.repeat(silence, -len(frames) % 10, axis=0)))
    scores = score(model, clip)
    assert scores.tolist() == _calls(model.fork(), filled, 10)
    assert score(model, clip).tolist() == scores.tolist()


def test_the_end_of_one_stream_is_not_the_end_of_the_next(tiny: Tiny) -> None:
    model = _model(tiny, carries=False)
    stream = Stream(model)
    short = feed_in(stream, words()[:20_000], [])
    stream.reset()
    assert feed_in(stream, words(), []) == feed_in(Stream(model), words(), [])
    assert replace(short[0], at=0) == SpeechStarted(at=0)
