"""A dev part by speaker where a manifest has none."""

import json
from pathlib import Path

from asr.distill.splits import speaker_of, split_recordings


def _write(folder: Path, splits: tuple[str, ...]) -> None:
    rows = [
        {"audio": f"{i}.wav", "split": splits[i % len(splits)], "speaker": f"s{i // 4}"} for i in range(400)
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_dev_is_the_manifests_or_a_tenth_of_the_speakers(tmp_path: Path) -> None:
    _write(tmp_path, ("train", "train", "dev", "test"))
    assert {name: len(each) for name, each in split_recordings(tmp_path).items()} == {
        "train": 200,
        "dev": 100,
        "test": 100,
    }
    _write(tmp_path, ("train", "train", "train", "test"))
    splits = split_recordings(tmp_path)
    speakers = {name: {speaker_of(each) for each in splits[name]} for name in ("train", "dev")}
    assert not speakers["train"] & speakers["dev"]
    assert 3 <= len(speakers["dev"]) <= 20
    assert len(splits["test"]) == 100
