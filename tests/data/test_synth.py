"""Synthetic speech: trimming, placing, dealing, manifest against brute force; espeak-ng where installed."""

import importlib.util
import json
import math
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kws import synth
from kws.clips import KEYWORDS, read_folder
from kws.listener import Listener
from tests.tools import needs
from training.voices import ENGINES, HELD_OUT, EngineError, Samples, Utterance, engine

RATE = synth.SAMPLE_RATE
FRAME = RATE // 100

needs_files = pytest.mark.skipif(
    importlib.util.find_spec("soundfile") is None, reason="soundfile is not installed"
)
needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="the program espeak-ng is not installed"
)


def _burst(before: int, speech: int, after: int, level: float = 0.3, floor: float = 0.0) -> Samples:
    """Noise of `speech` frames between two stretches of `floor`."""
    rng = np.random.default_rng(before + 7 * speech + 31 * after)
    shape = np.concatenate([np.full(before, floor), np.full(speech, level), np.full(after, floor)])
    return (np.repeat(shape, FRAME) * rng.standard_normal(shape.size * FRAME)).astype(np.float32)


def _slow_bounds(samples: Samples) -> tuple[int, int]:
    """First and last frame within 40 dB of the loudest, one frame at a time."""
    starts = range(0, len(samples) - FRAME + 1, FRAME)
    rms = [math.sqrt(sum(float(v) ** 2 for v in samples[k : k + FRAME]) / FRAME) for k in starts]
    loud = [k for k, value in enumerate(rms) if value >= max(rms) / 100]
    return loud[0], loud[-1]


@settings(deadline=None, max_examples=25)
@given(
    before=st.integers(0, 40),
    speech=st.integers(15, 100),
    after=st.integers(1, 40),
    floor=st.sampled_from([0.0, 1e-4, 1e-3]),
    level=st.floats(0.2, 0.5),
)
def test_trim_keeps_the_speech_and_20_ms_on_either_side(
    before: int, speech: int, after: int, floor: float, level: float
) -> None:
    samples = _burst(before, speech, after, level, floor)
    first, last = _slow_bounds(samples)
    begin, end = max(first * FRAME - 2 * FRAME, 0), min((last + 1) * FRAME + 2 * FRAME, samples.size)
    assert (first, last) == (before, before + speech - 1)
    np.testing.assert_array_equal(synth.trim(samples, RATE), samples[begin:end])


def test_trim_resamples() -> None:
    seconds = np.arange(24_000) / 24_000
    tone = np.where((seconds > 0.3) & (seconds < 0.7), 0.5 * np.sin(2 * np.pi * 440 * seconds), 0).astype(
        np.float32
    )
    speech = synth.trim(tone, 24_000)
    assert abs(speech.size / RATE - 0.44) <= 0.021
    spectrum = np.abs(np.fft.rfft(speech))
    assert abs(np.fft.rfftfreq(speech.size, 1 / RATE)[spectrum.argmax()] - 440) < 3


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (np.zeros(RATE, np.float32), "silent"),
        (np.zeros(0, np.float32), "silent"),
        (np.full(RATE, 1e-5, np.float32), "silent"),
        (np.full((RATE, 2), 0.1, np.float32), "mono"),
        (np.array([0.1, np.nan] * 8000, np.float32), "finite"),
        (np.array([0.1, np.inf] * 8000, np.float32), "finite"),
        (_burst(20, 14, 20), "0.14 s"),
        (_burst(20, 101, 20), "1.01 s"),
        (_burst(20, 40, 0), "cut off"),
    ],
)
def test_trim_refuses(samples: Samples, why: str) -> None:
    with pytest.raises(synth.RejectedClipError, match=why):
        synth.trim(samples, RATE)


