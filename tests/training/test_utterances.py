"""Features of recordings of any length: what is stored, mixed and batched."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes.fbank import fbank
from stapes.spec import FbankSpec
from training.audio import AudioError, read_audio
from training.utterances import (
    ManifestError,
    Noise,
    NoiseSpec,
    buckets,
    build_utterances,
    padded,
    read_manifest,
)

SPEC = FbankSpec(mels=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    rows = []
    for number, samples in enumerate((16_000, 4_000, 100, 24_321)):
        name = f"{number}.wav"
        soundfile.write(root / name, rng.uniform(-0.3, 0.3, samples), 16_000)
        rows.append({"audio": name, "split": "train", "text": f"text {number}"})
    (root / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_variant_zero_is_the_recording_itself(folder: Path, tmp_path: Path) -> None:
    recordings = read_manifest(folder)
    for _ in range(2):  # computed, then read from the cache
        store = build_utterances(recordings, SPEC, tmp_path, variants=2)
        assert len(store) == 4
        for number, each in enumerate(recordings):
            wanted = fbank(read_audio(each.audio, 16_000), SPEC).astype(np.float16)
            np.testing.assert_array_equal(store.get(number), wanted.astype(np.float32))
            assert store.lengths()[number] == len(wanted)
            assert store.lengths(1)[number] == len(store.get(number, 1))
    assert store.get(0, 1).shape != store.get(0).shape or not np.array_equal(store.get(0, 1), store.get(0))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest\.jsonl cannot be read"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"audio": "gone.wav"}\n')
    with pytest.raises(AudioError, match=r"gone\.wav"):
        build_utterances(read_manifest(tmp_path), SPEC, tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"sound": "gone.wav"}\n')
    with pytest.raises(ManifestError, match="line 1"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.jsonl").write_bytes(b'{"audio": "\xff"}\n')
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path)
    with pytest.raises(ManifestError, match="no recordings"):
        build_utterances([], SPEC, tmp_path)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5), st.booleans())
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], ascii_: bool
) -> None:
    """Line separators of Unicode among them, which JSON writes as they are."""
    folder = tmp_path_factory.mktemp("texts")
    texts = [text.encode("utf-8", "replace").decode() for text in [*texts, "a\u2028b\x85c"]]
    rows = [json.dumps({"audio": "a.wav", "text": text}, ensure_ascii=ascii_) for text in texts]
    (folder / "manifest.jsonl").write_text("\n\n".join(rows), encoding="utf-8")
    assert [each.fields["text"] for each in read_manifest(folder)] == texts


def test_noise_that_cannot_be_is_refused() -> None:
    for wrong in ({"chance": 1.5}, {"snr_db": (5.0, 0.0)}, {"gain_db": (1.0, 0.0)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            NoiseSpec(**wrong)  # type: ignore[arg-type]


def test_noise_comes_at_the_ratio_asked_for() -> None:
    rng = np.random.default_rng(1)
    speech = rng.normal(-4, 2, (300, 20)).astype(np.float32)
    noise = rng.normal(-8, 1, (50, 20)).astype(np.float16)
    spec = NoiseSpec(chance=1.0, snr_db=(10, 10), gain_db=(0, 0))
    mixed = Noise(noise, spec, 1e-7).add(speech, rng)
    added = np.exp(mixed) - np.exp(speech)
    assert 10 * np.log10(np.exp(speech).mean() / added.mean()) == pytest.approx(10, abs=0.5)
    quiet = NoiseSpec(chance=0.0, gain_db=(-6, -6))
    np.testing.assert_allclose(
        Noise(noise[:0], quiet, 1e-7).add(speech, rng), speech - 0.6 * np.log(10), atol=1e-4
    )


@settings(deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=60), st.integers(1, 4000), st.integers(0, 9))
def test_batches_hold_every_recording_once_and_keep_to_the_budget(
    lengths: list[int], budget: int, seed: int
) -> None:
    array = np.array(lengths)
    batches = buckets(array, budget, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or array[batch].max() * len(batch) <= budget


def test_padding() -> None:
    parts = [np.ones((3, 2), np.float32), np.ones((5, 2), np.float32)]
    frames, lengths = padded(parts, multiple=4, fill=-7)
    assert frames.shape == (2, 8, 2)
    assert lengths.tolist() == [3, 5]
    assert frames[0, 3:].unique().tolist() == [-7]
    assert frames[1, :5].unique().tolist() == [1]
