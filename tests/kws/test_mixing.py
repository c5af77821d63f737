"""What comes out of the mixer, against energies added by hand."""

import numpy as np
import pytest
import torch

from kws.clips import LABELS
from kws.features import Store, second_of
from kws.mixing import Mixer, MixSpec, warm_up_mean
from stapes.spec import FbankSpec
from training.augment import MaskSpec

MELS = 40
PLAIN = MixSpec(
    frames=120, shift_early=0, shift_late=0, start_late=0, gain_db=(0, 0), noise_chance=0, before_chance=0,
    silence_share=0, unknown_share=0, running_share=0, masks=MaskSpec(0, 0, 0, 0),
)  # fmt: skip


def store(clips: int = 24) -> Store:
    rng = np.random.default_rng(0)
    labels = np.arange(clips) % len(LABELS)
    labels[labels == 0] = 1
    return Store(
        FbankSpec(),
        rng.normal(-6, 2, (clips, 2, 98, MELS)).astype(np.float16),
        labels.astype(np.int64),
        np.arange(clips) % 3 == 0,
        rng.normal(-5, 1, (5000, MELS)).astype(np.float16),
        rng.normal(-8, 1, (5000, MELS)).astype(np.float16),
    )


def from_dict(**changes: object) -> MixSpec:
    from dataclasses import replace

    return replace(PLAIN, **changes)  # type: ignore[arg-type]


def test_without_augmentation_clips_pass_unchanged() -> None:
    data = store()
    frames, labels = Mixer(data, PLAIN, seed=0).batch(32)
    assert frames.shape == (32, 120, MELS)
    known = {c.tobytes(): data.labels[i] for i, clip in enumerate(data.clips) for c in clip}
    for frame, label in zip(frames.numpy(), labels.numpy(), strict=True):
        np.testing.assert_allclose(frame[:22], np.log(FbankSpec().floor), rtol=1e-5)
        # float32 of an energy of a log is the log again, to half precision
        assert known[frame[22:].astype(np.float16).tobytes()] == label


def test_noise_comes_at_the_ratio_asked_for() -> None:
    data = store()
    mixer = Mixer(data, from_dict(noise_chance=1.0, snr_db=(10, 10)), seed=3)
    plain = Mixer(data, PLAIN, seed=3)
    noisy = np.exp(mixer.batch(64)[0].numpy())
    clean = np.exp(plain.batch(64)[0].numpy())
    noise = noisy - clean
    ratio = 10 * np.log10(clean.mean((1, 2)) / noise.mean((1, 2)))
    np.testing.assert_allclose(ratio, 10, atol=0.05)


def test_gain_moves_all_energies_alike() -> None:
    data = store()
    loud = Mixer(data, from_dict(gain_db=(6, 6)), seed=1).batch(8)[0]
    plain = Mixer(data, PLAIN, seed=1).batch(8)[0]
    inside = plain[:, 22:] > -12
    torch.testing.assert_close(
        (loud - plain)[:, 22:][inside],
        torch.full((int(inside.sum()),), 6 * np.log(10) / 10),
        atol=2e-3,
        rtol=0,
    )


def test_shares_are_kept() -> None:
    spec = from_dict(silence_share=0.1, running_share=0.2, unknown_share=0.2)
    labels = torch.cat([labels for _, labels in Mixer(store(), spec, seed=0).batches(200, 50)]).numpy()
    share = np.bincount(labels, minlength=12) / len(labels)
    assert share[0] == pytest.approx(0.1, abs=0.01)
    # Of what is neither silent nor running: unknown words by their share, keywords equally.
    assert share[1] == pytest.approx(0.2 + 0.7 * 0.2 / 0.7, abs=0.02)
    assert share[2:].std() < 0.01


def test_same_seed_same_batches() -> None:
    spec = MixSpec()
    first = list(Mixer(store(), spec, seed=5).batches(16, 3))
    second = list(Mixer(store(), spec, seed=5).batches(16, 3))
    other = Mixer(store(), spec, seed=6).batch(16)
    for (a, x), (b, y) in zip(first, second, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(x, y)
    assert not torch.equal(first[0][0], other[0])


def test_a_window_shorter_than_the_clip_cuts_its_start() -> None:
    frames, _ = Mixer(store(), from_dict(frames=90), seed=0).batch(4)
    assert frames.shape[1] == 90
    assert (frames[:, 0] > -15).all()


def test_mean_and_deviation_are_of_what_is_drawn() -> None:
    mean, std = warm_up_mean(store(), PLAIN, seed=0)
    frames = torch.cat([Mixer(store(), PLAIN, seed=0).batch(100)[0] for _ in range(1)])
    assert mean.shape == std.shape == (MELS,)
    torch.testing.assert_close(mean, frames.mean((0, 1)), atol=0.1, rtol=0.05)


@pytest.mark.parametrize("length", [0, 1, 8000, 15999, 16000, 16001, 20001])
def test_second_of_is_centred(length: int) -> None:
    samples = np.arange(1, length + 1, dtype=np.float32)
    out = second_of(samples, 16_000)
    assert len(out) == 16_000
    kept = out[out > 0]
    assert len(kept) == min(length, 16_000)
    if length:
        left, right = kept[0] - 1 + np.argmax(out > 0), length - kept[-1] + np.argmax(out[::-1] > 0)
        assert abs(left - right) <= 1
