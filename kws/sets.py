"""Folders of clips that training reads: written once, the manifest last."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import soundfile

from kws.clips import DataError
from stapes.samples import Samples
from training.atomic import replacing


def refuse_filled(out: Path) -> None:
    """One run may not write into another's folder.

    Raises:
        DataError: there is something in it.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} is not empty")


def clip_name(label: str, recording: Path, seconds: float) -> str:
    """Of a clip, by where it is cut from.

    So a recording that two folders hold, or two runs cut, gives clips of the same name, of which training
    takes one; those of other recordings have other names, and it takes all.

    Args:
        label: what tells clips of one place apart.
        recording: whose.
        seconds: a place in it.
    """
    return f"{label}_{recording.stem}_{round(1000 * seconds):05d}"


def write_set(out: Path, rate: int, clips: Iterable[tuple[str, Samples, Mapping[str, Any]]]) -> None:
    """Writes clips for training; without its manifest, which comes last, nobody reads the folder.

    Args:
        out: the folder.
        rate: of all clips, in Hz.
        clips: of each a name without suffix, samples, and what else the manifest says of it:
            "label", "speaker", …
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for stem, samples, fields in clips:
        name = f"{stem}.flac"
        soundfile.write(out / name, samples, rate)
        rows.append({"audio": name, "duration": round(len(samples) / rate, 3), "split": "train", **fields})
    with replacing(out / "manifest.jsonl") as draft:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        draft.write_text("".join(lines), encoding="utf-8")
