"""Streams that never end: memory stays flat, and minute 59 is heard as minute 1, to the bit."""

import gc
import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stapes.events import Event, FeaturesHeard, TextFinished
from stapes.model import Model, bundled_models
from stapes.samples import Samples
from stapes.spec import WindowMode
from stapes.stream import Stream
from stapes.tasks import task_of
from tests.runtime.conftest import Tiny
from tests.tools import needs
from tests.tools.signals import every, feed_in, high, low, quiet, speech, words

RATE = 16_000
MINUTE = 60 * RATE
_MANY = 100
"""Events of a minute that are remembered as they are; of more a digest, or memory would grow by the test."""


def _rss() -> int:
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("needs /proc to read this process's memory")
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def _minute(said: Samples) -> Samples:
    """Hiss, half a minute in words; a whole number of hops, so that each minute meets the models alike."""
    minute = quiet(60)
    minute[30 * RATE : 30 * RATE + said.size] = said
    return minute


def _earlier(event: Event, minutes: int) -> str:
    """An event as it would be told so many minutes before; of features, which are many, a digest."""
    moved = replace(event, at=event.at - minutes * MINUTE)
    if isinstance(moved, FeaturesHeard):
        return f"{moved.at} {_digest(moved.features.tobytes())}"
    if isinstance(moved, TextFinished):
        late = 60 * minutes
        moved = replace(
            moved,
            words=tuple(
                replace(word, start=round(word.start - late, 3), end=round(word.end - late, 3))
                for word in moved.words
            ),
        )
    return moved.to_json()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hour(stream: Stream, minute: Samples, block: int) -> tuple[list[list[str]], int]:
    """An hour of the same minute: what each announced, and by how much memory grew from the fifth on."""
    heard: list[list[str]] = []
    start = 0
    for m in range(60):
        events = [e for at in range(0, MINUTE, block) for e in stream.feed(minute[at : at + block])]
        told = [_earlier(event, m) for event in events]
        heard.append(told if len(told) < _MANY else [_digest("".join(told).encode())])
        if m == 4:
            start = _rss()
    return heard, _rss() - start


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("sliding", {}),
        ("stateful", {}),
        ("segment", {"task": "trace"}),
        ("segment", {"task": "trace", "streamed": True}),
    ],
)
def test_an_hour(tiny: Tiny, mode: WindowMode, settings: dict[str, Any]) -> None:
    stream = Stream(tiny(mode, frames=100, **settings))
    heard, grown = _hour(stream, _minute(words()), 2 * RATE)
    assert len(heard[1]) >= 3
    assert heard[2:] == [heard[1]] * (len(heard) - 2)
    assert grown < 1_000_000


def test_an_hour_at_another_rate_does_not_drift(tiny: Tiny) -> None:
    """44.1 kHz, where outputs and inputs line up only each 441 samples: ten minutes of scores, to the bit."""
    stream = Stream(tiny("stateful", task="trace"), sample_rate=44_100)
    minute = np.resize(np.concatenate([low(0.7, 44_100), quiet(2.3, 44_100), high(1, 44_100)]), 4 * 44_100)
    heard = []
    for m in range(150):
        events = stream.feed(minute)
        heard.append([replace(e, at=e.at - m * 4 * RATE).to_json() for e in events])
    assert heard[3:] == [heard[2]] * 147


def test_a_huge_block_needs_little_memory(tiny: Tiny) -> None:
    stream = Stream(tiny("stateful"))
    five_minutes = np.tile(_minute(words()), 5)
    stream.feed(five_minutes[:MINUTE])
    stream.reset()
    gc.collect()
    before = _rss()
    events = feed_in(stream, five_minutes, [])
    # A copy of the block takes twice that; after many other tests the allocator keeps a few MB for itself.
    assert _rss() - before < five_minutes.nbytes // 2
    stream.reset()
    assert feed_in(stream, five_minutes, every(RATE)) == events


@pytest.mark.slow
@pytest.mark.parametrize("name", bundled_models() or [None])
def test_an_hour_of_a_bundled_model(name: str | None) -> None:
    if name is None:
        needs.missing("no model is bundled")
    model = Model.load(name)
    stream, minute = Stream(model), _minute(speech())
    heard, grown = _hour(stream, minute, RATE // 10)
    assert all(heard)
    if task_of(model.spec).carries:
        # Evidence adds up from one speech to the next and may turn a guess, however late; all else is alike.
        guesses = [[event for event in told if '"DialectGuessed"' in event] for told in heard]
        assert 1 <= sum(map(len, guesses)) <= 3
        assert not any(guesses[30:])
        stream.reset()
        again = [e for at in range(0, MINUTE, RATE // 10) for e in stream.feed(minute[at : at + RATE // 10])]
        assert [_earlier(event, 0) for event in again] == heard[0]
        heard = [
            [event for event in told if event not in of] for told, of in zip(heard, guesses, strict=True)
        ]
    hop, frames = model.spec.window.hop, 60_000 // round(model.spec.features.hop_ms)
    # A model that hears all sound, silence too, meets every so many minutes alike.
    period = hop // math.gcd(hop, frames) if model.spec.window.mode == "stateful" else 1
    assert heard[1 + period :] == heard[1:-period]
    assert grown < 1_000_000
