"""Our own HuBERT: k-means against scipy, cepstra, spans, and two iterations through the loop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2, vq
from scipy.fft import dct

from asr.distill.kmeans import assign, kmeans
from asr.distill.masking import Masked, guessed, spans
from asr.distill.mfcc import FEATURES, Mfcc, slopes
from asr.distill.pretrain import PretrainRecipe, PretrainTask, load_pretrained
from stapes.fbank import fbank
from tests.asr.distill.speech import write_speech
from training.encoder.spec import EncoderSpec
from training.loop import fit
from training.recipe import build, load


def test_kmeans_is_as_good_as_scipys() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 4, (12, 5))
    points = (centres[rng.integers(12, size=6_000)] + rng.normal(0, 1, (6_000, 5))).astype(np.float32)
    ours = kmeans(torch.from_numpy(points), 12, steps=60, batch=1_000)
    theirs = min(
        (kmeans2(points, 12, minit="++", rng=seed)[0] for seed in range(5)),
        key=lambda c: float(np.square(vq(points, c)[1]).mean()),
    )
    found, wanted = (np.square(vq(points, np.asarray(c))[1]).mean() for c in (ours, theirs))
    assert found < 1.05 * wanted
    np.testing.assert_array_equal(
        assign(torch.from_numpy(points), ours, at_once=700), vq(points, ours.numpy())[0]
    )
    with pytest.raises(ValueError, match="3 points for 4"):
        kmeans(torch.zeros(3, 2), 4)
    assert kmeans(torch.zeros(9, 2), 4, steps=3).isfinite().all()


def test_cepstra_by_hand() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32)
    (given,) = Mfcc().features(torch.from_numpy(wave)[None])
    cepstra = dct(fbank(wave, FEATURES), norm="ortho")[:, :13]
    assert given.shape == (1, 24, 39)
    np.testing.assert_allclose(given[0, :, :13], cepstra[::2], atol=1e-2)
    middle = sum(k * (cepstra[10 + k] - cepstra[10 - k]) for k in (1, 2)) / 10
    np.testing.assert_allclose(given[0, 5, 13:26], middle, atol=1e-2)
    ramp = torch.arange(9.0)[None, :, None]
    torch.testing.assert_close(slopes(ramp)[0, 2:-2], torch.ones(5, 1))


def test_spans_hide_the_share_that_they_should() -> None:
    rng, lengths = np.random.default_rng(0), np.array([500, 8, 120])
    hidden = np.stack([spans(lengths, 0.08, 10, rng) for _ in range(300)])
    assert hidden.shape == (300, 3, 500)
    assert not hidden[:, 1, 8:].any()
    assert not hidden[:, 2, 120:].any()
    assert hidden.any(2).all()
    # a frame stays open if none of the ten before it begins a span: 1 − 0.92^10 = 0.566
    assert hidden[:, 0].mean() == pytest.approx(0.566, abs=0.03)


def test_only_hidden_frames_count_and_are_not_heard() -> None:
    torch.manual_seed(0)
    spec = EncoderSpec(mels=8, layers=1, width=16, inner=16, heads=2, position_kernel=4, position_groups=2)
    model = Masked(spec, 5).eval()
    frames, lengths = torch.randn(1, 20, 8), torch.tensor([20])
    everything = torch.ones(1, 10, dtype=torch.bool)
    first = model(frames, lengths, everything)[0]
    torch.testing.assert_close(first, model(frames + 1, lengths, everything)[0])
    hidden = torch.zeros(1, 10, dtype=torch.bool)
    hidden[0, [3, 9]] = True
    units = torch.tensor([[0, 0, 0, 2, 0, 0, 0, 0, 0, 4]])
    logits = torch.zeros(1, 10, 5)
    logits[0, 3, 2] = 2.0
    loss, right = guessed(logits, units, hidden, torch.tensor([9]))  # the tenth frame is padding
    assert float(loss) == pytest.approx(-2 + np.log(np.exp(2) + 4), abs=1e-6)
    assert right == 1


def test_hidden_frames_are_guessed_from_those_around() -> None:
    """Recordings that say one thing from end to end: what is hidden is known from the rest."""
    torch.manual_seed(0)
    spec = EncoderSpec(mels=8, layers=1, width=16, inner=16, heads=2, position_kernel=4, position_groups=2)
    model, rng = Masked(spec, 4), np.random.default_rng(0)
    optimizer, says = torch.optim.Adam(model.parameters(), lr=0.01), torch.randn(4, 8)
    for _ in range(120):
        kinds = torch.randint(4, (16,))
        frames = says[kinds][:, None] + 0.1 * torch.randn(16, 40, 8)
        hidden = torch.from_numpy(spans(np.full(16, 20), 0.05, 5, rng))
        logits, lengths = model(frames, torch.full((16,), 40), hidden)
        loss, right = guessed(logits, kinds[:, None].expand(16, 20), hidden, lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert right > 0.95


def test_two_iterations(tmp_path: Path) -> None:
    write_speech(tmp_path)
    tiny = {
        "epoch_steps": 3, "clusters": 6, "layer": 1, "features": {"mels": 16},
        "speech": {"folders": ["talk"], "noise_chance": 0.0, "crop_s": 0.6, "batch_s": 3.0},
        "encoder": {"mels": 16, "layers": 2, "width": 16, "inner": 16, "heads": 2, "position_kernel": 4,
                    "position_groups": 2, "dropout": 0.0},
        "loop": {"epochs": 2, "lr": 0.003, "warmup_epochs": 0.0, "ema_decay": 0.0, "accelerator": "cpu"},
    }  # fmt: skip
    recipe = build(PretrainRecipe, tiny)
    first = fit(PretrainTask(recipe, tmp_path, tmp_path / "cache"), recipe.loop, tmp_path / "first")
    assert 0 <= first["best"]["dev"]["accuracy"] <= 1
    again = build(PretrainRecipe, tiny | {"previous": str(tmp_path / "first/best.pt"), "clusters": 5})
    fit(PretrainTask(again, tmp_path, tmp_path / "cache"), again.loop, tmp_path / "second")
    teacher, units = load_pretrained(tmp_path / "second/best.pt")
    (last,) = teacher.features(torch.randn(1, 8_000))
    assert last.shape == (1, 24, 16)
    assert units(last).shape == (1, 24, 5)
    load(PretrainRecipe, Path("asr/distill/recipes/pretrain.toml").resolve())