@settings(deadline=None, max_examples=40)
@given(size=st.integers(RATE // 10, RATE + 4 * FRAME), seed=st.integers(0, 2**32 - 1))
def test_place_is_one_second_of_faded_speech_in_silence(size: int, seed: int) -> None:
    speech = (0.1 + np.random.default_rng(seed).random(size) * 0.2).astype(np.float32)  # never zero
    original = speech.copy()
    clip = synth.place(speech, np.random.default_rng(seed))
    np.testing.assert_array_equal(speech, original)  # the caller's samples are left alone
    assert clip.shape == (RATE,)
    assert clip.dtype == np.float32
    spoken = np.flatnonzero(clip)
    kept = min(size, RATE)
    assert spoken.size == kept == spoken[-1] - spoken[0] + 1
    gains = clip[spoken] / original[:kept]
    expected = [min(k + 1, kept - k, 81) / 81 for k in range(kept)]
    np.testing.assert_allclose(gains / gains[kept // 2], expected, rtol=1e-4)
    level_db = 20 * math.log10(math.sqrt(float(np.mean(clip[spoken].astype(np.float64) ** 2))))
    assert -36.001 <= level_db <= -13.999
    assert np.abs(clip).max() <= 0.9701


def test_place_never_clips_and_goes_everywhere() -> None:
    click = np.full(RATE // 4, 1e-3, np.float32)
    click[2000] = 1.0
    clips = [synth.place(click, np.random.default_rng(k)) for k in range(200)]
    assert max(np.abs(clip).max() for clip in clips) <= 0.9701
    offsets = [int(np.flatnonzero(clip)[0]) for clip in clips]
    assert min(offsets) < 1500
    assert max(offsets) > RATE - RATE // 4 - 1500


@given(
    clips=st.integers(1, 60),
    engines=st.lists(st.sampled_from(ENGINES), min_size=1, max_size=4, unique=True),
)
def test_dealing_follows_the_shares_in_every_prefix(clips: int, engines: list[str]) -> None:
    dealt = list(synth.tasks(["on", "off"], clips, engines, seed=3))
    assert len(dealt) == 2 * clips
    assert [(task.word, task.number) for task in dealt] == [
        (w, n) for n in range(clips) for w in ("on", "off")
    ]
    shares = {"kokoro": 6, "espeak": 3, "piper": 1, "rhvoice": 4, "flite": 3, "pico": 2}
    total = sum(shares[name] for name in engines)
    for size in range(1, clips + 1):
        counts = Counter(task.engine for task in dealt[: 2 * size])
        for name in engines:
            assert abs(counts[name] / 2 - size * shares[name] / total) <= len(engines)
    longer = list(synth.tasks(["on", "off"], clips + 5, engines, seed=3))
    assert longer[: len(dealt)] == dealt  # asking for more adds, and moves nothing


class _Fake:
    """A synthesiser of noise whose utterances can be spoilt."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []
        self.bad_until_haste = 0.0

    def __call__(self, word: str, rng: np.random.Generator, haste: float) -> Utterance:
        self.calls.append((word, haste))
        frames = 30 if haste >= self.bad_until_haste else 130
        noise = rng.standard_normal((frames + 40) * FRAME).astype(np.float32) * 0.1
        noise[: 20 * FRAME] = 0
        noise[-20 * FRAME :] = 0
        return Utterance(noise, RATE, f"v{rng.integers(3)}")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> _Fake:
    speak = _Fake()
    monkeypatch.setattr(synth, "engine", lambda _name, _voices: speak)
    return speak


def _lines(out: Path) -> list[dict[str, str | float]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


@needs_files
@pytest.mark.usefixtures("fake")
def test_run_writes_clips_and_a_manifest_that_training_reads(tmp_path: Path) -> None:
    import soundfile

    assert synth.main([str(tmp_path), "--words", "on,off", "--clips", "6", "--engines", "kokoro,flite"]) == 0
    rows = _lines(tmp_path)
    assert len(rows) == len({row["audio"] for row in rows}) == 12
    assert set(rows[0]) == {"audio", "label", "split", "speaker", "engine", "duration"}
    for row in rows:
        samples, rate = soundfile.read(tmp_path / str(row["audio"]), dtype="float32")
        assert (samples.shape, rate) == ((RATE,), RATE)
        assert str(row["audio"]).startswith(f"{row['engine']}/{row['label']}/")
        assert str(row["speaker"]).startswith(f"{row['engine']}/v")
        assert row["duration"] == 1.0
        assert row["split"] == ("heldout" if row["engine"] in HELD_OUT else "train")
    assert {row["engine"] for row in rows} == {"kokoro", "flite"}
    assert Counter(clip.label for clip in read_folder(tmp_path)) == {"on": 6, "off": 6}


@needs_files
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(fake: _Fake, tmp_path: Path) -> None:
    def run(out: Path, clips: int) -> None:
        assert synth.main([str(out), "--words", "on,go", "--clips", str(clips), "--engines", "espeak"]) == 0

    run(tmp_path / "whole", 5)
    run(tmp_path / "parts", 3)
    calls = len(fake.calls)
    manifest = tmp_path / "parts" / "manifest.jsonl"
    lines = manifest.read_text().splitlines()
    gone = json.loads(lines[1])["audio"]
    (tmp_path / "parts" / gone).unlink()
    manifest.write_text("\n".join(lines) + '\n{"audio": "espeak/on/0_00')  # as a power cut leaves it
    run(tmp_path / "parts", 5)
    assert len(fake.calls) - calls == 5  # four new ones and the one that was gone
    whole, parts = _lines(tmp_path / "whole"), _lines(tmp_path / "parts")
    by_audio = lambda row: str(row["audio"])  # noqa: E731
    assert sorted(whole, key=by_audio) == sorted(parts, key=by_audio)
    for row in whole:
        name = str(row["audio"])
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@needs_files
def test_two_runs_at_once_lose_no_line(fake: _Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [str(tmp_path), "--clips", "3", "--engines", "espeak", "--words"]
    assert synth.main([*command, "stop"]) == 0
    (tmp_path / "espeak" / "stop" / "0_0001.flac").unlink()  # so that the inner run mends the manifest
    make = synth.make
    made: list[bool] = []

    def make_and_run_another(*arguments: Any) -> dict[str, str | float] | str:
        if not made:
            made.append(True)
            assert synth.main([*command, "go"]) == 0
        return make(*arguments)

    monkeypatch.setattr(synth, "make", make_and_run_another)
    todo = list(synth.tasks(["yes"], 3, ["espeak"], 0))
    synth.synthesise(tmp_path, todo, None)
    assert Counter(str(row["label"]) for row in _lines(tmp_path)) == {"stop": 2, "go": 3, "yes": 3}
    assert len(fake.calls) == 9


@needs_files
def test_a_bad_utterance_is_said_again_faster_and_dropped_in_the_end(fake: _Fake, tmp_path: Path) -> None:
    fake.bad_until_haste = 1.2
    arguments = [str(tmp_path), "--words", "stop", "--clips", "1", "--engines", "espeak"]
    assert synth.main(arguments) == 0
    assert [round(haste, 4) for _, haste in fake.calls] == [1.0, 1.12, 1.2544]
    fake.bad_until_haste = 99
    assert synth.main([*arguments, "--seed", "1"]) == 1
    assert len(fake.calls) == 3 + 5
    assert len(_lines(tmp_path)) == 1


@needs_files
def test_what_the_listener_does_not_hear_is_refused(
    fake: _Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ears:
        def __init__(self) -> None:
            self.answers = [False, False, True]

        def agrees(self, clip: Samples, word: str) -> bool:
            assert (clip.shape, word) == ((RATE,), "stop")
            return self.answers.pop(0)

    ears = Ears()
    monkeypatch.setattr(synth, "_listener", lambda _voices: ears)
    made = synth.make(synth.Task("espeak", "stop", 0, 0), tmp_path, None, listen=True)
    assert isinstance(made, dict)
    assert len(fake.calls) == 3


@pytest.mark.parametrize(
    ("heard", "word", "agrees"),
    [
        ("on", "on", True),
        ("go on", "on", False),
        ("", "on", False),
        ("no", "on", False),
        ("own", "own", True),
        ("", "own", True),
        ("[unk]", "own", True),
        ("on", "own", False),
        ("own on", "own", False),
    ],
)
def test_the_listener_agrees(heard: str, word: str, agrees: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = object.__new__(Listener)
    monkeypatch.setattr(Listener, "hear", lambda *_: heard)
    assert listener.agrees(np.zeros(RATE, np.float32), word) is agrees


@pytest.mark.parametrize(
    "arguments", [["--words", "on;rm"], ["--words", "On"], ["--engines", "hal"], ["--clips", "0"]]
)
def test_bad_arguments_are_named(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        synth.main([str(tmp_path), *arguments])
    assert arguments[0] in capsys.readouterr().err


def test_missing_voices_say_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        synth.main([str(tmp_path), "--engines", "kokoro"])
    assert "--setup" in capsys.readouterr().err
    for name in ("kokoro", "piper"):
        with pytest.raises(EngineError, match=f"--setup {tmp_path}"):
            engine(name, tmp_path)
    with pytest.raises(EngineError, match="no engine 'hal'"):
        engine("hal", None)


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    engine.cache_clear()
    with pytest.raises(EngineError, match="pico2wave: Debian package libttspico-utils"):
        engine("pico", None)


def test_other_words() -> None:
    assert len(synth.OTHERS) == len(set(synth.OTHERS)) >= 150
    assert not set(synth.OTHERS) & set(KEYWORDS)
    assert all(word.isalpha() and word.islower() for word in synth.OTHERS)


@needs_espeak
@pytest.mark.parametrize("dialect", ["en-us", "en-gb", "en-gb-x-rp", "en-029"])
def test_no_other_word_sounds_like_a_keyword(dialect: str) -> None:
    def phonemes(words: tuple[str, ...]) -> list[str]:
        command = ["espeak-ng", "-q", "--ipa", "-v", dialect]
        said = subprocess.run(
            command, input="\n\n".join(f"{w}." for w in words), text=True, capture_output=True, check=True
        )
        lines = [line.strip() for line in said.stdout.splitlines() if line.strip()]
        assert len(lines) == len(words)
        return lines

    keywords = phonemes(KEYWORDS)
    same = [
        word for word, sound in zip(synth.OTHERS, phonemes(synth.OTHERS), strict=True) if sound in keywords
    ]
    assert same == []


@needs_espeak
@needs_files
def test_espeak_speaks(tmp_path: Path) -> None:
    needs.package("soxr", "resampling what espeak-ng says")
    engine.cache_clear()
    assert (
        synth.main([str(tmp_path), "--words", "on,off,yesterday", "--clips", "4", "--engines", "espeak"]) == 0
    )
    import soundfile

    rows = _lines(tmp_path)
    assert len(rows) == 12
    assert len({row["speaker"] for row in rows}) > 4
    lengths: dict[str, list[float]] = {}
    for row in rows:
        samples, _ = soundfile.read(tmp_path / str(row["audio"]), dtype="float32")
        spoken = np.flatnonzero(samples)
        lengths.setdefault(str(row["label"]), []).append((spoken[-1] - spoken[0]) / RATE)
    assert np.median(lengths["yesterday"]) > np.median(lengths["on"])
