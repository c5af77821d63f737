"""Files are read as they are; a store gives every clip back, also after an interruption."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from training import audio
from training.audio import AudioError, ClipStore, build_store, read_audio, to_int16


def _noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def test_float_wav_is_read_to_the_bit(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", _noise(777), 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", 16_000), _noise(777))


def test_channels_are_averaged(tmp_path: Path) -> None:
    stereo = np.stack([_noise(50), _noise(50, 1)], 1)
    soundfile.write(tmp_path / "a.wav", stereo, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", 16_000), stereo.mean(1), atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled_as_soxr_does(tmp_path: Path, rate: int) -> None:
    time = np.arange(rate) / rate
    tones = sum(0.2 * np.sin(2 * np.pi * hz * time) for hz in (150, 900, 3000)).astype(np.float32)
    soundfile.write(tmp_path / "a.flac", tones, rate)
    got = read_audio(tmp_path / "a.flac", 16_000)
    want = soxr.resample(tones, rate, 16_000, "VHQ")
    assert len(got) == 16_000
    assert np.abs(got - want)[400:-400].max() < 2e-3
    assert got.dtype == np.float32


def test_text_named_wav_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"a\.wav cannot be read"):
        read_audio(tmp_path / "a.wav", 16_000)
    with pytest.raises(AudioError, match=r"b\.wav cannot be read"):
        read_audio(tmp_path / "b.wav", 16_000)


def test_int16_is_rounded_and_clipped() -> None:
    got = to_int16(np.array([0, 1, -1, 2, 0.6 / 32768, -0.6 / 32768], np.float32))
    assert got.tolist() == [0, 32767, -32768, 32767, 1, -1]


@pytest.fixture
def clips(tmp_path: Path) -> list[tuple[str, Path]]:
    found = []
    for number, length in enumerate([100, 0, 321, 50, 7]):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, _noise(length, number), 16_000, subtype="PCM_16")
        found.append((f"clip/{number}", path))
    return found


def test_store_gives_every_clip_back(
    clips: list[tuple[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "PART", 2)
    store = build_store(clips, tmp_path / "store.npy", 16_000, progress=False)
    assert list(store.numbers) == [key for key, _ in clips]
    for number, (key, path) in enumerate(clips):
        np.testing.assert_array_equal(store[key], read_audio(path, 16_000))
        np.testing.assert_array_equal(store[number], store[key])
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".wav") == ["store.json", "store.npy"]
    block = store.block([0, 4, 2], 101)
    assert block[0].tolist() == [*to_int16(store[0]), 0]
    assert block[1].tolist() == [0] * 47 + list(to_int16(store[4])) + [0] * 47
    assert block[2].tolist() == list(to_int16(store[2])[110:211])


def test_interrupted_build_goes_on(
    clips: list[tuple[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "PART", 2)
    path, good = clips[4][1], clips[4][1].read_bytes()
    path.write_text("broken")
    with pytest.raises(AudioError, match=r"4\.wav"):
        build_store(clips, tmp_path / "store.npy", 16_000, processes=1, progress=False)
    assert not (tmp_path / "store.npy").exists()
    path.write_bytes(good)
    clips[0][1].unlink()  # its part is written already: it is not read again
    store = build_store(clips, tmp_path / "store.npy", 16_000, processes=1, progress=False)
    assert len(store["clip/0"]) == 100
    assert len(store["clip/4"]) == 7


def test_finished_store_is_kept_and_another_list_rebuilds_it(
    clips: list[tuple[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []
    write = audio._write_part
    monkeypatch.setattr(audio, "ProcessPoolExecutor", _InProcess)
    monkeypatch.setattr(audio, "_write_part", lambda job: (calls.append(job[0]), write(job))[1])
    build_store(clips, tmp_path / "s.npy", 16_000, progress=False)
    build_store(clips, tmp_path / "s.npy", 16_000, progress=False)
    assert len(calls) == 1
    store = build_store(clips[2:], tmp_path / "s.npy", 16_000, progress=False)
    assert len(calls) == 2
    assert len(store) == 3


class _InProcess:
    """A pool of no processes, to count what they would be given."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> "_InProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, function: object, jobs: list[object]) -> list[object]:
        return [function(job) for job in jobs]  # type: ignore[operator]


def test_bad_stores_are_told(clips: list[tuple[str, Path]], tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="1 keys of s"):
        build_store([*clips, clips[0]], tmp_path / "s.npy", 16_000)
    with pytest.raises(AudioError, match="no clips"):
        build_store([], tmp_path / "s.npy", 16_000)
    with pytest.raises(AudioError, match=r"s\.npy"):
        ClipStore.open(tmp_path / "s.npy")
    build_store(clips[:1], tmp_path / "s.npy", 16_000, processes=1, progress=False)
    index = json.loads((tmp_path / "s.json").read_text())
    index["lengths"] = [99]
    (tmp_path / "s.json").write_text(json.dumps(index))
    with pytest.raises(AudioError, match="100 samples, its index 99"):
        ClipStore.open(tmp_path / "s.npy")
