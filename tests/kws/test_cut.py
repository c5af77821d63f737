"""Keywords cut out of running speech: where they are cut, what is around them, whose they are."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from kws import cut
from kws.__main__ import main
from kws.clips import KEYWORDS, Clip, gather
from kws.cutting import alone, extent, room_tone, second_around
from kws.features import is_reserved
from stapes.events import Word
from stapes.model import Model
from stapes.scoring import judge
from tests.kws.test_calibrate import folder_of, model_file
from tests.tools import tiny_asr
from tests.tools.signals import high, low, quiet
from training.alignment import Aligner
from training.audio import read_audio

RATE = 16_000


def word(start: float, end: float) -> Word:
    return Word(text="w", start=start, end=end, confidence=1.0)


def hiss(seconds: float, level: float, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 60), st.integers(-30, 90))
def test_a_second_around_is_a_second(size: int, middle: int) -> None:
    samples = np.arange(1, size + 1, dtype=np.float32)
    wanted = [float(at + 1) if 0 <= at < size else 0.0 for at in range(middle - 10, middle + 10)]
    np.testing.assert_array_equal(second_around(samples, middle, 20), wanted)


def test_a_word_reaches_half_the_way_to_its_neighbours_less_silence() -> None:
    spoken = hiss(3.0, 0.1)
    words = [word(0.5, 0.6), word(1.0, 1.1), word(1.4, 1.5)]
    assert extent(spoken, RATE, words, 1) == (round(0.8 * RATE), round(1.25 * RATE))
    # The first and the last have a recording's length of room, and take no more than 0.4 s of it.
    assert extent(spoken, RATE, words, 0) == (round(0.1 * RATE), round(0.8 * RATE))
    assert extent(spoken, RATE, words, 2) == (round(1.25 * RATE), round(1.9 * RATE))
    # Silence, 40 dB down, from 1.15 s on: levels are those of 25 ms.
    spoken[round(1.15 * RATE) :] *= 0.01
    start, end = extent(spoken, RATE, words, 1)
    assert start == round(0.8 * RATE)
    assert 1.15 <= end / RATE <= 1.165


def test_a_word_without_room_is_empty() -> None:
    """Its neighbours are heard when it is, or a recording ends before it."""
    for samples, words in (
        (hiss(1.0, 0.1), [word(0.5, 0.5), word(0.5, 0.5), word(0.502, 0.502)]),
        (hiss(0.2, 0.1), [word(0.1, 0.15), word(0.3, 0.35), word(0.4, 0.45)]),
    ):
        start, end = extent(samples, RATE, words, 1)
        assert end - start <= 0.005 * RATE


def test_room_tone_is_as_loud_and_dull_as_the_quietest_of_a_recording() -> None:
    rng = np.random.default_rng(1)
    still = hiss(1.0, 0.003)
    tone = room_tone(np.concatenate((hiss(2.0, 0.2), still)), RATE, rng)
    # Of many pieces the faintest are taken: a little less than their mean.
    assert 0.8 < float(np.std(tone) / np.std(still)) < 1.05
    hum = quiet(0.5) + (0.01 * np.sin(2 * np.pi * 500 * np.arange(RATE // 2) / RATE)).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(room_tone(hum, RATE, rng))) ** 2
    assert spectrum[400:600].sum() > 0.95 * spectrum.sum()
    assert not room_tone(np.zeros(100, np.float32), RATE, rng).any()


def test_a_word_alone_is_untouched_and_its_neighbours_are_gone() -> None:
    spoken = np.concatenate((np.zeros(RATE, np.float32), hiss(2.0, 0.2)))
    start, end = round(1.6 * RATE), round(2.0 * RATE)
    second = alone(spoken, start, end, RATE, np.random.default_rng(0))
    at = (start + end) // 2 - RATE // 2
    np.testing.assert_array_equal(second[start - at : end - at], spoken[start:end])
    fade = round(0.03 * RATE)
    assert not second[: start - at - fade].any()
    assert not second[end - at + fade :].any()
    assert np.abs(second[end - at : end - at + fade]).max() < np.abs(spoken).max()


def test_clips_come_from_all_speakers_in_turn() -> None:
    def found(name: str, speaker: str, sure: float) -> cut.Found:
        return cut.Found(Clip(Path("a"), "", "train", speaker), name, 0, 1, sure)

    some = [found("on", "x", 0.9), found("on", "x", 0.8), found("on", "y", 0.5), found("off", "x", 0.4)]
    kept = Counter((each.word, each.clip.speaker, each.confidence) for each in cut.spread(some, 2))
    assert kept == Counter([("on", "x", 0.9), ("on", "y", 0.5), ("off", "x", 0.4)])
    assert len(cut.spread(some, 9)) == 4


def test_words_become_a_folder_that_training_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = np.concatenate((quiet(0.6), low(0.5), quiet(0.2), high(0.4), quiet(0.2), low(0.5), quiet(0.6)))
    texts = ["Low, high: low!", "low 8 low", "low lów", "low york low", "york"] * 6
    rows: list[dict[str, object]] = [
        {"split": "dev" if i % 7 == 0 else "train", "speaker": f"s{i}", "text": text}
        for i, text in enumerate(texts)
    ]
    folder_of(tmp_path / "talk", rows, [talk for _ in rows])
    folder_of(tmp_path / "words", [{"split": "train", "label": "high", "speaker": "x"}], [high(0.8)])
    model, out = tiny_asr.write(tmp_path, tiny_asr.spec()), tmp_path / "cut"
    command = ["cut", str(model), str(out), "--data", str(tmp_path), "--sets", "talk", "--words", "high,york"]
    assert main(command) == 0
    told = capsys.readouterr().out
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    mine = [i for i in range(30) if i % 7 and not is_reserved(Clip(Path("a"), "", "train", f"s{i}"))]
    # Neither the parts of others, nor calibration's speakers, nor texts that the sound does not follow.
    assert {row["from"] for row in lines} == {f"{i}.wav" for i in mine if i % 5 == 0}
    assert f"high: {len(lines)} clips of {len(lines)} speakers" in told
    assert "not sure enough" in told
    for row in lines:
        assert (row["label"], row["split"], row["duration"]) == ("high", "train", 1.0)
        assert row["start"] == pytest.approx(1.3, abs=0.12)
        assert row["spoken"] == pytest.approx(0.4, abs=0.12)
        assert row["confidence"] >= 0.3
        samples, rate = soundfile.read(out / row["audio"])
        assert (len(samples), rate) == (RATE, RATE)
        # The word in the middle, nothing of its neighbours.
        assert np.abs(samples[RATE // 2 - 800 : RATE // 2 + 800]).max() > 0.1
        assert np.abs(samples[: RATE // 8]).max() < 0.01
    assert len(gather(tmp_path / "words", [out])) == 1 + len(lines)
    # The same again gives the same, and with neighbours these are heard; what two sets hold is cut once.
    again, both = tmp_path / "again", tmp_path / "both"
    (tmp_path / "twin").symlink_to(tmp_path / "talk")
    assert main([*command[:2], str(again), *command[3:], "--sets", "talk", "twin"]) == 0
    assert (again / "manifest.jsonl").read_text() == (out / "manifest.jsonl").read_text()
    assert main([*command[:2], str(both), *command[3:], "--neighbours"]) == 0
    for row in lines:
        assert (again / row["audio"]).read_bytes() == (out / row["audio"]).read_bytes()
        assert np.abs(soundfile.read(both / row["audio"])[0][: RATE // 8]).max() > 0.01
    monkeypatch.setattr(cut, "LONGEST_SECONDS", 0.2)
    assert main([*command[:2], str(tmp_path / "none"), *command[3:]]) == 0
    assert "too short or too long" in capsys.readouterr().out
    assert (tmp_path / "none/manifest.jsonl").read_text() == ""


def test_what_cannot_be_cut_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(tmp_path / "talk", [{"split": "train", "text": "on"}], [low(0.5)])
    model, filled = tiny_asr.write(tmp_path, tiny_asr.spec()), tmp_path / "talk"
    data = ["--data", str(tmp_path), "--sets", "talk"]
    for arguments, why in (
        ([str(model), str(filled)], "talk is not empty"),
        ([str(model), str(tmp_path / "new"), "--words", "know,on"], "'know' sounds like 'no'"),
        ([str(model_file(tmp_path)), str(tmp_path / "new")], "not 'asr'"),
        ([str(model), str(tmp_path / "new"), "--sets", "gone"], "gone holds no manifest"),
    ):
        assert main(["cut", *arguments[:2], *data, *arguments[2:]]) == 1
        assert why in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    with pytest.raises(SystemExit):
        main(["cut", str(model), str(tmp_path / "new"), "--words", "on, off"])


def test_joined_words_are_found_where_they_were_put(shared_data: Path) -> None:
    folder = shared_data / "speech_commands"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["split"] == "test" and row["label"] in KEYWORDS]
    aligner, apart = Aligner(Model.load("asr")), list[float]()
    picks = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:60]]
    for some in (picks[at : at + 6] for at in range(0, len(picks), 6)):
        clips = [read_audio(folder / row["audio"], RATE) for row in some]
        places = list(pairwise(np.cumsum([0, *map(len, clips)]).tolist()))
        joined = np.concatenate(clips)
        aligned = aligner.words(joined, [row["label"] for row in some])
        for number, (first, last) in enumerate(places):
            if aligned[number].confidence >= 0.3:
                start, end = extent(joined, RATE, aligned, number)
                apart.append(max(first - start, end - last, 0) / RATE)
    assert len(apart) >= 20
    assert np.mean(np.array(apart) <= 0.12) >= 0.9


def test_a_keyword_spotter_hears_the_words_cut(shared_data: Path, tmp_path: Path) -> None:
    """The spotter has no part in the cutting, and was trained on none of these recordings."""
    out, spotter = tmp_path / "cut", Model.load("kws")
    command = ["cut", "asr", str(out), "--data", str(shared_data), "--sets", "librispeech"]
    assert main([*command, "--words", "no,off"]) == 0
    clips = gather(out)
    heard = [judge(spotter, read_audio(clip.audio, RATE), RATE)["label"] == clip.label for clip in clips]
    assert len(clips) >= 8
    assert np.mean(heard) >= 0.6
