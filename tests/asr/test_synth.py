"""Synthetic speech: phrases read back, clips measured, runs that were stopped; espeak-ng where installed."""

import argparse
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr import sentences, synth
from asr.number_words import cardinal
from asr.spellings import GENERATORS, digit_row, in_pairs, spelled
from asr.synth import Planner, RejectedClipError, finish, made, synthesise
from asr.text import english
from tests.tools import needs
from training import voices
from training.utterances import read_manifest
from training.voices import EngineError, Utterance

TEXTS = {"examples": ["The cat sat on the mat.", "Don't go!", "It was late in the year"]}
SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.sampled_from(sorted(GENERATORS)))
def test_phrases_are_what_will_be_recognised(seed: int, kind: str) -> None:
    said = GENERATORS[kind][0](np.random.default_rng(seed))
    text = english(said)
    assert text
    assert not any(char.isdigit() for char in said)
    assert english(said.replace("{", "").replace("}", "").lower()) == text
    # Capitals are letters to be spelled, each in its braces; the pronoun is a word.
    assert all(said[at - 1] == "{" and said[at + 1] == "}" for at, char in enumerate(said)
               if char.isupper() and said[at : at + 2] != "I ")  # fmt: skip


def _unspelled(text: str) -> str:
    words, letters = text.split(), []
    while words:
        word = words.pop(0)
        times = {"double": 2, "triple": 3}.get(word)
        letters.append((words.pop(0) if times else word) * (times or 1))
    return "".join(letters)


@given(SEEDS, st.text(alphabet="abcdeflmnost", min_size=1, max_size=12))
def test_spellings_read_back(seed: int, word: str) -> None:
    assert _unspelled(english(spelled(np.random.default_rng(seed), word))) == word


@given(SEEDS, st.text(alphabet="0123456789", min_size=1, max_size=11))
def test_rows_of_digits_read_back(seed: int, row: str) -> None:
    figures = {cardinal(n): str(n) for n in range(10)} | {"oh": "0"}
    read = ""
    times = 1
    for word in english(digit_row(np.random.default_rng(seed), row)).split():
        if word in ("double", "triple"):
            times = {"double": 2, "triple": 3}[word]
        else:
            read, times = read + figures[word] * times, 1
    assert read == row


@given(SEEDS, st.integers(11, 99), st.integers(1, 99))
def test_numbers_in_pairs(seed: int, first: int, second: int) -> None:
    said = in_pairs(np.random.default_rng(seed), f"{first}{second:02d}")
    whole = f"{cardinal(first)} {cardinal(second) if second > 9 else 'oh ' + cardinal(second)}"
    assert said == whole or len(said.split()) >= 3


@given(SEEDS)
def test_commands_have_no_open_slots(seed: int) -> None:
    said = sentences.command(np.random.default_rng(seed))
    assert "<" not in said
    assert english(said)


def test_every_slot_of_every_command_is_known() -> None:
    named = set(sentences._SLOT.findall(" ".join(sentences._PATTERNS)))
    assert named == set(sentences._SLOTS)


def test_free_text_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORDNET", "FORTUNES"):
        monkeypatch.setattr(sentences, name, tmp_path / "none")
    monkeypatch.setattr(sentences.shutil, "which", lambda _: None)
    sentences._glosses.cache_clear()
    with pytest.raises(sentences.TextError, match="wordnet-base"):
        sentences.free_text()
    (tmp_path / "book.txt").write_text(
        'It was the best of times. "It was the\nworst of times." See http://x.org for that. Too short.\n'
        "It was the best of times. THIS IS SHOUTED at us."
    )
    assert sentences.free_text(tmp_path) == {
        "book": ["It was the best of times.", "It was the worst of times."]
    }
    sentences._glosses.cache_clear()


def test_letters_by_their_names() -> None:
    assert voices._letters("a {B} {A} cat", "ay") == "a B ay cat"


