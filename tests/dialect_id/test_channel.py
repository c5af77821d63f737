"""The channel must not give the language away: how examples are changed, and what the bundled model makes of
clips that are band-limited or coded anew."""

from pathlib import Path

import numpy as np
import pytest

from dialect_id.channel import Channel, ChannelSpec, mel_centres
from stapes.fbank import fbank
from stapes.model import Model
from stapes.scoring import judge
from stapes.spec import FbankSpec
from tests.tools import needs
from training.audio import read_audio
from training.utterances import read_manifest
from training.variants import Codec, through_codec

FEATURES = FbankSpec(mels=80, high_hz=7600.0)
OFF = ChannelSpec(tilt_db=0.0, bend_db=0.0, band_chance=0.0)
RATE = 16_000
CLIPS = 105
KEPT = 0.8
"""Share of the clips told right that are told right still. Borderline answers flip by any change."""
BUNDLED = Path(__file__).resolve().parents[2] / "stapes/models/dialect_id.onnx"


def test_mel_centres_are_where_tones_are_loudest() -> None:
    centres = mel_centres(FEATURES)
    time = np.arange(RATE) / RATE
    for mel in (20, 50, 75):
        tone = (0.3 * np.sin(2 * np.pi * centres[mel] * time)).astype(np.float32)
        assert fbank(tone, FEATURES).mean(0).argmax() == mel


def test_responses_are_as_wide_as_they_say() -> None:
    rng = np.random.default_rng(0)
    tilted = Channel(ChannelSpec(tilt_db=6.0, bend_db=0.0, band_chance=0.0), FEATURES)
    responses = np.stack([tilted.response(rng) for _ in range(500)]) * 10 / np.log(10)
    assert np.abs(responses).max() == pytest.approx(6, rel=0.03)
    assert responses.mean(1) == pytest.approx(0, abs=1e-4)
    bent = Channel(ChannelSpec(tilt_db=0.0, bend_db=4.0, band_chance=0.0), FEATURES)
    responses = np.stack([bent.response(rng) for _ in range(500)]) * 10 / np.log(10)
    assert responses.std() == pytest.approx(4, rel=0.1)


def test_nothing_changes_where_nothing_is_asked() -> None:
    frames = np.random.default_rng(0).uniform(-15, 5, (30, 80)).astype(np.float32)
    assert np.array_equal(Channel(OFF, FEATURES).send(frames, np.random.default_rng(0)), frames)


def test_band_limit_is_like_a_real_one() -> None:
    hiss = (0.1 * np.random.default_rng(0).standard_normal(2 * RATE)).astype(np.float32)
    whole = fbank(hiss, FEATURES)
    real = fbank(through_codec(hiss, RATE, "narrow"), FEATURES)
    spec = ChannelSpec(tilt_db=0.0, bend_db=0.0, band_chance=1.0, low_chance=0.0)
    centres = mel_centres(FEATURES)
    inside, beyond = centres < 3400, centres > 4600  # in between a real filter falls slowly
    for seed in range(20):
        made = Channel(spec, FEATURES).send(whole, np.random.default_rng(seed))
        assert np.array_equal(made[:, inside], whole[:, inside])
        assert (made <= whole).all()
        level = np.log(np.exp(whole).mean())
        fall = (level - made[:, beyond].mean(0)) * 10 / np.log(10)
        assert fall.min() > 30
        assert fall.max() < 85
    fall = (np.log(np.exp(whole).mean()) - real[:, beyond].mean(0)) * 10 / np.log(10)
    assert 30 < fall.min() < 85  # and so does a real one
    telephone = Channel(ChannelSpec(band_chance=1.0, low_chance=1.0, low_hz=(300, 300)), FEATURES)
    made = telephone.send(whole, np.random.default_rng(0))
    assert (made[:, centres < 290].mean(0) < made[:, 40].mean() - 5).all()


@pytest.fixture(scope="module")
def right(shared_data: Path) -> tuple[Model, list[tuple[np.ndarray, str]]]:
    """The bundled model, and clips of the test part, with their languages, that it tells right."""
    if not BUNDLED.exists():
        pytest.skip("no dialect_id model is bundled yet")
    if not (shared_data / "languages/manifest.jsonl").exists():
        needs.missing("needs the set of languages")
    model = Model.load(BUNDLED)
    recordings = [each for each in read_manifest(shared_data / "languages") if each.split == "test"]
    chosen = recordings[:: len(recordings) // CLIPS][:CLIPS]
    clips = [(read_audio(each.audio, RATE), str(each.fields["language"])) for each in chosen]
    return model, [(clip, language) for clip, language in clips if _best(model, clip) == language]


@pytest.mark.parametrize("kind", ["narrow", "opus", "mp3", "mulaw"])
def test_a_clip_keeps_its_label(right: tuple[Model, list[tuple[np.ndarray, str]]], kind: Codec) -> None:
    model, clips = right
    assert len(clips) > 20
    kept = [_best(model, through_codec(clip, RATE, kind, 0.6)) == language for clip, language in clips]
    assert np.mean(kept) >= KEPT


def _best(model: Model, clip: np.ndarray) -> str:
    scores: dict[str, float] = judge(model, clip, RATE)["scores"]
    return max(scores, key=lambda label: scores[label])
