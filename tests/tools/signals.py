"""Test sounds that the tiny models tell apart, and the ways to cut them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from stapes.events import Event
from stapes.samples import Samples
from stapes.sources import read
from stapes.stream import Stream


def quiet(seconds: float, rate: int = 16_000, seed: int = 0) -> Samples:
    """Hiss at -80 dB."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return (noise * 1e-4).astype(np.float32)


def band(low_hz: float, high_hz: float, seconds: float, rate: int = 16_000) -> Samples:
    """Forty tones in a band."""
    t = np.arange(round(seconds * rate)) / rate
    tones = [
        np.sin(2 * np.pi * hz * t + 2.4 * i * i) for i, hz in enumerate(np.linspace(low_hz, high_hz, 40))
    ]
    return (0.03 * np.sum(tones, axis=0)).astype(np.float32)


def low(seconds: float, rate: int = 16_000) -> Samples:
    """What the tiny models call low."""
    return band(100, 1400, seconds, rate)


def high(seconds: float, rate: int = 16_000) -> Samples:
    """What the tiny models call high."""
    return band(2500, 7000, seconds, rate)


def words(rate: int = 16_000) -> Samples:
    """Low at 1 s, high at 2.5 s, low at 4 s, each of 0.5 s, in hiss: 5.3 s."""
    parts = (1.0, low, 1.0, high, 1.0, low, 0.8)
    return np.concatenate([quiet(p, rate, 7) if isinstance(p, float) else p(0.5, rate) for p in parts])


def speech() -> Samples:
    """Two keywords and other words, spoken by a synthetic voice: 4 s of the demo, 16 kHz."""
    samples, rate = read(Path(__file__).parents[2] / "examples" / "demo.wav")
    return samples[20 * rate : 24 * rate]


def feed_in(stream: Stream, samples: Samples, lengths: Iterable[int]) -> list[Event]:
    """All events of a stream that is fed blocks of the given lengths, then the rest, then closed."""
    events: list[Event] = []
    at = 0
    for length in lengths:
        events += stream.feed(samples[at : at + length])
        at += length
        if at >= samples.size:
            break
    return [*events, *stream.feed(samples[at:]), *stream.close()]


def every(length: int) -> Iterator[int]:
    """The same length for ever."""
    while True:
        yield length


cuttings = st.lists(
    st.one_of(st.integers(0, 3), st.integers(0, 400), st.integers(0, 40_000)), min_size=1, max_size=60
)
"""Lengths of blocks, 0 and 1 among them."""
