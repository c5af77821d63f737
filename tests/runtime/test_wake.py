"""Speech to text that waits for a keyword: what is let through, by hand and in a stream."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings

from stapes.endpoint import Boundary
from stapes.events import Event, KeywordSpotted, SpeechStarted, TextChanged, TextFinished
from stapes.model import Model
from stapes.samples import Samples
from stapes.stream import Stream, load
from stapes.wake import Gate
from tests.runtime.conftest import Tiny
from tests.tools import tiny_asr
from tests.tools.signals import cuttings, every, feed_in, high, low, quiet

RATE, PAD = 16_000, 3_200
KEYWORD = "tiny-stateful"


def _start(at: float, known: float) -> Boundary:
    return Boundary(True, round(at * RATE), round(known * RATE))


def _end(at: float, known: float) -> Boundary:
    return Boundary(False, round(at * RATE), round(known * RATE))


def _through(gate: Gate, *told: Boundary | float) -> list[tuple[bool, float, float]]:
    """What comes of boundaries and of keywords that end at a time and are known 0.1 s later."""
    keywords = [(round((x + 0.1) * RATE), round(x * RATE)) for x in told if isinstance(x, float)]
    let = gate.through([x for x in told if isinstance(x, Boundary)], keywords)
    return [(b.started, b.at / RATE, b.known / RATE) for b in let]


SPEECH = (_start(1, 1.2), _end(2, 2.5))


def test_without_a_keyword_nothing_is_let_through() -> None:
    gate = Gate(RATE, 200)
    assert _through(gate, *SPEECH, *(_start(4, 4.2), _end(5, 5.5))) == []


def test_the_rest_of_the_speech_of_a_keyword_and_no_more() -> None:
    gate = Gate(RATE, 200)
    assert _through(gate, *SPEECH, 1.4, _start(4, 4.2), _end(5, 5.5)) == [
        (True, pytest.approx(1.6), 1.5),  # lanes take 200 ms off
        (False, 2, 2.5),
    ]


def test_the_next_speech_where_the_keyword_was_all() -> None:
    gate = Gate(RATE, 200)
    rest = [(True, pytest.approx(2.0), 1.9), (False, 2, 2.5)]
    following = [_start(4, 4.2), _end(5, 5.5), _start(7, 7.2), _end(8, 8.5)]
    assert _through(gate, *SPEECH, 1.8, *following) == [*rest, (True, 4, 4.2), (False, 5, 5.5)]


def test_a_keyword_known_after_its_speech_has_ended() -> None:
    gate = Gate(RATE, 200)
    assert _through(gate, *SPEECH, 2.45) == []
    assert _through(gate, _start(4, 4.2), _end(4.1, 4.6), _start(5, 5.2), _end(6, 6.5)) == [
        (True, 4, 4.2),
        (False, 4.1, 4.6),
    ]


def test_nobody_waits_for_ever() -> None:
    gate = Gate(RATE, 200)
    assert _through(gate, *SPEECH, 2.45, _start(11, 11.2), _end(12, 12.5)) == []
    gate.reset()
    assert _through(gate, *SPEECH, 2.45, _start(10, 10.2)) == [(True, 10, 10.2)]


def test_a_keyword_in_what_is_heard_changes_nothing() -> None:
    gate = Gate(RATE, 200)
    let = _through(gate, _start(1, 1.2), 1.4, 2.0, 2.6, _end(4, 4.5), _start(6, 6.2))
    assert let == [(True, pytest.approx(1.6), 1.5), (False, 4, 4.5)]


def test_piece_by_piece_is_the_same() -> None:
    told = (*SPEECH, 1.8, _start(4, 4.2), _end(5, 5.5))
    known = sorted(told, key=lambda x: x + 0.1 if isinstance(x, float) else x.known / RATE)
    whole, gate = _through(Gate(RATE, 200), *told), Gate(RATE, 200)
    assert [one for x in known for one in _through(gate, x)] == whole


# In a stream


@pytest.fixture(scope="module")
def asr(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(tiny_asr.write(tmp_path_factory.mktemp("asr"), tiny_asr.spec()))


@pytest.fixture(scope="module")
def kws(tiny: Tiny) -> Model:
    """Its only keyword is "low"."""
    return tiny("stateful").fork(thresholds={"low": 0.6, "high": 1.0})


def _talk() -> Samples:
    """high; low, then high at once; high; then low alone and high after a pause; high."""
    parts = [1.0, high, 1.0, low, high, high, 1.0, high, 1.5, low, 1.0, high, 1.0, high, 1.0]
    return np.concatenate([quiet(p, seed=n) if isinstance(p, float) else p(0.5) for n, p in enumerate(parts)])


def _texts(events: list[Event]) -> list[str]:
    return [e.text for e in events if isinstance(e, TextFinished)]


def test_only_what_follows_the_keyword_is_transcribed(kws: Model, asr: Model) -> None:
    plain = feed_in(Stream(kws, asr), _talk(), every(1600))
    assert _texts(plain) == ["high", "low high", "high", "low", "high", "high"]
    events = feed_in(Stream(kws, asr, wake=KEYWORD), _talk(), every(1600))
    # Spotted before it ends, the keyword's own sound goes on for a while.
    assert _texts(events) == ["low high", "low", "high"]
    spotted = [e.at for e in events if isinstance(e, KeywordSpotted)]
    assert len(spotted) == 2
    for event in events:
        if isinstance(event, TextFinished):
            assert event.words[0].start * RATE >= spotted[0] - 1280
    assert [e for e in events if not isinstance(e, TextChanged | TextFinished)] == [
        e for e in plain if not isinstance(e, TextChanged | TextFinished)
    ]
    assert sum(isinstance(e, SpeechStarted) for e in events) == 6


@settings(deadline=None, max_examples=15)
@given(cuts=cuttings)
@example(cuts=[10672])  # a block that ends where the keyword does, before the frame that it ends in
def test_any_cutting_gives_the_same_events(kws: Model, asr: Model, cuts: list[int]) -> None:
    stream = Stream(asr, kws, wake=KEYWORD)
    whole = feed_in(stream, _talk(), [])
    stream.reset()
    assert feed_in(stream, _talk(), cuts) == whole
    assert _texts(whole) == ["low high", "low", "high"]


def test_a_recogniser_of_the_same_name_wakes_nobody(kws: Model, asr: Model) -> None:
    namesake = asr.fork()
    namesake.spec = replace(asr.spec, name=KEYWORD)
    events = feed_in(Stream(namesake, kws, wake=KEYWORD), _talk(), [])
    assert _texts(events) == ["low high", "low", "high"]


def test_what_cannot_wait_is_refused(kws: Model, asr: Model, tiny: Tiny) -> None:
    with pytest.raises(
        ValueError, match=r"no keyword model 'other' to wake the others: .* models are: tiny-stateful"
    ):
        Stream(kws, asr, wake="other")
    with pytest.raises(ValueError, match="models are: none"):
        Stream(asr, wake="tiny-asr")
    with pytest.raises(ValueError, match="no model waits for a keyword"):
        Stream(kws, tiny("sliding"), wake=KEYWORD)
    assert load(kws.path, asr.path, wake=KEYWORD).models[1].spec.task == "asr"
