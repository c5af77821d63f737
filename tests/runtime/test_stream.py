"""Stream: same events under any cutting, the scores of a plain loop over the whole, lost audio, the end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes.endpoint import EndpointSpec
from stapes.events import AudioLost, DialectGuessed, Event, KeywordSpotted, SpeechEnded, SpeechStarted
from stapes.fbank import fbank
from stapes.model import Model
from stapes.resample import resample
from stapes.samples import Samples
from stapes.sources import ArraySource, Lost
from stapes.spec import WindowMode
from stapes.stream import Stream, load, run
from tests.runtime.conftest import Tiny
from tests.tools.signals import cuttings, every, feed_in, high, low, quiet, words

MODES: tuple[WindowMode, ...] = ("sliding", "stateful", "segment")


def _keywords(events: list[Event]) -> list[tuple[str, float]]:
    return [(e.label, round(e.seconds, 1)) for e in events if isinstance(e, KeywordSpotted)]


@pytest.mark.parametrize(("mode", "late"), [("sliding", 0.2), ("stateful", 0.2)])
def test_words_are_found_where_they_are(tiny: Tiny, mode: WindowMode, late: float) -> None:
    found = _keywords(feed_in(Stream(tiny(mode)), words(), every(1600)))
    assert [label for label, _ in found] == ["low", "high", "low"]
    assert [at for _, at in found] == pytest.approx([1 + late, 2.5 + late, 4 + late], abs=0.25)


def test_segments_are_found_where_they_are(tiny: Tiny) -> None:
    events = feed_in(Stream(tiny("segment", frames=300, task="trace")), words(), every(1600))
    starts = [e.seconds for e in events if isinstance(e, SpeechStarted)]
    ends = [e.seconds for e in events if isinstance(e, SpeechEnded)]
    assert starts == pytest.approx([1, 2.5, 4], abs=0.06)
    assert ends == pytest.approx([1.5, 3, 4.5], abs=0.06)
    labels = [e.label for e in events if isinstance(e, DialectGuessed)]
    assert labels == ["low", "flush", "high", "flush", "low", "flush"]
    assert [type(e).__name__ for e in events[:4]] == [
        "SpeechStarted",
        "SpeechEnded",
        "DialectGuessed",
        "DialectGuessed",
    ]


@settings(deadline=None, max_examples=40)
@given(cuts=cuttings, mode=st.sampled_from(MODES), rate=st.sampled_from([16_000, 48_000, 11_025]))
def test_any_cutting_gives_the_same_scores_to_the_bit(
    tiny: Tiny, cuts: list[int], mode: WindowMode, rate: int
) -> None:
    stream = Stream(tiny(mode, task="trace"), sample_rate=rate)
    whole = feed_in(stream, words(rate), [])
    stream.reset()
    assert feed_in(stream, words(rate), cuts) == whole
    assert len(whole) > 3


def test_one_sample_at_a_time(tiny: Tiny) -> None:
    stream = Stream(tiny("stateful", task="trace"), tiny("segment", task="trace"))
    samples = words()[14_000:30_000]
    whole = feed_in(stream, samples, [])
    stream.reset()
    assert feed_in(stream, samples, every(1)) == whole


@settings(deadline=None, max_examples=25)
@given(cuts=cuttings)
def test_several_models_keep_their_order_under_any_cutting(tiny: Tiny, cuts: list[int]) -> None:
    models = [
        tiny("stateful", task="trace"),
        tiny("segment", task="trace", mels=20, frames=25),
        tiny("sliding", task="trace", hop=7),
        tiny("segment", task="trace", frames=60),
        tiny("sliding", mels=20),
    ]
    stream = Stream(*models)
    whole = feed_in(stream, words(), [])
    stream.reset()
    assert feed_in(stream, words(), cuts) == whole
    for kind in (DialectGuessed, SpeechStarted, SpeechEnded, KeywordSpotted):
        assert any(isinstance(event, kind) for event in whole)


def test_frames_of_different_hops_keep_the_order(tiny: Tiny) -> None:
    """Where speech ends is known before the next frame of a model whose frames lie further apart."""
    models = [
        tiny("segment", task="trace", frames=60),
        tiny("segment", task="trace", hop_ms=20.0),
        tiny("segment", task="trace on", hop_ms=20.0, hop=3, streamed=True),
        tiny("stateful", task="trace", hop=1),
    ]
    stream = Stream(*models)
    whole = feed_in(stream, words(), [])
    for length in (97, 160):
        stream.reset()
        assert feed_in(stream, words(), every(length)) == whole


def test_models_do_not_disturb_each_other(tiny: Tiny) -> None:
    models = [
        tiny(mode, task="trace", name=mode, hop=hop) for mode, hop in zip(MODES, (10, 7, 10), strict=True)
    ]
    together = feed_in(Stream(*models), words(), [])
    for model in models:
        alone = feed_in(Stream(model), words(), [])
        assert [e for e in together if e.model == model.spec.name] == [e for e in alone if e.model]


@pytest.mark.parametrize("hop", [1, 7, 10, 45])
def test_sliding_equals_a_plain_loop(tiny: Tiny, hop: int) -> None:
    model = tiny("sliding", hop=hop, task="trace")
    samples = words()[:40_001]
    features = model.spec.features
    silence = fbank(np.zeros(400, np.float32), features)
    frames = np.concatenate([np.repeat(silence, 30, axis=0), fbank(samples, features)])
    events = Stream(model).feed(samples)
    ends = range(hop, len(frames) - 30 + 1, hop)
    assert [e.at for e in events] == [(end - 1) * 160 + 400 for end in ends]
    plain = model.fork()
    for event, end in zip(events, ends, strict=True):
        assert isinstance(event, DialectGuessed)
        np.testing.assert_array_equal(list(event.scores.values()), plain(frames[end : end + 30])[0])


def test_stateful_equals_a_plain_loop(tiny: Tiny) -> None:
    model = tiny("stateful", task="trace", lookahead=3)
    samples = words()[:40_001]
    frames = fbank(samples, model.spec.features)
    events = Stream(model).feed(samples)
    assert [e.at for e in events] == [(n - 3 - 1) * 160 + 400 for n in range(10, len(frames) + 1, 10)]
    plain = model.fork()
    for event, end in zip(events, range(10, len(frames) + 1, 10), strict=True):
        assert isinstance(event, DialectGuessed)
        np.testing.assert_array_equal(list(event.scores.values()), plain(frames[end - 10 : end])[0])


def test_the_callers_model_is_not_touched(tiny: Tiny) -> None:
    model = tiny("stateful", task="trace").fork()
    frames = fbank(low(0.1225), model.spec.features)
    before = model(frames)
    model.reset()
    one, two = Stream(model), Stream(model)
    one.feed(high(2))
    assert feed_in(two, words(), []) == feed_in(Stream(model), words(), [])
    np.testing.assert_array_equal(model(frames), before)


def test_another_rate_is_resampled(tiny: Tiny) -> None:
    model = tiny("stateful", task="trace")
    samples = words(48_000)
    direct = feed_in(Stream(model), resample(samples, 48_000, 16_000), [])
    assert feed_in(Stream(model, sample_rate=48_000), samples, []) == direct


def test_models_of_another_rate(tiny: Tiny) -> None:
    model = tiny("sliding", rate=8_000)
    stream = Stream(model)
    assert (stream.sample_rate, stream.rate) == (16_000, 8_000)
    events = feed_in(stream, words(), [])
    assert [e.rate for e in events] == [8_000] * len(events)
    assert _keywords(events)
    with pytest.raises(ValueError, match=r"must share a sample rate, these have \[8000, 16000\] Hz"):
        Stream(model, tiny("sliding"))


# The end


@pytest.mark.parametrize("mode", ["sliding", "stateful"])
@pytest.mark.parametrize("length", [1, 399, 400, 16_000, 16_001, 17_599])
def test_close_decides_the_last_sample(tiny: Tiny, mode: WindowMode, length: int) -> None:
    stream = Stream(tiny(mode, task="trace", lookahead=2))
    fed = stream.feed(low(2)[:length])
    last = stream.close()
    assert all(e.at <= length for e in [*fed, *last])
    assert [e.at for e in last][-2:] == [length, length]
    assert last == sorted(last, key=lambda e: e.at)
    assert stream.close() == []


def test_silence_after_the_end_is_what_close_takes_for_granted(tiny: Tiny) -> None:
    """A word that the file ends with is spotted, as if the file went on in silence."""
    samples = np.concatenate([quiet(1), low(0.25)])
    stream = Stream(tiny("sliding"))
    assert [e.label for e in feed_in(stream, samples, []) if isinstance(e, KeywordSpotted)] == ["low"]
    stream.reset()
    longer = feed_in(stream, np.concatenate([samples, np.zeros(16_000, np.float32)]), [])
    assert [e.label for e in longer if isinstance(e, KeywordSpotted)] == ["low"]


def test_speech_up_to_the_end_is_ended(tiny: Tiny) -> None:
    events = feed_in(Stream(tiny("segment", task="trace", frames=300)), words()[: 16_000 + 5_000], [])
    assert [type(e).__name__ for e in events][:2] == ["SpeechStarted", "SpeechEnded"]
    assert events[1].at == 21_000
    assert [e.at for e in events[2:]] == [21_000] * (len(events) - 2)
    assert any(isinstance(e, DialectGuessed) and e.label == "low" for e in events)


def test_nothing_fed_gives_nothing(tiny: Tiny) -> None:
    for mode in MODES:
        stream = Stream(tiny(mode))
        assert stream.feed(np.zeros(0, np.float32)) == stream.close() == []


def test_after_close_only_reset_helps(tiny: Tiny) -> None:
    stream = Stream(tiny("sliding"))
    events = feed_in(stream, words(), [])
    for use in (lambda: stream.feed(low(0.1)), lambda: stream.lose(3)):
        with pytest.raises(RuntimeError, match=r"after close\(\): call reset\(\)"):
            use()
    stream.reset()
    assert feed_in(stream, words(), every(999)) == events != []


def test_long_speech_is_given_in_parts(tiny: Tiny) -> None:
    model = tiny("segment", frames=40, task="trace")
    samples = np.concatenate(
        [quiet(0.5), *[np.concatenate([low(0.2), quiet(0.1)]) for _ in range(7)], quiet(1)]
    )
    events = feed_in(Stream(model), samples, [])
    ends = [e.at for e in events if isinstance(e, DialectGuessed) and e.label != "flush"]
    assert len(ends) > 3
    assert np.diff(ends[:-1]).tolist() == [40 * 160] * (len(ends) - 2)
    assert len([e for e in events if isinstance(e, SpeechStarted)]) == 1


def test_endpoint_beside_a_keyword_model(tiny: Tiny) -> None:
    events = feed_in(Stream(tiny("sliding"), endpoint=EndpointSpec()), words(), [])
    assert [type(e).__name__ for e in events if not isinstance(e, KeywordSpotted)] == [
        "SpeechStarted",
        "SpeechEnded",
    ] * 3
    assert [e for e in events if isinstance(e, KeywordSpotted)] == feed_in(
        Stream(tiny("sliding")), words(), []
    )


def test_a_stream_of_less_than_a_frame_is_not_followed_beyond_its_end(tiny: Tiny) -> None:
    """However much silence another model needs after it."""
    brief, other = tiny("stateful", task="trace", frames=1, hop=1), tiny("sliding", task="trace")
    together = feed_in(Stream(brief, other), low(1)[:50], [])
    assert [e for e in together if e.model == brief.spec.name] == feed_in(Stream(brief), low(1)[:50], [])


# Lost audio


def _spoilt(samples: Samples, spans: list[tuple[int, int]], value: float) -> tuple[Samples, Samples]:
    """The samples with spans of `value`, and with spans of silence."""
    bad, silent = samples.copy(), samples.copy()
    for start, end in spans:
        bad[start:end], silent[start:end] = value, 0
    return bad, silent


@settings(deadline=None, max_examples=30)
@given(
    cuts=cuttings,
    mode=st.sampled_from(MODES),
    value=st.sampled_from([np.nan, np.inf, -np.inf]),
    gaps=st.lists(st.tuples(st.integers(1, 9_000), st.integers(1, 9_000)), min_size=1, max_size=4),
)
def test_not_finite_samples_are_silence_and_told_once(
    tiny: Tiny, cuts: list[int], mode: WindowMode, value: float, gaps: list[tuple[int, int]]
) -> None:
    spans, at = [], 0
    for good, lost in gaps:
        spans.append((at + good, at + good + lost))
        at += good + lost
    bad, silent = _spoilt(words(), spans, value)
    stream = Stream(tiny(mode, task="trace"))
    events = feed_in(stream, bad, cuts)
    lost_events = [e for e in events if isinstance(e, AudioLost)]
    assert [(e.at, e.at + e.samples, e.reason) for e in lost_events] == [
        (a, b, "not finite") for a, b in spans
    ]
    stream.reset()
    assert [e for e in events if not isinstance(e, AudioLost)] == feed_in(stream, silent, [])
    stream.reset()
    assert feed_in(stream, bad, []) == events


def test_lost_up_to_the_end_is_told_by_close(tiny: Tiny) -> None:
    stream = Stream(tiny("sliding"))
    assert stream.feed(np.full(3_000, np.nan, np.float32)) == []
    assert stream.feed(np.full(3_000, np.inf, np.float32)) == []
    assert stream.close() == [AudioLost(at=0, samples=6_000, reason="not finite")]


def test_lost_spans_at_another_rate_cover_the_loss(tiny: Tiny) -> None:
    bad, _ = _spoilt(words(48_000), [(1_000, 1_001), (5_000, 8_000)], np.nan)
    events = feed_in(Stream(tiny("sliding"), sample_rate=48_000), bad, [])
    lost = [(e.at, e.samples) for e in events if isinstance(e, AudioLost)]
    assert lost == [(333, 1), (1_666, 1_001)]


def test_what_a_source_lost_keeps_the_time(tiny: Tiny) -> None:
    model = tiny("stateful", task="trace")
    samples = words()
    stream = Stream(model)
    events = (
        stream.feed(samples[:20_000]) + stream.lose(4_000) + stream.feed(samples[24_000:]) + stream.close()
    )
    lost = AudioLost(at=20_000, samples=4_000, reason="overflow")
    assert [e for e in events if isinstance(e, AudioLost)] == [lost]
    _, silent = _spoilt(samples, [(20_000, 24_000)], 0)
    assert [e for e in events if e != lost] == feed_in(Stream(model), silent, [])
    with pytest.raises(ValueError, match="cannot lose -1 samples"):
        Stream(model).lose(-1)
    assert Stream(model).lose(0) == []


def test_not_finite_then_lost_are_two(tiny: Tiny) -> None:
    stream = Stream(tiny("sliding"))
    events = stream.feed(np.full(100, np.nan, np.float32)) + stream.lose(50) + stream.close()
    assert [(e.at, e.samples, e.reason) for e in events if isinstance(e, AudioLost)] == [
        (0, 100, "not finite"),
        (100, 50, "overflow"),
    ]


# Bad input


@pytest.mark.parametrize(
    ("samples", "error", "reason"),
    [
        (np.zeros((2, 100), np.float32), ValueError, r"one axis \(mono\), got shape \(2, 100\)"),
        (np.zeros((100, 1), np.float32), ValueError, r"got shape \(100, 1\)"),
        (np.float32(0.5), ValueError, r"got shape \(\)"),
        (np.array([1, 40_000, -7], np.int32), TypeError, r"float32 in \[-1, 1\], got int32"),
        (np.zeros(100, np.int16), TypeError, "got int16 .*divide by 32768"),
        (np.zeros(100, np.uint8), TypeError, "got uint8"),
        (np.zeros(100, np.float16), TypeError, "got float16"),
        (np.zeros(100, np.complex64), TypeError, "got complex64"),
        (np.zeros(100, bool), TypeError, "got bool"),
        (np.array([0, 20_000], np.float32), ValueError, r"in \[-1, 1\], got 20000 \(16-bit values: divide"),
        (np.array([0, -1e30], np.float64), ValueError, r"got 1e\+30"),
        ("text", TypeError, "got <U4"),
        (None, TypeError, "got object"),
    ],
)
def test_bad_blocks_are_refused_and_disturb_nothing(
    tiny: Tiny, samples: object, error: type[Exception], reason: str
) -> None:
    stream = Stream(tiny("stateful"))
    events = stream.feed(words()[:30_000])
    with pytest.raises(error, match=reason):
        stream.feed(samples)  # type: ignore[arg-type]
    events += stream.feed(words()[30_000:]) + stream.close()
    stream.reset()
    assert feed_in(stream, words(), []) == events


def test_wider_floats_are_rounded(tiny: Tiny) -> None:
    stream = Stream(tiny("stateful"))
    events = feed_in(stream, words(), [])
    stream.reset()
    assert feed_in(stream, words().astype(np.float64), []) == events  # type: ignore[arg-type]


def test_what_float32_cannot_hold_is_lost(tiny: Tiny) -> None:
    stream = Stream(tiny("stateful"))
    assert stream.feed(np.array([0, -1e300, 0])) == [AudioLost(at=1, samples=1, reason="not finite")]  # type: ignore[arg-type]


def test_loud_audio_is_audio(tiny: Tiny) -> None:
    stream = Stream(tiny("stateful"))
    stream.feed(low(0.5) * np.float32(10))
    assert all(np.isfinite(state).all() for kept in stream.models[0]._kept for state in kept)


def test_streams_that_cannot_be_are_refused(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="at least one model"):
        Stream()
    for rate in (0, -16_000):
        with pytest.raises(ValueError, match=str(rate)):
            Stream(tiny("sliding"), sample_rate=rate)
    with pytest.raises(TypeError, match=r"whole numbers of Hz, got 16000\.0"):
        Stream(tiny("sliding"), sample_rate=16_000.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unknown task 'cooking'; this stapes knows .*kws"):
        Stream(tiny("sliding", task="cooking"))


# run and load


class _Faulty:
    """A source that fails, and says whether it was closed."""

    sample_rate = 16_000
    closed = False

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield words()
        yield Lost(160)
        raise OSError("unplugged")

    def close(self) -> None:
        self.closed = True


def test_run_is_feeding_by_hand(tiny: Tiny) -> None:
    model = tiny("sliding")
    assert list(run(ArraySource(words()), Stream(model))) == feed_in(Stream(model), words(), [])


def test_run_closes_the_source_whatever_happens(tiny: Tiny) -> None:
    source = _Faulty()
    events = []
    with pytest.raises(OSError, match="unplugged"):
        events.extend(run(source, Stream(tiny("sliding"))))
    assert source.closed
    abandoned = _Faulty()
    loop = run(abandoned, Stream(tiny("sliding")))
    next(loop)
    loop.close()  # type: ignore[attr-defined]
    assert abandoned.closed


def test_run_refuses_another_rate(tiny: Tiny) -> None:
    source = ArraySource(words(44_100), sample_rate=44_100)
    with pytest.raises(ValueError, match="the stream wants 16000 Hz, the source gives 44100 Hz"):
        list(run(source, Stream(tiny("sliding"))))
    assert list(run(source, Stream(tiny("sliding"), sample_rate=44_100))) != []


def test_run_wants_no_path(tiny: Tiny) -> None:
    with pytest.raises(TypeError, match=r"not a path: open_source\('take\.wav'\)"):
        list(run("take.wav", Stream(tiny("sliding"))))  # type: ignore[arg-type]


def test_load(tiny: Tiny) -> None:
    paths = [tiny("sliding").path, tiny("stateful").path]
    stream = load(*paths, sample_rate=48_000)
    assert [model.spec.window.mode for model in stream.models] == ["sliding", "stateful"]
    assert stream.sample_rate == 48_000
    assert all(isinstance(model, Model) for model in stream.models)
