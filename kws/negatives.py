"""Speech and noise that should make no keyword fire, with the keywords that its text says all the same."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from kws.clips import KEYWORDS, Clip
from kws.features import is_reserved

_WORDS = re.compile(r"[a-z']+")


def negatives(data: Path, folders: Iterable[str], split: str) -> Iterator[tuple[Clip, frozenset[str]]]:
    """Clips of `folders` and the keywords in their text; a keyword that is said cannot be falsely accepted.

    With split "train", speakers whose running speech was trained on are left out (features.is_reserved), and
    so are training's noises; a "dev" part counts as held out. Clips without text count as holding no keyword.
    """
    for folder in folders:
        for line in (data / folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            speaker = str(row.get("speaker", row.get("recording", row["audio"])))
            clip = Clip(data / folder / row["audio"], "", row["split"], speaker, float(row["duration"]))
            if split == "train" and row["split"] == "train" and folder in TRAINED and not is_reserved(clip):
                continue
            if row["split"] == split or (split == "train" and row["split"] == "dev"):
                said = set(_WORDS.findall(str(row.get("text", "")).lower()))
                yield clip, frozenset(said & set(KEYWORDS))


TRAINED = (
    "librispeech",
    "an4",
    "languages",
    "arabic_commands",
    "wake_words",
    "noise",
    "librispeech_train-clean-5",
)
"""Folders that recipes train on; of these only the reserved half is heard here."""
