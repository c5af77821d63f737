"""Speed by the pitch of a tone, codecs by what they do to a tone, everything by its seed."""

from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from training.variants import Codec, VariantSpec, speed, through_codec, vary

RATE = 16_000


def _tone(hz: float, seconds: float = 1.0) -> NDArray[np.float32]:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(RATE * seconds)) / RATE)).astype(np.float32)


def _pitch(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 18))
    return float(np.argmax(spectrum) * RATE / (1 << 18))


@pytest.mark.parametrize("factor", [0.85, 0.93, 1.0, 1.07, 1.15])
def test_speed_changes_pitch_and_length_by_the_factor(factor: float) -> None:
    got = speed(_tone(700), factor)
    assert _pitch(got) == pytest.approx(700 * factor, rel=1e-3)
    assert len(got) == pytest.approx(RATE / factor, abs=1)
    assert got.dtype == np.float32


@pytest.mark.parametrize("kind", get_args(Codec))
@pytest.mark.parametrize("length", [RATE, 12_345])
def test_codecs_keep_length_place_and_low_tones(kind: Codec, length: int) -> None:
    tone = _tone(500)[:length]
    tone[: length // 2] = 0  # so that a delay would show
    got = through_codec(tone, RATE, kind, 0.3)
    assert got.shape == tone.shape
    assert got.dtype == np.float32
    lags = np.correlate(got, tone, "full")
    assert abs(int(np.argmax(lags)) - (length - 1)) <= 2
    assert np.corrcoef(got, tone)[0, 1] > 0.95
    assert not np.array_equal(got, tone)


@pytest.mark.parametrize("kind", ["gsm", "mulaw", "alaw", "narrow"])
def test_telephone_codecs_lose_what_is_above_4_khz(kind: Codec) -> None:
    assert np.square(through_codec(_tone(6000), RATE, kind)).mean() < 1e-3 * np.square(_tone(6000)).mean()


def test_mulaw_against_its_formula() -> None:
    """G.711 keeps 13 bits of small values and 4 significant ones of large: within 1/32 of each value."""
    tone = _tone(200)[: RATE // 2 * 2]
    narrow, coded = through_codec(tone, RATE, "narrow"), through_codec(tone, RATE, "mulaw")
    assert np.abs(narrow - coded).max() < 0.3 / 32 * 1.5
    assert np.abs(narrow - coded).max() > 1e-4


@pytest.mark.parametrize("rate", [11_025, 44_100])
def test_other_rates_are_told(rate: int) -> None:
    with pytest.raises(ValueError, match=str(rate)):
        through_codec(_tone(500), rate, "mulaw")


def test_variants_repeat_themselves() -> None:
    rooms = np.random.default_rng(1).standard_normal((3, 400)).astype(np.float32)
    spec = VariantSpec(room_probability=0.5, codec_probability=0.5)
    tone = _tone(400, 0.3)
    once = [vary(tone, RATE, spec, np.random.default_rng(seed), rooms) for seed in range(8)]
    again = [vary(tone, RATE, spec, np.random.default_rng(seed), rooms) for seed in range(8)]
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float32
        assert np.abs(a).max() <= 1
    assert len({a.tobytes() for a in once}) == 8


@pytest.mark.parametrize(
    "change",
    [
        {"speed": (0.0, 1.0)},
        {"compression": (0.5, 1.5)},
        {"room_probability": 2.0},
        {"codec_probability": -1.0},
    ],
)
def test_impossible_settings_are_named(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        VariantSpec(**change)
