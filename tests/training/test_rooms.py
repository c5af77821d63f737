"""Simulated rooms: the pool repeats itself, sound decays as asked, convolution equals scipy's."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from training.rooms import LEAD, RoomSpec, reverberate, room_responses

SMALL = RoomSpec(count=4, rt60_s=(0.15, 0.25), distance_m=(0.3, 1.0), response_ms=200, seed=3)


@pytest.fixture(scope="module")
def pool() -> NDArray[np.float32]:
    return room_responses(SMALL)


def test_pool_repeats_itself(pool: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(pool, room_responses(SMALL))
    assert not np.array_equal(pool[0], pool[1])


def test_direct_sound_comes_first_and_energy_is_one(pool: NDArray[np.float32]) -> None:
    assert pool.shape == (4, 3200)
    np.testing.assert_allclose(np.square(pool).sum(1), 1, rtol=1e-5)
    for response in pool:
        assert abs(int(np.argmax(np.abs(response[: 2 * LEAD]))) - LEAD) <= 1
        assert np.abs(response[: LEAD - 8]).max() < 0.1 * np.abs(response).max()


@pytest.mark.parametrize("rt60_s", [0.2, 0.4])
def test_sound_decays_as_asked(rt60_s: float) -> None:
    """Schroeder's backward integral takes a third of rt60 from -5 to -25 dB; Sabine's formula is rough."""
    spec = RoomSpec(count=3, floor_m=(3, 4), rt60_s=(rt60_s, rt60_s), response_ms=600, seed=1)
    measured = []
    for response in room_responses(spec).astype(float):
        left = 10 * np.log10(np.cumsum(np.square(response)[::-1])[::-1] + 1e-12)
        measured.append(3 * (np.argmax(left < -25) - np.argmax(left < -5)) / spec.sample_rate)
    assert 0.7 * rt60_s < np.mean(measured) < 1.5 * rt60_s


def test_rooms_that_cannot_be_so_dry_are_told() -> None:
    with pytest.raises(ValueError, match="raise rt60_s"):
        room_responses(RoomSpec(count=1, floor_m=(50, 60), rt60_s=(0.05, 0.05)))


def test_convolution_equals_scipy_and_keeps_power(pool: NDArray[np.float32]) -> None:
    waves = np.random.default_rng(0).standard_normal((4, 5000)).astype(np.float32)
    wet = reverberate(torch.from_numpy(waves), torch.from_numpy(pool)).numpy()
    for dry, response, got in zip(waves, pool, wet, strict=True):
        want = fftconvolve(dry.astype(float), response.astype(float))[LEAD : LEAD + 5000]
        want *= np.sqrt(np.square(dry).mean() / np.square(want).mean())
        np.testing.assert_allclose(got, want, atol=1e-4)


def test_silence_stays_silent(pool: NDArray[np.float32]) -> None:
    assert not reverberate(torch.zeros(1, 100), torch.from_numpy(pool[:1])).any()
