"""Events: one line of JSON each, and a case here for every one of them."""

import json
from dataclasses import FrozenInstanceError
from typing import get_args

import numpy as np
import pytest

import stapes
from stapes import events
from stapes.events import (
    AudioLost,
    DialectGuessed,
    Event,
    FeaturesHeard,
    KeywordSpotted,
    SpeechEnded,
    SpeechStarted,
    TextChanged,
    TextFinished,
    Word,
)

CASES: list[tuple[Event, str]] = [
    (SpeechStarted(at=0), '{"event": "SpeechStarted", "at": 0, "seconds": 0.0, "model": ""}'),
    (SpeechEnded(at=8, rate=8000), '{"event": "SpeechEnded", "at": 8, "seconds": 0.001, "model": ""}'),
    (
        KeywordSpotted(at=31_200, model="kws", label="stop", score=0.98),
        '{"event": "KeywordSpotted", "at": 31200, "seconds": 1.95, "model": "kws", '
        '"label": "stop", "score": 0.98}',
    ),
    (
        TextChanged(at=1, model="asr", text="grüß dich"),
        '{"event": "TextChanged", "at": 1, "seconds": 0.0001, "model": "asr", "text": "grüß dich"}',
    ),
    (
        TextFinished(
            at=16_000,
            model="asr",
            text="a",
            nbest=(("a", -0.5), ("b", -2.25)),
            words=(Word(text="a", start=0.5, end=0.75, confidence=0.9),),
            confidence=0.9,
        ),
        '{"event": "TextFinished", "at": 16000, "seconds": 1.0, "model": "asr", "text": "a", '
        '"nbest": [["a", -0.5], ["b", -2.25]], '
        '"words": [{"text": "a", "start": 0.5, "end": 0.75, "confidence": 0.9}], "confidence": 0.9}',
    ),
    (
        DialectGuessed(at=16_000, model="d", label="fr", scores={"fr": 0.75, "de": 0.25}),
        '{"event": "DialectGuessed", "at": 16000, "seconds": 1.0, "model": "d", "label": "fr", '
        '"scores": {"fr": 0.75, "de": 0.25}}',
    ),
    (
        FeaturesHeard(
            at=560, model="encoder", features=np.float32([[0.1, -2.00005], [1, 3e-5]]), period_ms=20.0
        ),
        '{"event": "FeaturesHeard", "at": 560, "seconds": 0.035, "model": "encoder", '
        '"features": [[0.1, -2.0001], [1.0, 0.0]], "period_ms": 20.0}',
    ),
    (
        AudioLost(at=5, samples=3, reason="overflow"),
        '{"event": "AudioLost", "at": 5, "seconds": 0.0003, "model": "", "samples": 3, "reason": "overflow"}',
    ),
]


@pytest.mark.parametrize(
    ("event", "line"), CASES, ids=lambda x: type(x).__name__ if not isinstance(x, str) else ""
)
def test_json(event: Event, line: str) -> None:
    assert event.to_json() == line
    assert "\n" not in line
    json.loads(line)


def test_every_event_has_a_case() -> None:
    public = {
        value for name, value in vars(events).items() if isinstance(value, type) and not name.startswith("_")
    }
    mine = {value for value in public if value.__module__ == events.__name__}
    assert mine - {Word} == set(get_args(Event)) == {type(event) for event, _ in CASES}
    assert {kind.__name__ for kind in mine} <= set(stapes.__all__)


def test_events_are_frozen_and_compare_by_value() -> None:
    event = SpeechStarted(at=3)
    with pytest.raises(FrozenInstanceError):
        event.at = 4  # type: ignore[misc]
    assert event == SpeechStarted(at=3) != SpeechEnded(at=3)  # type: ignore[comparison-overlap]


def test_features_compare_by_value() -> None:
    def heard(last: float = 4, at: int = 3, period_ms: float = 20.0) -> FeaturesHeard:
        return FeaturesHeard(at=at, features=np.float32([[1, 2], [3, last]]), period_ms=period_ms)

    assert heard() == heard()
    assert hash(heard(0.0)) == hash(heard(-0.0))
    assert heard(0.0) == heard(-0.0)
    for other in (heard(last=5), heard(at=4), heard(period_ms=40.0), SpeechStarted(at=3)):
        assert heard() != other


def test_all_is_sorted_and_honest() -> None:
    assert stapes.__all__ == sorted(stapes.__all__)
    assert len(set(stapes.__all__)) == len(stapes.__all__)
    for name in stapes.__all__:
        assert getattr(stapes, name) is not None
