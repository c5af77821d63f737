"""Which clips there are, and who may train on them: the Speech Commands protocol with twelve classes."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SILENCE, UNKNOWN = "_silence_", "_unknown_"
LABELS = (SILENCE, UNKNOWN, *KEYWORDS)
NOISE_FOLDER = "_background_noise_"

Split = Literal["train", "dev", "test", "noise", "heldout"]
_OFFICIAL: dict[str, Split] = {"training": "train", "validation": "dev", "testing": "test"}
_BUCKETS = 2**27 - 1
Line = TypeVar("Line")


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of one word, or of noise."""

    audio: Path
    label: str
    """The word spoken, as the data set names it; not yet folded into the twelve classes."""
    split: Split
    speaker: str
    duration: float = 1.0
    """Seconds."""
    engine: str = ""
    """The synthesiser's name; empty for a person."""


class DataError(ValueError):
    """A data folder that is missing or cannot be understood."""


def class_of(label: str) -> int:
    """Index in `LABELS`; a word that is no keyword is `_unknown_`."""
    return LABELS.index(label) if label in LABELS else LABELS.index(UNKNOWN)


def official_split(file_name: str) -> Split:
    """The partition that Speech Commands gives a file, by speaker (arXiv 1804.03209, section 7)."""
    speaker = file_name.rpartition("/")[2].partition("_nohash_")[0]
    percent = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (_BUCKETS + 1) * 100 / _BUCKETS  # noqa: S324
    return _OFFICIAL["validation" if percent < 10 else "testing" if percent < 20 else "training"]


def read_folder(folder: Path) -> list[Clip]:
    """The clips of a folder that holds a manifest.jsonl, or Speech Commands in its official layout.

    Raises:
        DataError: there is neither, or a manifest line lacks a key.
    """
    if (folder / "manifest.jsonl").is_file():
        return _read_manifest(folder)
    clips = [
        Clip(path, path.parent.name, _split_of(path, folder), path.name.partition("_nohash_")[0])
        for path in sorted(folder.glob("*/*.wav"))
    ]
    if not clips:
        raise DataError(f"{folder} holds no manifest.jsonl and no <word>/<speaker>_nohash_<n>.wav")
    return clips


def _split_of(path: Path, folder: Path) -> Split:
    if path.parent.name == NOISE_FOLDER:
        return "noise"
    for name in ("validation", "testing"):
        if path.relative_to(folder).as_posix() in _names(folder / f"{name}_list.txt"):
            return _OFFICIAL[name]
    return official_split(path.name)


_lists: dict[Path, frozenset[str]] = {}


def _names(path: Path) -> frozenset[str]:
    if path not in _lists:
        _lists[path] = frozenset(path.read_text().split()) if path.is_file() else frozenset()
    return _lists[path]


def _read_manifest(folder: Path) -> list[Clip]:
    def clip(row: dict[str, Any]) -> Clip:
        return Clip(
            audio=folder / row["audio"],
            label=row["label"],
            split=row["split"],
            speaker=str(row.get("speaker", "")),
            duration=float(row.get("duration", 1.0)),
            engine=row.get("engine", ""),
        )

    return list(manifest_lines(folder, clip))


def manifest_lines(folder: Path, make: Callable[[dict[str, Any]], Line]) -> Iterator[Line]:
    """What `make` makes of each line of a folder's manifest.jsonl.

    Raises:
        DataError: the file cannot be read, or `make` does not understand a line.
    """
    path = folder / "manifest.jsonl"
    try:
        # Not splitlines: texts may hold other separators, which JSON does not escape.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            made = make(json.loads(line))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{folder.name}/manifest.jsonl line {number}: {error!r}") from None
        yield made


def gather(main: Path, extra: Sequence[Path] = ()) -> list[Clip]:
    """The clips of `main`, and from each `extra` folder those that may be trained on beside them.

    Left out of an extra folder: clips whose official partition is not training, speakers that `main` holds
    for dev or test, and recordings that `main` has already.
    """
    clips = read_folder(main)
    held = {clip.speaker for clip in clips if clip.split in ("dev", "test")}
    known = {(clip.label, clip.audio.stem) for clip in clips}
    for folder in extra:
        for clip in read_folder(folder):
            key = (clip.label, clip.audio.stem)
            person = not clip.engine
            if clip.split != "train" or (person and (clip.speaker in held or key in known)):
                continue
            if person and "_nohash_" in clip.audio.name and official_split(clip.audio.name) != "train":
                continue
            known.add(key)
            clips.append(clip)
    return clips


def keyword_clips(folder: Path, split: str) -> list[Clip]:
    """The clips of keywords in one split of a folder.

    Raises:
        DataError: there is no such data folder.
    """
    return [clip for clip in read_folder(folder) if clip.split == split and clip.label in KEYWORDS]
