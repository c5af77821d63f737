"""Batch augmentation against values worked out by hand or by numpy, clip by clip."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.augment import (
    POWER_FLOOR,
    MaskSpec,
    WaveSpec,
    augment,
    crop,
    gain,
    mask,
    mix,
    noise_crops,
    shift,
    whole,
)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _waves(batch: int = 6, samples: int = 800, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(batch, samples, generator=_generator(seed))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-30, 30), min_size=1, max_size=5), st.integers(1, 50))
def test_shift_moves_by_whole_samples_and_fills_with_zeros(offsets: list[int], samples: int) -> None:
    waves = _waves(len(offsets), samples)
    moved = shift(waves, torch.tensor(offsets), 30).numpy()
    for row, offset in enumerate(offsets):
        want = np.zeros(samples, np.float32)
        for to in range(samples):
            if 0 <= to - offset < samples:
                want[to] = waves[row, to - offset]
        np.testing.assert_array_equal(moved[row], want)


def test_crop_takes_the_context() -> None:
    context = torch.arange(20.0).reshape(2, 10)
    assert crop(context, torch.tensor([0, 6]), 4).tolist() == [[0, 1, 2, 3], [16, 17, 18, 19]]


def test_gain_is_in_decibels() -> None:
    waves = _waves(3)
    louder = gain(waves, torch.tensor([0.0, 20.0, -6.0]))
    factors = (louder / waves).mean(1)
    assert factors.tolist() == pytest.approx([1.0, 10.0, 10 ** (-6 / 20)], rel=1e-5)


def test_achieved_snr_is_the_one_asked_for() -> None:
    waves, noise = _waves(5), _waves(5, seed=1) * torch.tensor([1.0, 30.0, 0.3, 2.0, 5.0])[:, None]
    asked = torch.tensor([-5.0, 0.0, 3.5, 20.0, 40.0])
    added = (mix(waves, noise, asked) - waves).double()
    achieved = 10 * torch.log10(waves.double().square().mean(1) / added.square().mean(1))
    assert achieved.tolist() == pytest.approx(asked.tolist(), abs=0.01)


def test_infinite_snr_changes_nothing() -> None:
    waves = _waves()
    assert torch.equal(mix(waves, _waves(seed=1), torch.full((6,), torch.inf)), waves)


def test_silence_neither_swallows_noise_nor_blows_it_up() -> None:
    silent, loud = torch.zeros(1, 800), _waves(1)
    faint = mix(silent, loud, torch.tensor([0.0]))
    assert float(faint.square().mean()) == pytest.approx(POWER_FLOOR, rel=1e-4)
    assert torch.equal(mix(loud, silent, torch.tensor([-20.0])), loud)
    hiss = mix(loud, 1e-9 * loud, torch.tensor([0.0]))
    assert torch.allclose(hiss, loud, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float32, torch.int16])
def test_noise_crops_are_pieces_of_the_noise(kind: torch.dtype) -> None:
    noise = (torch.arange(1000) * 30).to(torch.int16)
    given_noise = noise if kind is torch.int16 else noise.float() / 32768
    crops = noise_crops(given_noise, torch.tensor([0, 17, 900]), 100)
    want = [noise[a : a + 100].numpy() / np.float32(32768) for a in (0, 17, 900)]
    np.testing.assert_array_equal(crops.numpy(), np.stack(want))


def test_noise_shorter_than_a_clip_is_told() -> None:
    with pytest.raises(ValueError, match="shorter than a clip"):
        augment(_waves(), 16_000, WaveSpec(), _generator(), noise=torch.zeros(10))


def test_augment_repeats_itself_and_stays_in_range() -> None:
    waves, noise = 5 * _waves(64), torch.randn(5000, generator=_generator(3))
    spec = WaveSpec(shift_ms=10, gain_db=(-10, 10))
    once = augment(waves, 16_000, spec, _generator(7), noise=noise)
    assert torch.equal(once, augment(waves, 16_000, spec, _generator(7), noise=noise))
    assert not torch.equal(once, augment(waves, 16_000, spec, _generator(8), noise=noise))
    assert once.shape == waves.shape
    assert once.dtype == torch.float32
    assert float(once.abs().max()) == 1


def test_noise_goes_to_the_asked_share_of_clips() -> None:
    waves = _waves(2000, 20)
    spec = WaveSpec(shift_ms=0, gain_db=(0, 0), noise_probability=0.3)
    got = augment(waves, 16_000, spec, _generator(), noise=torch.randn(500, generator=_generator(1)))
    assert float((got != waves).any(1).float().mean()) == pytest.approx(0.3, abs=0.04)


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 20)),
    st.tuples(st.integers(0, 3), st.integers(0, 12)),
    st.tuples(st.integers(0, 3), st.integers(0, 12)),
    st.integers(0, 99),
)
def test_masks_stay_within_bounds(
    shape: tuple[int, int], times: tuple[int, int], bands: tuple[int, int], seed: int
) -> None:
    features = torch.rand(4, *shape, generator=_generator(seed)) + 1
    spec = MaskSpec(*times, *bands, "zero")
    hidden = mask(features, spec, _generator(seed)) == 0
    for clip in hidden:
        rows, columns = clip.all(1), clip.all(0)
        assert torch.equal(clip, rows[:, None] | columns[None, :])  # nothing but whole rows and columns
        if not columns.all():
            assert int(rows.sum()) <= times[0] * times[1]
        if not rows.all():
            assert int(columns.sum()) <= bands[0] * bands[1]


def test_mask_widths_and_places_cover_their_range() -> None:
    features = torch.ones(4000, 10, 8)
    hidden = mask(features, MaskSpec(1, 3, 0, 0, "zero"), _generator())[:, :, 0] == 0
    assert sorted(set(hidden.sum(1).tolist())) == [0, 1, 2, 3]
    assert hidden.any(0).all()


def test_mean_fill_is_the_clips_own_mean() -> None:
    features = torch.randn(8, 30, 20, generator=_generator())
    before = features.clone()
    got = mask(features, MaskSpec(), _generator(1))
    assert torch.equal(features, before)
    for clip, original in zip(got, features, strict=True):
        changed = clip != original
        assert changed.any()
        assert clip[changed].unique().tolist() == pytest.approx([float(original.mean())], abs=1e-6)


def test_whole_includes_both_ends() -> None:
    assert sorted(set(whole(-1, 1, 200, _generator()).tolist())) == [-1, 0, 1]


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (WaveSpec, {"shift_ms": -1.0}),
        (WaveSpec, {"noise_probability": 1.5}),
        (WaveSpec, {"snr_db": (5.0, 0.0)}),
        (MaskSpec, {"time_masks": -1}),
    ],
)
def test_impossible_settings_are_named(make: Any, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        make(**change)
