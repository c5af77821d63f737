"""Recordings that are no single keywords, and which keywords their text says all the same."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kws.clips import KEYWORDS, Clip, DataError, manifest_lines

HOMOPHONES = {"know": "no", "write": "right", "wright": "right", "rite": "right"}
"""Words that no spotter can tell from a keyword: a network is not to learn that they are `_unknown_`."""
WORDS = re.compile(r"[a-z]+(?:'[a-z]+)*")
"""An apostrophe inside a word belongs to it, a quote around it does not."""


def recordings(folder: Path) -> Iterator[tuple[Clip, frozenset[str], dict[str, Any]]]:
    """Each clip of a folder's manifest.jsonl, the keywords in its text or label, and the whole line.

    A clip's speaker is the line's "speaker", or its "recording", or the clip by itself. Training and
    calibration divide people by this name, so both must have it from here.

    Raises:
        DataError: there is no manifest, or a line of it lacks a key.
    """
    if not (folder / "manifest.jsonl").is_file():
        raise DataError(f"{folder} holds no manifest.jsonl")

    def heard(row: dict[str, Any]) -> tuple[Clip, frozenset[str], dict[str, Any]]:
        speaker = str(row.get("speaker", row.get("recording", row["audio"])))
        clip = Clip(folder / row["audio"], "", row["split"], speaker, float(row["duration"]))
        return clip, _words(row) & frozenset(KEYWORDS), row

    return manifest_lines(folder, heard)


def sounds_like_keywords(row: dict[str, Any]) -> bool:
    """Whether a manifest's line says a word that sounds as a keyword does."""
    return not _words(row).isdisjoint(HOMOPHONES)


def _words(row: dict[str, Any]) -> frozenset[str]:
    said = f"{row.get('text', '')} {row.get('label', '')}".lower().replace("\u2019", "'")
    return frozenset(WORDS.findall(said))
