"""Speech and noise that should make no keyword fire, with the keywords that its text says all the same."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kws.clips import KEYWORDS, Clip, DataError
from kws.features import is_reserved
from kws.peaks import Spoken

_WORDS = re.compile(r"[a-z']+")


def negatives(data: Path, folders: Iterable[str], split: str, trained: Mapping[str, Any]) -> Iterator[Spoken]:
    """Clips of `folders` and the keywords in their text or label: what is said cannot be falsely accepted.

    Split "train" gives what training left over, and "dev" parts: of folders of running speech the speakers
    that features.is_reserved keeps back, of noise and word folders that were trained on nothing. Clips
    without text count as holding no keyword.

    Args:
        data: the folder that `folders` stand in, each with a manifest.jsonl.
        folders: names.
        split: "train" or "test".
        trained: the recipe's "data" table: which folders the model was trained on.

    Raises:
        DataError: a folder has no manifest, or a line of it lacks a key.
    """
    running = frozenset(trained.get("running", ()))
    used = frozenset((*trained.get("noise", ()), *trained.get("extra", ()), trained.get("main", "")))
    for folder in folders:
        path = data / folder / "manifest.jsonl"
        if not path.is_file():
            raise DataError(f"{data / folder} holds no manifest.jsonl")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                speaker = str(row.get("speaker", row.get("recording", row["audio"])))
                clip = Clip(path.parent / row["audio"], "", row["split"], speaker, float(row["duration"]))
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{folder}/manifest.jsonl line {number}: {error!r}") from None
            if clip.split != split and not (split == "train" and clip.split == "dev"):
                continue
            if clip.split == "train" and (folder in used or (folder in running and not is_reserved(clip))):
                continue
            said = set(_WORDS.findall(f"{row.get('text', '')} {row.get('label', '')}".lower()))
            yield clip, frozenset(said & set(KEYWORDS))
