"""Corpora: made-up trees in each layout, speakers divided once and for all, manifests that read back."""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr import manifest
from asr.corpora import LOADERS
from asr.manifest import SplitSpec, divide, in_dev
from training.utterances import ManifestError, read_manifest


def _tone(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.sin(np.arange(int(16_000 * seconds)) / 10) * 0.1, 16_000)
    return path


def _write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _load(kind: str, folder: Path) -> list[tuple[Any, ...]]:
    rows = LOADERS[kind](folder)
    return [(row["audio"].name, row.get("text"), row.get("speaker"), row["split"]) for row in rows]


def test_librispeech(tmp_path: Path) -> None:
    for name in ("19-198-0000", "19-198-0001", "26-495-0000"):
        speaker, chapter, _ = name.split("-")
        _tone(tmp_path / "train-clean-5" / speaker / chapter / f"{name}.flac")
    _write(
        tmp_path / "train-clean-5/19/198/19-198.trans.txt",
        "19-198-0000 NORTHANGER ABBEY", "19-198-0001 CHAPTER ONE", "19-198-0002 NOT HERE",
    )  # fmt: skip
    _write(tmp_path / "train-clean-5/26/495/26-495.trans.txt", "26-495-0000 IT'S SO")
    assert _load("librispeech", tmp_path) == [
        ("19-198-0000.flac", "NORTHANGER ABBEY", "19", "train"),
        ("19-198-0001.flac", "CHAPTER ONE", "19", "train"),
        ("26-495-0000.flac", "IT'S SO", "26", "train"),
    ]


def test_librispeech_against_torchaudio(tmp_path: Path) -> None:
    import torchaudio

    folder = tmp_path / "LibriSpeech/dev-clean"
    _tone(folder / "84/121/84-121-0000.flac")
    _write(folder / "84/121/84-121.trans.txt", "84-121-0000 GO DO YOU HEAR")
    theirs = torchaudio.datasets.LIBRISPEECH(tmp_path, "dev-clean").get_metadata(0)
    ours = next(LOADERS["librispeech"](folder))
    assert (str(tmp_path / "LibriSpeech" / theirs[0]), theirs[2], str(theirs[3])) == (
        str(ours["audio"]), ours["text"], ours["speaker"],
    )  # fmt: skip


def test_aishell(tmp_path: Path) -> None:
    _tone(tmp_path / "wav/train/S0002/BAC009S0002W0122.wav")
    _tone(tmp_path / "wav/test/S0764/BAC009S0764W0121.wav")
    _tone(tmp_path / "wav/dev/S0724/BAC009S0724W0121.wav")  # without a transcript
    _write(
        tmp_path / "transcript/aishell_transcript_v0.8.txt",
        "BAC009S0002W0122 而 对 楼市", "BAC009S0764W0121 甚至 出现",
    )  # fmt: skip
    assert _load("aishell", tmp_path) == [
        ("BAC009S0764W0121.wav", "甚至出现", "S0764", "test"),
        ("BAC009S0002W0122.wav", "而对楼市", "S0002", "train"),
    ]


def _common_voice(folder: Path) -> None:
    head = "client_id\tpath\tsentence\tup_votes\tlocale\taccents"
    for name in "abcde":
        _tone(folder / f"clips/{name}.mp3")
    _write(folder / "train.tsv", head, 'x1\ta.mp3\t"Quoted, he said\t2\ten\tScottish')
    _write(folder / "test.tsv", head, "x2\tb.mp3\tTwo\t2\ten\t", "x2\tgone.mp3\tGone\t2\ten\t")
    _write(
        folder / "validated.tsv", head,
        "x1\ta.mp3\tagain\t2\ten\t", "x2\tc.mp3\tof a test speaker\t2\ten\t", "x3\td\tno suffix\t2\ten\t",
    )  # fmt: skip
    _write(folder / "invalidated.tsv", head, "x4\te.mp3\twrong\t0\ten\t")


def test_common_voice(tmp_path: Path) -> None:
    _common_voice(tmp_path / "en")
    expected = [
        ("a.mp3", '"Quoted, he said', "x1", "train"), ("b.mp3", "Two", "x2", "test"),
        ("d.mp3", "no suffix", "x3", "train"),
    ]  # fmt: skip
    assert _load("common_voice", tmp_path / "en") == expected
    assert _load("common_voice", tmp_path) == expected
    first = next(LOADERS["common_voice"](tmp_path))
    assert (first["language"], first["accent"]) == ("en", "Scottish")


