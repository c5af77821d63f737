"""Which noise is kept, and how speech is put into it, against powers computed here."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.clips import Clip, DataError
from kws.conditions import NOISE, NOISY, SPEECH, bed, in_conditions, mixed
from kws.noise import held_noise, is_reserved_noise, noise_of, training_noise
from stapes.samples import Samples
from training.takes import take_source

RATE = 16_000


def folder_of(path: Path, rows: list[tuple[str, str, str]]) -> None:
    path.mkdir(parents=True)
    lines = [json.dumps({"audio": audio, "label": label, "split": split}) for audio, label, split in rows]
    (path / "manifest.jsonl").write_text("\n".join(lines))


def names(clips: list[Clip]) -> set[str]:
    return {clip.audio.name for clip in clips}


def test_takes_of_one_recording_are_one_source() -> None:
    clips = [
        Clip(Path(name), "rain", "train", "") for name in ("a/1-17-A.wav", "b/1-17-B.flac", "1-18-A.wav")
    ]
    assert [take_source(clip.audio) for clip in clips] == ["1-17", "1-17", "1-18"]
    assert is_reserved_noise(clips[0]) == is_reserved_noise(clips[1])


def test_what_is_trained_on_and_what_is_held_share_no_recording(tmp_path: Path) -> None:
    takes = [(f"1-{n}-{take}.wav", "rain", "train") for n in range(30) for take in "AB"]
    folder_of(tmp_path / "noise", [*takes, ("1-3-C.wav", "rain", "test"), ("1-99-A.wav", "rain", "test")])
    words = [("yes/a.wav", "yes", "train"), *((f"{n}.wav", "_background_noise_", "noise") for n in "abcdef")]
    folder_of(tmp_path / "words", words)
    folders = ["words", "noise"]
    assert names(noise_of(tmp_path / "words")) == {f"{n}.wav" for n in "abcdef"}

    trained = {"main": "words", "noise": ("noise",), "reserve_noise": True}
    train = training_noise(tmp_path, folders, reserve=True)
    held = held_noise(tmp_path, folders, "train", trained)
    test = held_noise(tmp_path, folders, "test", trained)
    assert names(test) == {"1-3-C.wav", "1-99-A.wav"}  # training keeps clear of takes of recording 1-3
    parts = [{take_source(clip.audio) for clip in part} for part in (train, test)]
    assert not parts[0] & (parts[1] | {take_source(clip.audio) for clip in held})
    assert 10 < len(train) < 50
    assert 10 < len(held) < 50
    assert all(is_reserved_noise(clip) or take_source(clip.audio) == "1-3" for clip in held)

    # A model from before: it heard all of training's noise, so of recording 1-3 too.
    before = {"main": "words", "noise": ("noise",)}
    assert len(training_noise(tmp_path, folders, reserve=False)) == 66
    assert held_noise(tmp_path, folders, "train", before) == []
    assert names(held_noise(tmp_path, folders, "test", before)) == {"1-99-A.wav"}


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 4000), st.floats(-5, 40), st.floats(1e-3, 1), st.floats(1e-3, 1))
def test_ratio_is_that_of_the_powers(length: int, snr_db: float, loud: float, noisy: float) -> None:
    rng = np.random.default_rng(length)
    speech = (loud * rng.standard_normal(length)).astype(np.float32)
    noise = (noisy * rng.standard_normal(length)).astype(np.float32)
    both = mixed(speech, noise, snr_db).astype(np.float64)
    assert np.abs(both).max() <= 1.00001
    wanted = speech + noise * np.sqrt(np.sum(speech**2.0) / np.sum(noise**2.0) / 10 ** (snr_db / 10))
    np.testing.assert_allclose(both, wanted / max(1, np.abs(wanted).max()), atol=1e-4)


def written(folder: Path, **sounds: Samples) -> dict[str, Path]:
    for name, samples in sounds.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="FLOAT")
    return {name: folder / f"{name}.wav" for name in sounds}


def test_noise_is_filled_up_with_what_can_be_heard(tmp_path: Path) -> None:
    files = written(
        tmp_path,
        ones=np.full(500, 0.5, np.float32),
        zeros=np.zeros(900, np.float32),
        none=np.zeros(0, np.float32),
    )
    made = bed(list(files.values()), RATE, 1234, np.random.default_rng(0))
    np.testing.assert_array_equal(made, np.full(1234, 0.5, np.float32))
    with pytest.raises(DataError, match=r"zeros.*cannot be heard"):
        bed([files["zeros"], files["none"]], RATE, 10, np.random.default_rng(0))


def test_each_recording_is_heard_clean_and_noisy(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sounds = [(0.05 * rng.standard_normal(n)).astype(np.float32) for n in (4000, 9000, 3000)]
    files = written(tmp_path, one=sounds[0], two=sounds[1], hiss=sounds[2])
    speech = [(Clip(files[name], "", "test", ""), frozenset({"no"})) for name in ("one", "two")]
    made = in_conditions(speech, [Clip(files["hiss"], "", "test", "")])
    assert [sound.condition for sound in made] == [SPEECH, SPEECH, NOISY, NOISY, NOISE]
    assert [sound.said for sound in made] == [frozenset({"no"})] * 4 + [frozenset()]
    for clean, noisy in zip(made[:2], made[2:4], strict=True):
        before, after = clean.read(RATE), noisy.read(RATE)
        np.testing.assert_array_equal(after, noisy.read(RATE))  # the same at every call
        ratio = 10 * np.log10(np.sum(before**2.0) / np.sum((after - before) ** 2.0))
        assert 5 <= ratio <= 20
    assert [sound.condition for sound in in_conditions(speech, [])] == [SPEECH, SPEECH]
