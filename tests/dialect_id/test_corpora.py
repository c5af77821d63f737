"""Manifests of corpora in their own layout, tried on small made-up ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dialect_id.__main__ import main
from dialect_id.corpora import READERS, separated, write
from dialect_id.data import gather
from dialect_id.recipe import DataSpec
from training.audio import AudioError
from training.utterances import ManifestError, read_manifest


def sound(path: Path, samples: int = 800) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(samples), 16_000)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_voxlingua(tmp_path: Path) -> None:
    for name in (
        "de/v1__U__S1---0.0-1.0",
        "de/v1__U__S2---1.0-2.0",
        "iw/v2__U__S1---0.0-9.9",
        "jw/v3__U__S0---1-2",
    ):
        sound(tmp_path / "vl" / f"{name}.wav")
    sound(tmp_path / "vl/dev/iw/v4__U__S3---0.0-1.0.wav", 1600)
    sound(tmp_path / "vl/dev/iw/v2__U__S9---0.0-1.0.wav")
    out = tmp_path / "sets/vl/manifest.jsonl"
    written = write("voxlingua107", tmp_path / "vl", out)
    # v2 is in the official dev part: nobody trains on it.
    assert written.counts == {"train": 3, "test": 2}
    assert written.dropped == 1
    found = lines(out)
    assert {(each["language"], each["recording"], each["split"]) for each in found} == {
        ("de", "v1", "train"),
        ("jv", "v3", "train"),
        ("he", "v4", "test"),
        ("he", "v2", "test"),
    }
    assert all(each.audio.exists() for each in read_manifest(out.parent))
    assert {each["duration"] for each in found if each["recording"] == "v4"} == {0.1}


HEAD = "client_id\tpath\tsentence\tup_votes\taccents\tlocale"


def test_common_voice(tmp_path: Path) -> None:
    lists = {
        "sv-SE/train": [("ann", "1.mp3"), ("bob", "2.mp3")],
        "sv-SE/dev": [("cid", "3.mp3")],
        "sv-SE/test": [("dan", "4.mp3")],
        "sv-SE/validated": [("ann", "1.mp3"), ("dan", "5.mp3"), ("eve", "6.mp3"), ("fay", "not-there.mp3")],
        "zh-HK/validated": [("gil", "7")],
    }
    for name, rows in lists.items():
        path = tmp_path / "cv" / f"{name}.tsv"
        (path.parent / "clips").mkdir(parents=True, exist_ok=True)
        text = "\n".join([HEAD, *(f'{who}\t{clip}\tSäg "ja\t2\tGotland\tsv' for who, clip in rows)])
        path.write_text(text + "\n", encoding="utf-8")
        for _, clip in rows:
            if clip != "not-there.mp3":
                sound(path.parent / "clips" / f"{clip.removesuffix('.mp3')}.mp3")
    out = tmp_path / "manifest.jsonl"
    written = write("common_voice", tmp_path / "cv", out)
    assert written.counts == {"train": 4, "dev": 1, "test": 1}
    assert written.dropped == 1  # clip 5: dan is tested
    found = {Path(each["audio"]).stem: each for each in lines(out)}
    assert found["7"]["language"] == "yue"
    assert found["7"]["locale"] == "zh-HK"
    assert found["6"] == {
        "audio": "cv/sv-SE/clips/6.mp3",
        "split": "train",
        "language": "sv",
        "locale": "sv-SE",
        "speaker": "eve",
        "accent": "Gotland",
        "text": 'Säg "ja',
        "duration": found["6"]["duration"],
    }


def olr(root: Path) -> Path:
    """AP20-OLR as its organisers' recipe lays it out: lists in data/, recordings elsewhere."""
    parts = {
        "train": [("m1", "Minnan"), ("s1", "Sichuan"), ("h1", "Shanghai")],
        "task2_enroll": [("m2", "Hokkien")],
        "task2_dev": [("m3", "Minnan"), ("s3", "Sichuanese"), ("h3", "Shanghainese")],
        "task2_test": [
            ("m4", "Minnan"),
            ("s4", "Sichuan"),
            ("h4", "Shanghai"),
            ("x4", "Catalan"),
            ("y4", "Greek"),
        ],
        "task1_test": [("z1", "Russian")],
    }
    for part, rows in parts.items():
        folder = root / "data" / part
        folder.mkdir(parents=True)
        for name, _ in rows:
            sound(root / "wav" / f"{name}.wav")
        (folder / "utt2lang").write_text("".join(f"{name} {language}\n" for name, language in rows))
        (folder / "wav.scp").write_text("".join(f"{name} wav/{name}.wav\n" for name, _ in rows))
        if part == "train":
            (folder / "utt2spk").write_text("".join(f"{name} spk-{name}\n" for name, _ in rows))
    return root