def test_an4(tmp_path: Path) -> None:
    _tone(tmp_path / "wav/an4_clstk/fash/an251-fash-b.wav")
    _tone(tmp_path / "wav/an4test_clstk/fcaw/an406-fcaw-b.wav")
    _write(tmp_path / "etc/an4_train.transcription", "<s> YES </s> (an251-fash-b)", "<s> NO </s> (gone)")
    _write(tmp_path / "etc/an4_test.transcription", "RUBOUT G M (an406-fcaw-b)")
    assert _load("an4", tmp_path) == [
        ("an251-fash-b.wav", "YES", "fash", "train"), ("an406-fcaw-b.wav", "RUBOUT G M", "fcaw", "test"),
    ]  # fmt: skip
    _write(tmp_path / "etc/an4_test.transcription", "RUBOUT")
    with pytest.raises(ManifestError, match="RUBOUT"):
        _load("an4", tmp_path)


def test_text_beside_and_no_text(tmp_path: Path) -> None:
    _tone(tmp_path / "kathleen/1.wav")
    _tone(tmp_path / "kathleen/2.wav")
    _write(tmp_path / "kathleen/1.txt", "It was impossible", "to hoist sail.")
    assert _load("beside", tmp_path) == [("1.wav", "It was impossible to hoist sail.", "kathleen", "train")]
    assert _load("unlabelled", tmp_path) == [("1.wav", None, None, "train"), ("2.wav", None, None, "train")]


@given(st.lists(st.text(min_size=1), unique=True), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_whom_a_smaller_one_took(names: list[str], a: float, b: float) -> None:
    small, large = sorted((a, b))
    assert {n for n in names if in_dev(n, small)} <= {n for n in names if in_dev(n, large)}
    assert not any(in_dev(name, 0) for name in names)


def test_shares_and_the_digest() -> None:
    # The first eight hex digits of the digest, as a share of all.
    share = int(hashlib.sha1(b"fash").hexdigest()[:8], 16) / 2**32  # noqa: S324
    assert in_dev("fash", share + 1e-6)
    assert not in_dev("fash", share - 1e-6)
    assert 380 < sum(in_dev(str(n), 0.2) for n in range(2000)) < 420


def test_splits() -> None:
    rows = [
        {"audio": Path(f"{n}.wav"), "speaker": f"s{n % 20}", "split": split}
        for n, split in enumerate(["train", "dev", "test"] * 40)
    ]
    assert {row["split"] for row in divide(rows, SplitSpec(only="test"))} == {"test"}
    plain = divide(rows, SplitSpec(0.3))
    assert [row["split"] for row in plain if row["split"] == "test"] == ["test"] * 40
    merged = [row for row in divide(rows, SplitSpec(0.3, merge_dev=True)) if row["split"] != "test"]
    dev = {row["speaker"] for row in merged if row["split"] == "dev"}
    assert dev
    assert not dev & {row["speaker"] for row in merged if row["split"] == "train"}


def _run(*arguments: str) -> str:
    parser = argparse.ArgumentParser()
    manifest.add_arguments(parser)
    return manifest.run(parser.parse_args(arguments))


def test_manifest_on_the_command_line(tmp_path: Path) -> None:
    for n in range(4):
        _tone(tmp_path / f"in/s{n}/{n}.wav", 0.5 + n)
        _write(tmp_path / f"in/s{n}/{n}.txt", f"number {n}")
    (tmp_path / "in/s0/bad.wav").write_bytes(b"no sound")
    _write(tmp_path / "in/s0/bad.txt", "bad")
    _write(
        tmp_path / "other/manifest.jsonl",
        json.dumps({"audio": "z.wav", "speaker": "s1", "split": "test"}),
        json.dumps({"audio": "2.wav", "speaker": "s2", "split": "train"}),
    )
    said = _run("beside", str(tmp_path / "in"), str(tmp_path / "out"), "--without", str(tmp_path / "other"))
    assert "train: 0.00 h, 2 recordings, 2 speakers" in said
    read = read_manifest(tmp_path / "out")
    assert [(row.audio.name, row.fields["duration"], row.fields["text"]) for row in read] == [
        ("0.wav", 0.5, "number 0"), ("3.wav", 3.5, "number 3"),
    ]  # fmt: skip
    assert all(row.audio.is_absolute() for row in read)
    # Beside the recordings, names are relative; and a manifest is a corpus again.
    _run("plain", str(tmp_path / "out"), str(tmp_path / "in"))
    names = [json.loads(x)["audio"] for x in (tmp_path / "in/manifest.jsonl").read_text().splitlines()]
    assert names == ["s0/0.wav", "s3/3.wav"]
    with pytest.raises(ManifestError, match="aishell"):
        _run("aishell", str(tmp_path / "in"), str(tmp_path / "out"))
