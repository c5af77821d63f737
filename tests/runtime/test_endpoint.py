"""Endpointing on real speech with silence put between, on noise, and under any cutting."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes.endpoint import Boundary, Endpointer, EndpointSpec
from stapes.fbank import fbank
from stapes.resample import resample
from stapes.samples import Samples
from stapes.sources import read
from stapes.spec import FbankSpec
from tests.tools import needs
from tests.tools.signals import cuttings, low, quiet, words

RATE = 16_000
FEATURES = FbankSpec()


def _segments(samples: Samples, features: FbankSpec = FEATURES) -> list[tuple[float, float]]:
    """Starts and ends in seconds."""
    endpointer = Endpointer(features, EndpointSpec())
    found = endpointer.accept(fbank(samples, features)) + endpointer.finish(samples.size)
    assert [boundary.started for boundary in found] == [True, False] * (len(found) // 2)
    times = [boundary.at for boundary in found]
    assert times == sorted(times)
    assert all(boundary.at <= boundary.known for boundary in found)
    return [(start / RATE, end / RATE) for start, end in zip(times[::2], times[1::2], strict=True)]


def _noise(size: int, level: float) -> Samples:
    return (np.random.default_rng(1).standard_normal(size) * level).astype(np.float32)


def test_bursts() -> None:
    found = np.array(_segments(words()))
    np.testing.assert_allclose(found, [(1, 1.5), (2.5, 3), (4, 4.5)], atol=0.06)
    kaldi = FbankSpec(scale=32768.0)
    np.testing.assert_allclose(_segments(words(), kaldi), found, atol=0.02)


def test_clicks_are_no_speech_and_short_pauses_are() -> None:
    click = np.concatenate([quiet(1), low(0.06), quiet(1)])
    assert _segments(click) == []
    paused = np.concatenate([quiet(1), low(0.4), quiet(0.3), low(0.4), quiet(1)])
    assert len(_segments(paused)) == 1
    apart = np.concatenate([quiet(1), low(0.4), quiet(0.8), low(0.4), quiet(1)])
    assert len(_segments(apart)) == 2


@settings(deadline=None, max_examples=30)
@given(cuts=cuttings, seed=st.integers(0, 9))
def test_any_cutting_gives_the_same_boundaries(cuts: list[int], seed: int) -> None:
    samples = words() + _noise(words().size, 10.0 ** -(2 + seed % 3))
    frames = fbank(samples, FEATURES)
    whole = Endpointer(FEATURES, EndpointSpec()).accept(frames)
    endpointer = Endpointer(FEATURES, EndpointSpec())
    found: list[Boundary] = []
    at = 0
    for cut in [*cuts, len(frames)]:
        found += endpointer.accept(frames[at : at + cut])
        at += cut
    assert found == whole
    endpointer.reset()
    assert endpointer.accept(frames) == whole


@pytest.mark.parametrize("level", [0, 1e-4, 1e-3, 1e-2, 1e-1])
def test_steady_noise_does_not_flood(level: float) -> None:
    """A minute: what is there from the start may be taken for speech once, and not for long."""
    found = _segments(_noise(60 * RATE, level))
    assert len(found) <= 1
    assert sum(end - start for start, end in found) < 2


@pytest.mark.parametrize("memory_ms", [100, 500, 900])
def test_a_short_memory_learns_the_floor_too(memory_ms: int) -> None:
    samples = _noise(10 * RATE, 0.02)
    endpointer = Endpointer(FEATURES, EndpointSpec(floor_memory_ms=memory_ms))
    found = endpointer.accept(fbank(samples, FEATURES)) + endpointer.finish(samples.size)
    assert [boundary.started for boundary in found] == [True, False]
    assert found[-1].known < 2 * RATE


def test_noise_that_sets_in_becomes_the_floor() -> None:
    found = _segments(np.concatenate([np.zeros(5 * RATE, np.float32), _noise(30 * RATE, 0.01)]))
    assert len(found) <= 1
    assert all(end < 9 for _, end in found)


@pytest.mark.parametrize("noise", [0, 1e-4, 1e-3])
@pytest.mark.parametrize("gain", [1, 0.1])
def test_real_speech(shared_data: Path, gain: float, noise: float) -> None:
    """Utterances 2 s apart: 95 % of the energy of each lies in segments, and hardly any silence."""
    needs.package("soundfile", "the recordings are Opus")
    folder = shared_data / "librispeech"
    lines = (folder / "manifest.jsonl").read_text().splitlines()[::42]
    parts = [np.zeros(RATE, np.float32)]
    spans = []
    for line in lines:
        clip, rate = read(folder / json.loads(line)["audio"])
        assert rate == RATE
        loud = np.flatnonzero(np.abs(clip) > 0.03)
        start = sum(part.size for part in parts)
        spans.append((start + int(loud[0]), start + int(loud[-1])))
        parts += [clip * np.float32(gain), np.zeros(2 * RATE, np.float32)]
    clean = np.concatenate(parts)
    inside = np.zeros(clean.size, bool)
    for begin, end in _segments(clean + _noise(clean.size, noise)):
        inside[round(begin * RATE) : round(end * RATE)] = True
    energy = clean.astype(np.float64) ** 2
    covered = [energy[a:b][inside[a:b]].sum() / energy[a:b].sum() for a, b in spans]
    between = np.concatenate([inside[b + RATE // 2 : b + 2 * RATE] for _, b in spans])
    if gain == 1 or noise < 1e-3:
        assert min(covered) > 0.95
    else:  # 17 dB over the noise on average: quiet parts drown
        assert np.mean(covered) > 0.9
    assert between.mean() < 0.05


@pytest.mark.parametrize("label", ["rain", "helicopter"])
def test_real_noise_does_not_flood(shared_data: Path, label: str) -> None:
    """Twelve recordings of steady noise one after the other: at most one start each."""
    needs.package("soundfile", "the recordings are FLAC and Opus")
    folder = shared_data / "noise"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    clips = [resample(*read(folder / row["audio"]), RATE) for row in rows if row["label"] == label][:12]
    assert len(_segments(np.concatenate(clips))) <= 12


@pytest.mark.parametrize(
    ("settings_", "reason"),
    [
        ({"start_db": 3.0}, "0 < end_db <= start_db"),
        ({"min_speech_ms": 0}, "min_speech_ms 0"),
        ({"pad_ms": 900}, r"pad_ms <= hangover_ms \(500\), got 900"),
        ({"floor_memory_ms": 20}, "floor_memory_ms 20 at least 100"),
    ],
)
def test_impossible_settings_are_named(settings_: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        EndpointSpec(**settings_)  # type: ignore[arg-type]
