"""Sounds of all kinds become clips of noise."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kws import cut_noise
from kws.clips import DataError, read_folder
from kws.noise import noise_of
from training.audio import read_audio
from training.takes import take_source

RATE = cut_noise.RATE


def _noise(*arguments: str | Path) -> str:
    parser = argparse.ArgumentParser()
    cut_noise.add_arguments(parser)
    return cut_noise.run(parser.parse_args([str(each) for each in arguments]))


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder of a game: a ramp of 45 s that says where a piece is from, a short sound, and more."""
    folder = tmp_path / "game-data"
    (folder / "voices").mkdir(parents=True)
    ramp = np.linspace(-0.9, 0.9, 45 * RATE)
    soundfile.write(folder / "music.flac", ramp, RATE)
    rng = np.random.default_rng(0)
    soundfile.write(folder / "splash.wav", rng.normal(0, 0.1, (22_050, 2)), 44_100)
    soundfile.write(folder / "voices" / "hello.wav", rng.normal(0, 0.1, RATE), RATE)
    soundfile.write(folder / "silence.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "click.wav", np.ones(100) / 2, RATE)
    (folder / "notes.ogg").write_text("no sound")
    return folder


def test_pieces_are_spread_over_a_file_and_speech_is_left_out(sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "noise_found"
    assert "4 clips" in _noise(out, sounds, "--most", "3")
    clips = noise_of(out)
    assert sorted(clip.audio.name for clip in clips) == [
        "game-data-music.flac-A.flac", "game-data-music.flac-B.flac", "game-data-music.flac-C.flac",
        "game-data-splash.wav-A.flac",
    ]  # fmt: skip
    starts = [read_audio(clip.audio, RATE)[0] for clip in sorted(clips, key=lambda clip: clip.audio.name)[:3]]
    ramp = np.linspace(-0.9, 0.9, 45 * RATE)
    np.testing.assert_allclose(starts, ramp[[0, round(17.5 * RATE), 35 * RATE]], atol=1e-3)
    assert [clip.duration for clip in clips if "splash" in clip.audio.name] == [0.5]
    # One file's clips are of one recording, so that none is trained on while another judges.
    assert {take_source(clip.audio) for clip in clips} == {"game-data-music.flac", "game-data-splash.wav"}
    assert {clip.label for clip in read_folder(out)} == {"noise"}


def test_files_of_like_names_stay_apart(tmp_path: Path) -> None:
    folder = tmp_path / "game"
    deep = folder / "/".join(["a" * 60] * 4)
    deep.mkdir(parents=True)
    for file, seconds in ((folder / "hit.wav", 1), (folder / "hit.flac", 2), (deep / "x.wav", 15)):
        soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, seconds * RATE), RATE)
    out = tmp_path / "out"
    assert "3 clips" in _noise(out, folder)  # 15 s are one clip: two would share five seconds
    assert len({clip.audio.name for clip in noise_of(out)}) == 3
    assert sorted(clip.duration for clip in noise_of(out)) == [1.0, 2.0, 10.0]
    with pytest.raises(DataError, match="two files would be called"):
        _noise(tmp_path / "new", folder, folder)


def test_what_cannot_be_done_is_told(sounds: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not empty"):
        _noise(sounds, sounds)
    with pytest.raises(DataError, match="there is no folder"):
        _noise(tmp_path / "out", sounds, tmp_path / "typo")
    with pytest.raises(DataError, match="no sounds"):
        _noise(tmp_path / "out", sounds / "voices", "--without", "hello")
