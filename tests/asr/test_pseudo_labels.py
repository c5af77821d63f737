"""Labels by recognisers: what is heard, kept, and believed."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr import pseudo_labels, transcribe
from asr.pseudo_labels import Heard
from asr.transcribe import AFTER_SECONDS, Samples, Transcript, Whisper, transcripts, window_samples
from training.ctranslate2 import WeightsError
from training.utterances import ManifestError, read_manifest


def _lines(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _pseudo(*arguments: str | Path) -> str:
    parser = argparse.ArgumentParser()
    pseudo_labels.add_arguments(parser)
    return pseudo_labels.run(parser.parse_args([str(each) for each in arguments]))


def test_what_two_agree_on_is_believed(tmp_path: Path) -> None:
    rows = [{"audio": f"{n}.wav", "duration": 2.0, "split": "train", "accent": "x"} for n in range(6)]
    heard = [("Hello, there!", "hello there"), ("one two three", "one to three"), ("", ""), ("oh so now", ""),
             ("so " * 60, "so " * 60), ("5 cats are here", "five cats are here")]  # fmt: skip
    _lines(tmp_path / "manifest.jsonl", rows)
    first, second = (
        _lines(
            tmp_path / f"{side}.jsonl",
            [{"audio": f"{n}.wav", "text": two[side]} for n, two in enumerate(heard)],
        )
        for side in range(2)
    )
    assert "2 of 6 kept" in _pseudo(first, tmp_path, tmp_path / "out", "--second", second)
    kept = read_manifest(tmp_path / "out")
    assert [(row.audio.name, row.fields["text"], row.fields["accent"]) for row in kept] == [
        ("0.wav", "hello there", "x"), ("5.wav", "five cats are here", "x"),
    ]  # fmt: skip
    lenient = ("--second", second, "--most-different", "0.34")
    assert "3 of 6 kept" in _pseudo(first, tmp_path, tmp_path / "out", *lenient)
    # Without a second one all is believed that people can say in that time.
    assert "4 of 6 kept" in _pseudo(first, tmp_path, tmp_path / "out")
    assert pseudo_labels.disagreement("你好吗", "你好") == pytest.approx(1 / 3)


def test_a_recogniser_is_believed_where_it_is_sure(tmp_path: Path) -> None:
    texts = {"sure.wav": -0.2, "unsure.wav": -0.7, "silent.wav": None}
    _lines(
        tmp_path / "manifest.jsonl",
        [{"audio": name, "duration": 1.0, "split": "train"} for name in (*texts, "unheard.wav")],
    )
    heard = _lines(
        tmp_path / "heard.jsonl",
        [
            {"audio": name, "text": "good morning"} | ({} if score is None else {"score": score})
            for name, score in texts.items()
        ],
    )
    assert "2 of 4 kept" in _pseudo(heard, tmp_path, tmp_path / "out", "--least-score", "-0.4")
    assert [row.audio.name for row in read_manifest(tmp_path / "out")] == ["sure.wav", "silent.wav"]
    with pytest.raises(ManifestError, match="nothing"):
        _pseudo(heard, tmp_path, tmp_path / "none", "--second", _lines(tmp_path / "empty.jsonl", []))


def test_hypotheses_are_read_and_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"gone\.jsonl"):
        pseudo_labels.hypotheses(tmp_path / "gone.jsonl")
    odd = json.dumps({"audio": "a.wav", "text": "one\u2028two"}, ensure_ascii=False)
    (tmp_path / "odd.jsonl").write_text(f"{odd}\n\n", encoding="utf-8")
    assert pseudo_labels.hypotheses(tmp_path / "odd.jsonl") == {"a.wav": Heard("one\u2028two", float("inf"))}
    _lines(tmp_path / "bad.jsonl", [{"audio": "a.wav", "text": "x", "score": "high"}])
    with pytest.raises(ManifestError, match="high"):
        pseudo_labels.hypotheses(tmp_path / "bad.jsonl")


class _Echo:
    """Writes how long each clip is; remembers the batches, and may be stopped in one."""

    def __init__(self, stop_at: int = -1) -> None:
        self.batches: list[list[int]] = []
        self.stop_at = stop_at

    def __call__(self, clips: Sequence[Samples]) -> list[Transcript]:
        if len(self.batches) == self.stop_at:
            raise KeyboardInterrupt
        self.batches.append([len(clip) for clip in clips])
        return [Transcript(f"{len(clip)} samples", -0.5) for clip in clips]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for n in range(20):
        samples = rng.integers(1600, 4800)
        soundfile.write(tmp_path / f"{n}.wav", rng.normal(0, 0.1, samples), 16_000)
        rows.append({"audio": f"{n}.wav", "split": "train", "duration": samples / 16_000})
    for name, duration in (("empty.wav", 0.0), ("long.wav", 30.5)):
        rows.append({"audio": name, "split": "train", "duration": duration})
    _lines(tmp_path / "manifest.jsonl", rows)
    return tmp_path


def test_recordings_of_like_length_are_heard_together(clips: Path) -> None:
    echo = _Echo()
    found = list(transcripts(read_manifest(clips)[:20], echo))
    assert [len(batch) for batch in echo.batches] == [8, 8, 4]
    lengths = [length for batch in echo.batches for length in batch]
    assert lengths == sorted(lengths)
    assert {row.audio.name for row, _ in found} == {f"{n}.wav" for n in range(20)}
    for row, transcript in found:
        assert transcript.text == f"{round(float(row.fields['duration']) * 16_000)} samples"


def test_transcribing_goes_on_where_it_was_stopped(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    transcribe.add_arguments(parser)
    args = parser.parse_args([str(clips / "model"), str(clips), str(clips / "heard.jsonl")])
    monkeypatch.setattr(transcribe, "Whisper", lambda *_: _Echo(stop_at=2))
    with pytest.raises(KeyboardInterrupt):
        transcribe.run(args)
    with (clips / "heard.jsonl").open("a") as file:
        file.write('{"audio": "3.wav", "text": "')
    with (clips / "heard.jsonl").open("ab") as raw:
        raw.write("你".encode()[:2])  # the power went within a character
    last = _Echo()
    monkeypatch.setattr(transcribe, "Whisper", lambda *_: last)
    assert "4 more of 22" in transcribe.run(args)
    assert sum(map(len, last.batches)) == 4
    assert len(pseudo_labels.hypotheses(clips / "heard.jsonl")) == 20
    assert "0 more of 22, 0.00 h; 2 empty or over 30 s" in transcribe.run(args)
    for other in (
        b"notes\n",
        b'{"symbols": ["a"]}',
        b'{"audio": "x.wav", "split": "train"}\n',
        b"\x00\xff\n",
    ):
        (clips / "heard.jsonl").write_bytes(other)
        with pytest.raises(ManifestError, match="without lines"):
            transcribe.run(args)
        assert (clips / "heard.jsonl").read_bytes() == other


@given(st.integers(1, 480_000))
def test_clips_are_filled_up_with_silence_but_never_past_thirty_seconds(longest: int) -> None:
    window = window_samples(longest)
    assert window % 320 == 0
    assert longest < window + 320
    assert window == 480_000 or window > longest + (AFTER_SECONDS - 0.02) * 16_000


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"Whisper|pip install"):
        Whisper(tmp_path)
