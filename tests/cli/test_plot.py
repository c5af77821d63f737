"""The picture is written, for any length of sound, with what was found in it."""

import sys
from pathlib import Path

import numpy as np
import pytest

import stapes
from stapes.events import (
    AudioLost,
    DialectGuessed,
    KeywordSpotted,
    SpeechEnded,
    SpeechStarted,
    TextChanged,
    TextFinished,
    Word,
)
from stapes.plot import Track, timeline, track
from stapes.spec import WindowMode
from tests.cli.sounds import LABELS, sound
from tests.tools import needs
from tests.tools.tiny_onnx import spec, write


@pytest.fixture(autouse=True)
def _matplotlib() -> None:
    needs.package("matplotlib", "draw")


EVENTS = [
    SpeechStarted(at=100),
    KeywordSpotted(at=8_000, model="kws", label="stop", score=0.93),
    KeywordSpotted(at=9_000, model="kws", label="go", score=0.9),
    TextFinished(at=9_500, model="asr", text="stop & go <now>"),
    DialectGuessed(at=9_700, model="dialect_id", label="fr", scores={"fr": 1.0}),
    SpeechEnded(at=10_000),
    AudioLost(at=11_000, samples=160, reason="overflow"),
    SpeechStarted(at=15_000),
]


def test_words_are_in_the_picture(tmp_path: Path) -> None:
    seconds = np.arange(1, 11) / 10
    scores = np.zeros((10, 3), np.float32)
    scores[5, 1], scores[:, 0], scores[2, 2] = 0.93, 0.5, 0.05
    track = Track("kws", ("_silence_", "stop", "never"), seconds, scores, {"stop": 0.8}, ("_silence_",))
    path = tmp_path / "timeline.svg"
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        timeline(path, np.zeros(16_000, np.float32), 16_000, EVENTS, [track], title="two words")
    text = path.read_text()
    for words in (
        "two words",
        "stop 0.93",
        "go 0.90",
        "stop &amp; go &lt;now&gt;",
        "fr",
        "160 samples lost",
        "kws score",
    ):
        assert words in text
    assert "never" not in text.replace("never_", "")


def test_final_texts_stand_over_their_span_and_shown_ones_nowhere(tmp_path: Path) -> None:
    from matplotlib import rc_context

    told = "one two three four five six seven eight nine ten costs $5 or $6"
    word = Word(text="one", start=0.2, end=0.4, confidence=0.9)
    events = [
        TextChanged(at=8_000, model="asr", text="one tow"),
        TextFinished(at=16_000, model="asr", text=told, words=(word,)),
        TextFinished(at=150_000, model="asr", text=told, words=(word,)),
    ]
    path = tmp_path / "timeline.svg"
    with rc_context({"svg.fonttype": "none"}):
        timeline(path, np.zeros(160_000, np.float32), 16_000, events)
    text = path.read_text()
    assert "tow" not in text
    assert told in text  # in nine seconds there is room for it
    assert ">one two three…<" in text  # in one there is not


@pytest.mark.parametrize("length", [0, 1, 100, 16_001, 3_000_000])
def test_any_length(tmp_path: Path, length: int) -> None:
    path = tmp_path / "timeline.png"
    empty = Track("kws", ("a", "b"), np.zeros(0), np.zeros((0, 2), np.float32))
    timeline(path, np.ones(length, np.float32), 16_000, [], [empty])
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_drawn_as_silence(tmp_path: Path, bad: float) -> None:
    samples = sound(16_000).astype(np.float32) / np.float32(32768)
    samples[1_000:2_000] = bad
    path = tmp_path / "timeline.png"
    timeline(path, samples, 16_000, [AudioLost(at=1_000, samples=1_000, reason="not finite")])
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("mode", ["sliding", "stateful"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_scores_are_those_of_the_events(tmp_path: Path, mode: WindowMode, rate: int) -> None:
    model = stapes.Model.load(write(tmp_path, spec(mode)))
    samples = sound(rate).astype(np.float32) / np.float32(32768)
    stream = stapes.Stream(model, sample_rate=rate)
    events = stream.feed(samples) + stream.close()
    found = track(model, samples, rate)
    assert found is not None
    assert found.thresholds == {"low": 0.6, "high": 0.6}
    assert [event.label for event in events if isinstance(event, KeywordSpotted)] == list(LABELS)
    for event in events:
        assert isinstance(event, KeywordSpotted)
        (step,) = np.flatnonzero(np.abs(found.seconds - event.seconds) < 1e-9)
        assert found.scores[step, found.labels.index(event.label)] == pytest.approx(event.score, abs=1e-4)


def test_segments_have_no_timeline(tmp_path: Path) -> None:
    model = stapes.Model.load(write(tmp_path, spec("segment")))
    assert track(model, np.zeros(16_000, np.float32), 16_000) is None


def test_matplotlib_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'stapes\[plot\]'"):
        timeline(tmp_path / "x.png", np.zeros(1, np.float32), 16_000, [])