def _speech(seconds: float, rate: int = 24_000) -> Utterance:
    noise = np.random.default_rng(0).standard_normal(int(rate * seconds)).astype(np.float32) * 0.1
    silence = np.zeros(rate // 2, np.float32)
    return Utterance(np.concatenate([silence, noise, silence]), rate, "v")


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_clips_are_speech_between_silences(seed: int) -> None:
    samples = finish(_speech(1.0), "ten letters", np.random.default_rng(seed))
    loud = np.flatnonzero(samples)
    assert 1.0 <= (loud[-1] - loud[0]) / 16_000 < 1.08
    assert 0.05 * 16_000 <= loud[0] <= 0.6 * 16_000 + 480
    assert 0.04 * 16_000 <= samples.size - loud[-1] <= 0.6 * 16_000 + 480
    level_db = 10 * np.log10(np.mean(samples[loud[0] : loud[-1]] ** 2))
    assert -36.5 <= level_db <= -13.5
    assert np.abs(samples).max() <= 0.9501


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Utterance(np.zeros(16_000, np.float32), 16_000, "v"), "silent"),
        (Utterance(np.zeros(0, np.float32), 16_000, "v"), "silent"),
        (Utterance(np.full(99, np.nan, np.float32), 16_000, "v"), "finite"),
        (_speech(0.2), "11 characters"),
        (_speech(25.0), "11 characters"),
    ],
)
def test_clips_that_cannot_be(said: Utterance, why: str) -> None:
    with pytest.raises(RejectedClipError, match=why):
        finish(said, "ten letters", np.random.default_rng(0))


def _planner(held_out: tuple[str, ...] = ("flite",)) -> Planner:
    return Planner(("espeak", "flite"), held_out, TEXTS, 7)


def test_plans_are_the_same_again() -> None:
    clips = [_planner()(number) for number in range(400)]
    assert clips == [_planner()(number) for number in range(400)]
    kinds = Counter(clip.kind for clip in clips)
    assert set(kinds) == {*GENERATORS, "command", "examples"}
    assert 150 < kinds["examples"] < 218  # 46 % of 400
    assert {clip.held_out for clip in clips if clip.engine == "flite"} == {True}
    assert len({clip.audio for clip in clips}) == 400


def _fake(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []

    def speak(text: str, rng: np.random.Generator, _haste: float) -> Utterance:
        said.append(text)
        if len(said) % 5 == 0:
            raise EngineError("hoarse")
        seconds = len(english(text)) / 15 + 0.1
        return Utterance(rng.standard_normal(int(16_000 * seconds)).astype(np.float32) * 0.1, 16_000, "v")

    monkeypatch.setattr(synth, "engine", lambda _name, _voices: speak)
    return said


def test_runs_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _fake(monkeypatch)
    counts = synthesise(tmp_path, _planner(), 0.004, None)
    assert counts["dropped"] == len(said) // 5
    path = tmp_path / "manifest.jsonl"
    before = path.read_text()
    seconds, following = made(tmp_path)
    assert 14.4 <= seconds < 30
    path.write_text(before + '{"audio": "half')
    assert made(tmp_path) == (seconds, following)
    assert synthesise(tmp_path, _planner(), 0.004, None) == Counter()
    synthesise(tmp_path, _planner(), 0.008, None)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert path.read_text().startswith(before)
    numbers = [row["number"] for row in rows]
    assert numbers == sorted(set(numbers))
    for row, recording in zip(rows, read_manifest(tmp_path), strict=True):
        assert row["text"] == english(_planner()(row["number"]).said)
        assert row["split"] == ("heldout" if row["engine"] == "flite" else "train")
        info = soundfile.info(recording.audio)
        assert (info.samplerate, info.subtype) == (16_000, "OPUS")
        assert abs(info.duration - row["duration"]) < 0.002


def test_espeak_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("espeak-ng") is None:
        needs.missing("needs the program espeak-ng: speaks", bare=True)
    monkeypatch.setattr(synth, "free_text", lambda _folder: TEXTS)
    parser = argparse.ArgumentParser()
    synth.add_arguments(parser)
    said = synth.run(
        parser.parse_args([str(tmp_path), "--hours", "0.002", "--engines", "espeak", "--jobs", "2"])
    )
    assert "espeak" in said
    assert made(tmp_path)[0] >= 7.2
    with pytest.raises(EngineError, match="hal"):
        synth.run(parser.parse_args([str(tmp_path), "--engines", "hal"]))
    with pytest.raises(EngineError, match="--jobs must be at least 1, got 0"):
        synth.run(parser.parse_args([str(tmp_path), "--jobs", "0"]))
