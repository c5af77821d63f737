"""The resampler against scipy, soxr and ideal sines."""

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stapes.resample import Resampler, low_pass, output_count, resample
from stapes.samples import Samples
from tests.tools import needs

RATES = [8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000]
PAIRS = [
    *((rate, 16_000) for rate in RATES),
    (16_000, 8_000),
    (16_000, 44_100),
    (192_000, 16_000),
    (7_350, 16_000),
    (48_000, 11_025),
]
PASS, STOP = 0.9, 1.0
"""Edges of the bands over the lower Nyquist frequency."""


def noise(n: int, seed: int = 0) -> Samples:
    return (np.random.default_rng(seed).standard_normal(n) * 0.1).astype(np.float32)


def sine(hz: float, rate: int, n: int) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * hz * np.arange(n) / rate + 0.7)


def level_db(x: NDArray[np.floating]) -> float:
    """Power over that of a full sine, in dB."""
    return float(10 * np.log10(2 * np.mean(np.square(x, dtype=np.float64)) + 1e-30))


def inner(x: NDArray[np.floating], rate: int) -> NDArray[np.floating]:
    """Without 20 ms at either end, where a sine begins and ends."""
    return x[rate // 50 : -(rate // 50)]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_equals_scipy_with_the_same_filter(source: int, target: int) -> None:
    signal = needs.package("scipy.signal", "compare with")
    divisor = np.gcd(source, target)
    up, down = target // divisor, source // divisor
    for n in (0, 1, 2, 15, 16, 17, 441, 12_345):
        x = noise(n, seed=n)
        ours = resample(x, source, target)
        assert ours.dtype == np.float32
        assert ours.shape == (output_count(n, source, target),)
        if n:
            theirs = signal.resample_poly(x.astype(np.float64), up, down, window=low_pass(up, down) / up)
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("source", RATES)
def test_pass_band_is_flat_and_in_time(source: int) -> None:
    """A sine comes out as the same sine at the same moments: gain, phase, delay, images in one figure."""
    low = min(source, 16_000) / 2
    for part in (0.01, 0.2, 0.5, 0.77, 0.88, PASS):
        hz = part * low
        y = resample(sine(hz, source, source // 2), source, 16_000)
        wanted = sine(hz, 16_000, y.size)
        ripple = level_db(inner(y, 16_000)) - level_db(inner(wanted, 16_000))
        assert abs(ripple) < 1e-3
        assert level_db(inner(y - wanted, 16_000)) < -85


@pytest.mark.parametrize("source", [rate for rate in RATES if rate > 16_000])
def test_stop_band_is_silent(source: int) -> None:
    for hz in np.linspace(8_000 * STOP, source / 2, 7, endpoint=False):
        y = resample(sine(float(hz), source, source // 2), source, 16_000)
        assert level_db(inner(y, 16_000)) < -88


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_filter_meets_its_bands(source: int, target: int) -> None:
    signal = needs.package("scipy.signal", "measure the filter")
    divisor = np.gcd(source, target)
    up, down = target // divisor, source // divisor
    taps = low_pass(up, down)
    low = 1 / max(up, down)  # the lower Nyquist frequency over that of the filter
    _, passed = signal.freqz(taps / up, worN=np.linspace(0, np.pi * PASS * low, 200))
    _, stopped = signal.freqz(taps / up, worN=np.linspace(np.pi * STOP * low, np.pi * min(1, 8 * low), 2_000))
    assert np.abs(20 * np.log10(np.abs(passed))).max() < 1e-3
    assert 20 * np.log10(np.abs(stopped).max()) < -88


@pytest.mark.parametrize("source", RATES)
def test_equals_soxr_in_the_pass_band(source: int) -> None:
    """soxr's "HQ" on noise without frequencies above 85 % of the lower Nyquist: the filters differ there."""
    soxr = needs.package("soxr", "compare with")
    spectrum = np.fft.rfft(noise(source))
    spectrum[int(0.85 * min(source, 16_000) / 2) :] = 0
    x = np.fft.irfft(spectrum, source).astype(np.float32)
    ours, theirs = resample(x, source, 16_000), soxr.resample(x, source, 16_000, "HQ")
    assert ours.shape == theirs.shape
    error = inner(ours - theirs, 16_000)
    assert level_db(error) - level_db(inner(theirs, 16_000)) < -75


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_speech_there_and_back_is_the_same_speech(rate: int, shared_data: Path) -> None:
    soundfile = needs.package("soundfile", "read real audio")
    soxr = needs.package("soxr", "compare with")
    line = (shared_data / "an4" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[0]
    x, read = soundfile.read(shared_data / "an4" / json.loads(line)["audio"], dtype="float32")
    assert read == 16_000
    there = soxr.resample(x, 16_000, rate, "VHQ")
    ours = resample(there, rate, 16_000)
    theirs = soxr.resample(there, rate, 16_000, "VHQ")
    n = min(ours.size, theirs.size)
    assert level_db(ours[:n] - theirs[:n]) - level_db(theirs) < -40  # the transition bands differ


@settings(deadline=None, max_examples=80)
@given(
    cuts=st.lists(st.integers(0, 6_000), max_size=20),
    n=st.integers(0, 6_000),
    pair=st.sampled_from([*PAIRS, (16_000, 16_000)]),
)
def test_any_cutting_gives_the_same_bits(cuts: list[int], n: int, pair: tuple[int, int]) -> None:
    x = noise(n)
    resampler = Resampler(*pair)
    edges = [0, *sorted(min(c, n) for c in cuts), n]
    pieces = [resampler.push(x[a:b]) for a, b in pairwise(edges)]
    so_far = sum(p.size for p in pieces)
    pieces.append(resampler.flush())
    once = Resampler(*pair)
    assert once.push(x).size == so_far
    np.testing.assert_array_equal(np.concatenate(pieces), resample(x, *pair))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("block", [1, 10, 1_000])
def test_equal_blocks_give_the_same_bits(rate: int, block: int) -> None:
    x = noise(rate * 3 if block == 1_000 else 2_345)  # the first is longer than one inner piece
    resampler = Resampler(rate, 16_000)
    pieces = [resampler.push(x[i : i + block]) for i in range(0, x.size, block)]
    np.testing.assert_array_equal(np.concatenate([*pieces, resampler.flush()]), resample(x, rate, 16_000))


@pytest.mark.parametrize("rate", RATES)
def test_output_is_held_back_for_milliseconds_only(rate: int) -> None:
    resampler, block = Resampler(rate, 16_000), noise(rate // 100)
    given_out = 0
    for i in range(1, 40):
        given_out += resampler.push(block).size
        held = output_count(i * block.size, rate, 16_000) - given_out
        assert 0 < held < (160 if rate >= 16_000 else 240)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(0, 10**7), pair=st.sampled_from(PAIRS))
def test_output_count_is_the_times_before_the_end(n: int, pair: tuple[int, int]) -> None:
    source, target = pair
    count = output_count(n, source, target)
    assert count == 0 or (count - 1) * source < n * target
    assert count * source >= n * target


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_memory_is_flat(rate: int) -> None:
    resampler, block = Resampler(rate, 16_000), noise(rate // 100)
    for _ in range(50):
        resampler.push(block)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1_000):
        resampler.push(block)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 4_096


def test_reset_begins_a_new_stream() -> None:
    resampler, x = Resampler(44_100, 16_000), noise(5_000)
    resampler.push(noise(7_777, seed=1))
    resampler.reset()
    first = np.concatenate((resampler.push(x), resampler.flush()))
    np.testing.assert_array_equal(first, resample(x, 44_100, 16_000))
    with pytest.raises(RuntimeError, match="reset"):
        resampler.push(x)
    resampler.reset()
    np.testing.assert_array_equal(np.concatenate((resampler.push(x), resampler.flush())), first)


def test_same_rate_passes_through() -> None:
    x = noise(1_000)
    resampler = Resampler(16_000, 16_000)
    y = resampler.push(x)
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(x, y)
    assert resampler.flush().size == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_samples_spoil_ten_milliseconds_only(bad: float) -> None:
    for rate in RATES:
        x = noise(rate)
        spoilt = x.copy()
        spoilt[rate // 2] = bad
        a, b = resample(x, rate, 16_000), resample(spoilt, rate, 16_000)
        np.testing.assert_array_equal(a[: 8_000 - 160], b[: 8_000 - 160])
        np.testing.assert_array_equal(a[8_000 + 160 :], b[8_000 + 160 :])


@pytest.mark.parametrize(
    ("source", "target", "error", "message"),
    [
        (0, 16_000, ValueError, "0 Hz"),
        (16_000, -8_000, ValueError, "-8000 Hz"),
        (44_100.0, 16_000, TypeError, r"44100\.0"),
        (None, 16_000, TypeError, "None"),
        (44_101, 16_000, ValueError, "16000/44101"),
    ],
)
def test_bad_rates_are_refused_with_numbers(
    source: int, target: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Resampler(source, target)
    with pytest.raises(error, match=message):
        output_count(100, source, target)


def test_bad_samples_are_refused_and_leave_the_stream_as_it_was() -> None:
    resampler, x = Resampler(48_000, 16_000), noise(3_000)
    with pytest.raises(TypeError, match="int16"):
        resampler.push(np.zeros(480, np.int16))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(480, 2\)"):
        resampler.push(np.zeros((480, 2), np.float32))
    np.testing.assert_array_equal(
        np.concatenate((resampler.push(x), resampler.flush())), resample(x, 48_000, 16_000)
    )
