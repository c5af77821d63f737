"""Recordings that are no single keywords, and which keywords their text says all the same."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kws.clips import KEYWORDS, Clip, DataError

_WORDS = re.compile(r"[a-z']+")


def recordings(folder: Path) -> Iterator[tuple[Clip, frozenset[str], dict[str, Any]]]:
    """Each clip of a folder's manifest.jsonl, the keywords in its text or label, and the whole line.

    A clip's speaker is the line's "speaker", or its "recording", or the clip by itself. Training and
    calibration divide people by this name, so both must have it from here.

    Raises:
        DataError: there is no manifest, or a line of it lacks a key.
    """
    path = folder / "manifest.jsonl"
    if not path.is_file():
        raise DataError(f"{folder} holds no manifest.jsonl")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            speaker = str(row.get("speaker", row.get("recording", row["audio"])))
            clip = Clip(folder / row["audio"], "", row["split"], speaker, float(row["duration"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{folder.name}/manifest.jsonl line {number}: {error!r}") from None
        said = _WORDS.findall(f"{row.get('text', '')} {row.get('label', '')}".lower())
        yield clip, frozenset(said) & frozenset(KEYWORDS), row