def test_ap20_olr(tmp_path: Path) -> None:
    out = tmp_path / "sets/ap20-olr/manifest.jsonl"
    assert main(["manifest", "ap20-olr", str(olr(tmp_path / "olr")), str(out)]) == 0
    found = {Path(each["audio"]).stem: each for each in lines(out)}
    assert "z1" not in found
    assert found["m2"]["dialect"] == "minnan"
    assert found["m2"]["split"] == "train"
    assert found["s3"]["dialect"] == "sichuan"
    assert found["h1"]["speaker"] == "spk-h1"
    assert found["x4"]["dialect"] == "catalan"
    assert {name for name, each in found.items() if each["split"] == "test"} == {"m4", "s4", "h4", "x4", "y4"}
    # Judged in the open set: three dialects are labels, what else is tested is not.
    spec = DataSpec(
        main="ap20-olr",
        truth="dialect",
        labels=("minnan", "shanghai", "sichuan"),
        noise=(),
        held_out=("catalan", "greek"),
    )
    corpus = gather(tmp_path / "sets", spec, judged_by="test")
    assert sorted(corpus.judged.classes.tolist()) == [0, 1, 2]
    assert len(corpus.unknown.recordings) == 2
    assert len(corpus.train[0].recordings) == 4


def test_ap20_olr_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = olr(tmp_path / "olr"), tmp_path / "m.jsonl"
    scp = root / "data/task2_dev/wav.scp"
    scp.write_text("m3 sph2pipe m3.sph |\n")
    assert main(["manifest", "ap20-olr", str(root), str(out)]) == 1
    assert "m3 is a command" in capsys.readouterr().err
    scp.write_text("m9 wav/m9.wav\n")
    with pytest.raises(ManifestError, match="no line for m9"):
        write("ap20-olr", root, out)
    scp.write_text("m3 nowhere/m3.wav\n")
    with pytest.raises(AudioError, match="nowhere"):
        write("ap20-olr", root, out)
    (root / "data/task2_dev/utt2lang").unlink()
    with pytest.raises(ManifestError, match="utt2lang"):
        write("ap20-olr", root, out)
    assert not out.exists()


def test_plain_takes_the_same_dev_part_as_a_recipe(tmp_path: Path) -> None:
    rows = [{"audio": f"{n}.wav", "language": "de", "speaker": f"s{n // 2}"} for n in range(40)]
    for row in rows:
        sound(tmp_path / "raw" / row["audio"], 100)
    (tmp_path / "raw/manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    written = write("plain", tmp_path / "raw", tmp_path / "sets/a/manifest.jsonl", dev_share=0.3)
    assert written.counts["dev"] in range(4, 21)
    assert sum(written.counts.values()) == 40
    by_recipe = gather(tmp_path, DataSpec(main="raw", noise=(), dev_share=0.3)).judged
    found = {
        Path(each["audio"]).name
        for each in lines(tmp_path / "sets/a/manifest.jsonl")
        if each["split"] == "dev"
    }
    assert found == {each.audio.name for each in by_recipe.recordings}


def test_nobody_in_two_splits() -> None:
    rows = [
        ("train", "a"),
        ("dev", "a"),
        ("dev", "b"),
        ("test", "b"),
        ("train", "c"),
        ("noise", "c"),
        ("train", ""),
    ]
    kept = separated([{"split": split, "speaker": who} for split, who in rows])
    assert [(each["split"], each["speaker"]) for each in kept] == [
        ("dev", "a"),
        ("test", "b"),
        ("train", "c"),
        ("noise", "c"),
        ("train", ""),
    ]


@pytest.mark.parametrize("kind", READERS)
def test_nothing_there_is_said(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=str(tmp_path)):
        write(kind, tmp_path, tmp_path / "out.jsonl")


def test_broken_lists_of_common_voice_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound(tmp_path / "de/clips/a.mp3")
    command = ["manifest", "common_voice", str(tmp_path), str(tmp_path / "manifest.jsonl")]
    for content, reason in (
        (b"name\tpath\nann\ta.mp3\n", "train.tsv, line 2: wants the columns 'path' and 'client_id'"),
        (b"client_id\tpath\n\xff\ta.mp3\n", "train.tsv cannot be read"),
    ):
        (tmp_path / "de/train.tsv").write_bytes(content)
        assert main(command) == 1
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "manifest.jsonl").exists()
