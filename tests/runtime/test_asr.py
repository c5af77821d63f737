"""Speech to text: what is announced and when, by made-up posteriors and by a tiny model of two graphs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from stapes.events import Event, TextChanged, TextFinished
from stapes.model import Model
from stapes.onnxfile import ModelFileError
from stapes.scoring import judge, score
from stapes.spec import Scores, SpecError
from stapes.stream import Stream
from stapes.tasks import asr
from stapes.tasks.asrparams import AsrParams
from tests.tools import tiny_asr, tiny_onnx
from tests.tools.signals import cuttings, every, feed_in, high, low, quiet, words

STEP = 8 * 160


def _rows(*symbols: int, sure: float = 0.9) -> Scores:
    rows = np.full((len(symbols), len(tiny_asr.LABELS)), (1 - sure) / 8, np.float32)
    rows[np.arange(len(symbols)), symbols] = sure
    return rows


def _push(decoder: asr.TextDecoder, rows: Scores, at: int = 0) -> list[Event]:
    """One step a call."""
    return [e for n, row in enumerate(rows, 1) for e in decoder.push(row[None], at + n * STEP)]


def _texts(events: list[Event]) -> list[tuple[str, int, str]]:
    return [
        (type(e).__name__, e.at // STEP, e.text) for e in events if isinstance(e, TextChanged | TextFinished)
    ]


def test_text_is_shown_when_it_changes_and_finished_once() -> None:
    decoder = asr.TextDecoder(tiny_asr.spec())
    events = _push(decoder, _rows(0, 0, 5, 5, 0, 0, 6, 0))
    events += decoder.flush(7 * STEP)
    assert _texts(events) == [
        ("TextChanged", 3, "low"),
        ("TextChanged", 7, "low high"),
        ("TextFinished", 7, "low high"),
    ]
    last = events[-1]
    assert isinstance(last, TextFinished)
    assert [(w.text, w.start, w.end) for w in last.words] == [("low", 0.16, 0.32), ("high", 0.48, 0.56)]
    assert [w.confidence for w in last.words] == pytest.approx([0.9, 0.9], abs=1e-4)
    assert last.confidence == pytest.approx(0.9, abs=1e-4)
    assert last.nbest[0][0] == "low high"
    assert 1 < len(last.nbest) <= 5
    assert [score for _, score in last.nbest] == sorted([score for _, score in last.nbest], reverse=True)
    assert decoder.flush(9 * STEP) == []


def test_each_utterance_begins_anew() -> None:
    decoder = asr.TextDecoder(tiny_asr.spec())
    first = _push(decoder, _rows(0, 5, 0)) + decoder.flush(3 * STEP)
    second = _push(decoder, _rows(0, 5, 0), 3 * STEP) + decoder.flush(6 * STEP)
    assert [replace(e, at=e.at + 3 * STEP) for e in first[:1]] == second[:1]
    assert isinstance(second[1], TextFinished)
    assert second[1].words[0].start == pytest.approx(4 * 0.08)


def test_a_clip_by_itself_is_pushed_and_flushed_at_its_end() -> None:
    rows = _rows(*[0, 5, 0, 6, 0] * 12)  # longer than 50 steps: it is cut
    decoder = asr.TextDecoder(tiny_asr.spec())
    told = decoder.push(rows, 60 * STEP) + decoder.flush(60 * STEP)
    assert sum(isinstance(event, TextFinished) for event in told) == 2
    for _ in range(2):  # and the next one begins anew
        assert decoder.whole(rows) == told


def test_nothing_is_announced_of_nothing() -> None:
    decoder = asr.TextDecoder(tiny_asr.spec())
    assert _push(decoder, _rows(*[0] * 20)) + decoder.flush(20 * STEP) == []
    assert decoder.flush(20 * STEP) == []


def test_what_is_not_sure_is_nothing() -> None:
    decoder = asr.TextDecoder(tiny_asr.spec(floor=0.6))
    assert _push(decoder, _rows(0, 5, 0, sure=0.5)) + decoder.flush(3 * STEP) == []
    assert _texts(_push(decoder, _rows(0, 5, 0, sure=0.7)) + decoder.flush(3 * STEP)) == [
        ("TextChanged", 2, "low"),
        ("TextFinished", 3, "low"),
    ]
    taken_back = _push(decoder, _rows(0, 5, 0, sure=0.7)) + _push(decoder, _rows(6, sure=0.4))
    assert _texts(taken_back + decoder.flush(4 * STEP))[1:] == [("TextChanged", 1, "")]


def test_long_speech_is_cut_at_the_best_pause() -> None:
    """50 steps at most: the best pause of the last five seconds is that of steps 20 to 29."""
    decoder = asr.TextDecoder(tiny_asr.spec())
    symbols = [5, 0] * 10 + [0] * 10 + [6, 0] * 15
    events = _push(decoder, _rows(*symbols)) + decoder.flush(60 * STEP)
    finished = [e for e in events if isinstance(e, TextFinished)]
    assert [e.text for e in finished] == [" ".join(["low"] * 10), " ".join(["high"] * 15)]
    assert 20 <= finished[0].at // STEP <= 30
    assert finished[1].at == 60 * STEP
    starts = [w.start for e in finished for w in e.words]
    assert starts == pytest.approx([0.16 * n for n in range(10)] + [2.4 + 0.16 * n for n in range(15)])


def test_how_sure_a_cut_text_is_depends_on_its_own_steps_alone() -> None:
    """Sure speech is finished, though what follows the pause that it is cut at is not sure."""
    decoder = asr.TextDecoder(tiny_asr.spec(floor=0.7))
    unsure = _rows(*[6, 0] * 15, sure=0.5)
    events = _push(decoder, np.concatenate((_rows(*[5, 0] * 5, *[0] * 10), unsure, unsure[:4])))
    events += decoder.flush(54 * STEP)
    assert [e.text for e in events if isinstance(e, TextFinished)] == [" ".join(["low"] * 5)]


def test_speech_without_end_needs_no_more_memory() -> None:
    decoder = asr.TextDecoder(tiny_asr.spec())
    events = _push(decoder, _rows(*[5, 6] * 400))
    assert len(decoder._rows) < 50
    text = " ".join(e.text for e in [*events, *decoder.flush(0)] if isinstance(e, TextFinished))
    assert text == " ".join(["low high"] * 400)


def test_hotwords_are_heard_where_it_is_close() -> None:
    rows = _rows(0, 7, 0, 8, 0)
    rows[3, 6], rows[3, 8] = 0.55, 0.35
    plain = asr.clip(rows, tiny_asr.spec())
    assert plain["text"] == "new high"
    hot = asr.clip(rows, tiny_asr.spec(hotwords=["New York"]))
    assert hot["text"] == "new york"
    assert (
        asr.clip(_rows(0, 7, 0, 6, 0, sure=0.99), tiny_asr.spec(hotwords=["new york"]))["text"] == "new high"
    )


def test_a_clip_is_one_utterance_or_several() -> None:
    result = asr.clip(_rows(0, 5, 0, 6, 0), tiny_asr.spec())
    assert result["text"] == "low high"
    assert result["nbest"][0][0] == "low high"
    assert 0.8 < result["confidence"] < 1
    long = asr.clip(_rows(*([5, 0] * 10 + [0] * 10) * 3), tiny_asr.spec())
    assert long["text"] == " ".join(["low"] * 30)
    assert asr.clip(_rows(0, 0), tiny_asr.spec()) == {"text": "", "nbest": [], "confidence": 0.0}


def test_metrics() -> None:
    figures = asr.metrics([{"text": "low high"}, {"text": ""}], ["Low, high!", "high"], tiny_asr.spec())
    assert figures == {
        "n": 2,
        "words": 3,
        "wer": pytest.approx(1 / 3, abs=1e-6),
        "cer": pytest.approx(4 / 11, abs=1e-6),
    }


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"colour": 1}, "unknown key 'params.colour'"),
        ({"beam": 3}, "3 does not divide"),
        ({"beam": 2.0}, "'params.beam' must be a whole number from 1"),
        ({"search": "magic"}, "must be one of"),
        ({"hotwords": "new york"}, "must be a list of phrases"),
        ({"hotwords": [" "]}, "must be a list of phrases"),
        ({"floor": float("nan")}, "'params.floor'"),
        ({"step_frames": 0}, "'params.step_frames'"),
        ({"search": "beam"}, "has no second graph"),
    ],
)
def test_params_that_cannot_be_are_refused(params: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        asr.TextDecoder(tiny_asr.spec(**params))


def test_params_may_be_left_out_but_one() -> None:
    assert AsrParams.of(tiny_asr.spec()) == AsrParams(step_frames=8)
    with pytest.raises(SpecError, match=r"'params\.step_frames' is missing"):
        AsrParams.of(replace(tiny_asr.spec(), params={}))
    with pytest.raises(SpecError, match="more than 5 labels"):
        AsrParams.of(replace(tiny_asr.spec(), labels=tiny_asr.LABELS[:5]))


# A model of two graphs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(tiny_asr.write(tmp_path_factory.mktemp("asr"), tiny_asr.spec()))


def _finished(events: list[Event]) -> list[str]:
    return [e.text for e in events if isinstance(e, TextFinished)]


@pytest.mark.parametrize("search", ["ctc", "rescore", "beam"])
def test_a_stream_tells_what_was_said(model: Model, search: str) -> None:
    events = feed_in(Stream(model.fork(search=search)), words(), every(1600))
    wanted = ["low", "high", "low"] if search != "beam" else ["low"] * 3  # the table's own best text
    assert _finished(events) == wanted
    shown = [e for e in events if isinstance(e, TextChanged)]
    assert [e.text for e in shown] == ["low", "high", "low"]
    for event, start in zip(shown, (1.0, 2.5, 4.0), strict=True):
        assert start < event.seconds < start + 0.3


def test_words_end_where_the_stream_does(model: Model) -> None:
    """The hop that the end cuts is filled up with silence, in which nothing was said."""
    stream = Stream(model)
    for length in range(16_000 + 4_000, 16_000 + 8_000, 401):  # within the first word
        stream.reset()
        (last,) = [e for e in feed_in(stream, words()[:length], []) if isinstance(e, TextFinished)]
        assert last.at == length
        assert [(w.start < w.end, w.end * 16_000 <= length + 8) for w in last.words] == [(True, True)]


def test_text_is_shown_as_soon_as_its_hop_was_heard(model: Model) -> None:
    """The delay behind the speech is that of a hop and a frame, whatever the endpointer still waits for."""
    stream, block = Stream(model), 160
    delays = [
        start + block - event.at
        for start in range(0, words().size, block)
        for event in stream.feed(words()[start : start + block])
        if isinstance(event, TextChanged)
    ]
    assert len(delays) == 3
    assert max(delays) <= block
    first_of_hop = STEP + 400 - 160  # samples from a hop's first to the one after its last
    assert (max(delays) + first_of_hop) / 16 < 640


@settings(deadline=None, max_examples=8)
@given(cuts=cuttings)
def test_any_cutting_gives_the_same_text(model: Model, cuts: list[int]) -> None:
    stream = Stream(model.fork(search="rescore"))
    whole = feed_in(stream, words(), [])
    stream.reset()
    assert feed_in(stream, words(), cuts) == whole


def test_the_memory_is_that_of_the_utterance(model: Model) -> None:
    """The tiny memory is the posteriors: what the second graph is given can be compared."""
    mine = model.fork()
    frames = np.random.default_rng(0).normal(-5, 4, (40, 40)).astype(np.float32)
    scores = np.concatenate([mine(frames[at : at + 8]) for at in range(0, 40, 8)])
    reader = mine.reader
    assert reader is not None
    reader.read(1, 4)
    wanted = scores[1:4][:, np.arange(12) % 9].reshape(3, 1, 2, 3, 2).transpose(1, 2, 3, 0, 4)
    np.testing.assert_array_equal(reader._memory, wanted)
    reader.forget(2)
    reader.read(2, 4)
    np.testing.assert_array_equal(reader._memory, wanted[:, :, :, 1:])
    mine.reset()
    with pytest.raises(ModelFileError, match="wants 1 steps"):
        reader.read(0, 1)
    assert model.reader is not reader


def test_the_second_graph_writes_on_from_its_past(model: Model) -> None:
    reader = model.fork().reader
    assert reader is not None
    reader.hear(np.zeros((4, 12), np.float32))
    reader.read(0, 4)
    tokens = np.array([[2, 5, 6], [4, 6, 5]])
    whole, past = reader.write(tokens, None)
    assert past.shape == (1, 2, 2, 3, 3, 2)
    np.testing.assert_array_equal(whole, tiny_asr.table()[tokens])
    one, past = reader.write(tokens[:, :1], None)
    two, past = reader.write(tokens[:, 1:], past)
    np.testing.assert_array_equal(np.concatenate((one, two), axis=1), whole)
    assert past.shape == (1, 2, 2, 3, 3, 2)


def test_clips(model: Model) -> None:
    sound = np.concatenate([quiet(0.3), low(0.5), quiet(0.3), high(0.5), quiet(0.3)])
    for search in ("ctc", "rescore", "beam"):
        result = judge(model.fork(search=search), sound)
        assert result["text"] == ("low" if search == "beam" else "low high")
        assert judge(model.fork(search=search), sound) == result
    assert score(model, sound).shape[1] == len(tiny_asr.LABELS)
    assert judge(model, quiet(1))["text"] == ""


def test_params_are_changed_for_one_stream_only(model: Model) -> None:
    forked = model.fork(hotwords=["low"])
    assert forked.spec.params["hotwords"] == ["low"]
    assert forked.fork().spec.params["hotwords"] == ["low"]
    assert "hotwords" not in model.spec.params
    with pytest.raises(SpecError, match=r"unknown key 'params\.colour'"):
        Stream(model.fork(colour="blue"))


def test_what_the_reader_keeps_of_long_speech_is_bounded(model: Model) -> None:
    stream = Stream(model.fork(search="rescore"))
    for _ in range(20):
        stream.feed(np.concatenate([low(0.4), quiet(0.1), high(0.4), quiet(0.1)] * 2))
    reader = stream.models[0].reader
    assert reader is not None
    assert sum(len(part) for part in reader._heard) <= 60


def test_models_without_a_second_graph_have_no_reader(tmp_path: Path) -> None:
    model = Model.load(tiny_asr.write(tmp_path, tiny_asr.spec(), None))
    assert model.reader is None
    assert judge(model, low(1))["text"] == "low"
    with pytest.raises(SpecError, match="has no second graph"):
        Stream(model.fork(search="beam"))


@pytest.mark.parametrize(
    ("inner", "reason"),
    [(b"no graph", "onnxruntime refuses it"), (None, "second graph must have inputs")],
)
def test_second_graphs_that_cannot_be_are_told(tmp_path: Path, inner: bytes | None, reason: str) -> None:
    graph = tiny_onnx.build(tiny_onnx.spec("sliding")) if inner is None else inner
    model = Model.load(tiny_asr.write(tmp_path, tiny_asr.spec(search="beam"), graph))
    with pytest.raises(ModelFileError, match=reason):
        judge(model, low(1))
