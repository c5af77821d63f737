"""Which recordings of running speech a network may learn to call `_unknown_`."""

import json
from pathlib import Path

from kws.features import running_speech


def test_neither_keywords_nor_what_may_hold_them(tmp_path: Path) -> None:
    rows = [
        ("kept.wav", {"text": "the cat sat"}),
        ("english-told.wav", {"text": "a fine morning", "language": "en"}),
        ("other.wav", {"language": "ru"}),
        ("keyword.wav", {"text": "Stop, please"}),
        ("label.wav", {"label": "go"}),
        ("homophone.wav", {"text": "I know"}),
        ("english-untold.wav", {"language": "en"}),
        ("quoted.wav", {"text": "he shouted 'stop' again", "language": "en"}),
        ("curly.wav", {"text": "\u2018know thyself\u2019"}),
        ("apostrophe.wav", {"text": "don't, he's off's"}),
        ("dev.wav", {"text": "the cat sat", "split": "dev"}),
    ]
    lines = [
        json.dumps({"audio": name, "duration": 1.0, "split": "train", **row}) + "\n" for name, row in rows
    ]
    (tmp_path / "manifest.jsonl").write_text("".join(lines))
    kept = [clip.audio.name for clip in running_speech(tmp_path)]
    assert kept == ["kept.wav", "english-told.wav", "other.wav", "apostrophe.wav"]
