"""`python -m dialect_id manifest`: the manifest of a corpus in its own layout.

A reader gives manifest lines whose "audio" is a whole path; what comes after is the same for all: nobody is
in two splits, durations are measured, paths are told relative to the manifest.
"""

import argparse
import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from dialect_id.data import in_dev
from training.atomic import replacing
from training.audio import AudioError
from training.command import share
from training.utterances import ManifestError, Recording, read_manifest

Line = dict[str, Any]

LOCALES = {"zh-CN": "zh", "zh-TW": "zh", "zh-HK": "yue"}
"""Common Voice's Chinese folders; of others the language is what stands before the hyphen."""
OLD_CODES = {"iw": "he", "jw": "jv", "in": "id"}
"""Codes that VoxLingua107 uses and ISO 639-1 has withdrawn."""
TARGETS = {
    "minnan": ("minnan", "hokkien", "min-nan", "zh-nan", "nan", "minnanese"),
    "shanghai": ("shanghai", "shanghainese", "wuu", "wu"),
    "sichuan": ("sichuan", "sichuanese", "zh-sc"),
}
"""AP20-OLR's task 2: the three dialects to recognise, and other names for them."""
_TASK2 = {"enroll": "train", "dev": "dev", "test": "test"}
_SPEAKER_LETTERS = 16
"""Of Common Voice's client ids: enough to tell them apart."""


def voxlingua(folder: Path) -> Iterator[Line]:
    """VoxLingua107: <language>/<video>__U__S<n>---<from>-<to>.wav to train on, dev/<language>/*.wav.

    Its "dev" is what the literature reports on and nobody trains on: split "test" here. The source is the
    video, which several clips are cut from.
    """
    for place, split in ((folder, "train"), (folder / "dev", "test")):
        for language in sorted(path for path in place.glob("*") if path.is_dir() and path.name != "dev"):
            for audio in sorted(path for path in language.iterdir() if path.suffix in _SUFFIXES):
                yield {
                    "audio": audio,
                    "split": split,
                    "language": OLD_CODES.get(language.name, language.name),
                    "recording": audio.stem.partition("__U__")[0],
                }


def common_voice(folder: Path) -> Iterator[Line]:
    """Common Voice: <locale>/{train,dev,test,validated}.tsv and <locale>/clips; clips not there are left out.

    A clip's split is the first list that names it, test before dev before train; what is validated only is
    trained on. The speaker is the client id.

    Raises:
        ManifestError: a list cannot be read, or lacks the columns "path" and "client_id".
    """
    for locale in sorted(path for path in folder.glob("*") if (path / "clips").is_dir()):
        seen: set[str] = set()
        there = {path.name for path in (locale / "clips").iterdir()}
        for name, split in (("test", "test"), ("dev", "dev"), ("train", "train"), ("validated", "train")):
            for row in _rows(locale / f"{name}.tsv"):
                clip = row["path"] if Path(row["path"]).suffix else f"{row['path']}.mp3"
                if clip in seen or clip not in there:
                    continue
                seen.add(clip)
                yield {
                    "audio": locale / "clips" / clip,
                    "split": split,
                    "language": LOCALES.get(locale.name, locale.name.partition("-")[0]),
                    "locale": locale.name,
                    "speaker": row["client_id"][:_SPEAKER_LETTERS],
                    "accent": row.get("accents") or row.get("accent") or "",
                    "text": row.get("sentence") or "",
                }


def ap20_olr(folder: Path) -> Iterator[Line]:
    """AP20-OLR, task 2: folders of lists as the organisers' recipe has them, each with wav.scp and utt2lang.

    Read are folders called train… and those with task2 (or task_2) and enroll, dev or test in their names.
    Whatever is none of the three dialects keeps its name: in the test part these are the unknown languages.
    utt2spk is read if it is there.

    Raises:
        ManifestError: wav.scp holds a command (convert to files first), or an utterance has no language.
    """
    for lists in sorted(path.parent for path in folder.rglob("wav.scp")):
        split = _task2_split(lists.name.lower())
        if split is None:
            continue
        languages = _pairs(lists / "utt2lang")
        speakers = _pairs(lists / "utt2spk") if (lists / "utt2spk").exists() else {}
        for utterance, where in _pairs(lists / "wav.scp").items():
            if where.endswith("|"):
                raise ManifestError(f"{lists / 'wav.scp'}: {utterance} is a command, wants a file")
            if utterance not in languages:
                raise ManifestError(f"{lists / 'utt2lang'} has no line for {utterance}")
            audio = next((path for path in (folder / where, lists / where) if path.exists()), Path(where))
            yield {
                "audio": audio,
                "split": split,
                "dialect": target_of(languages[utterance]),
                "speaker": speakers.get(utterance, utterance),
            }


def plain(folder: Path) -> Iterator[Line]:
    """A folder that has a manifest.jsonl: checked, and written anew by the rules for all."""
    for recording in read_manifest(folder):
        yield {**recording.fields, "audio": recording.audio, "split": recording.split}


READERS: Mapping[str, Callable[[Path], Iterator[Line]]] = {
    "voxlingua107": voxlingua,
    "common_voice": common_voice,
    "ap20-olr": ap20_olr,
    "plain": plain,
}
_SUFFIXES = (".wav", ".flac", ".opus", ".ogg", ".mp3")


@dataclass(frozen=True, slots=True)
class Written:
    """What `write` did."""

    counts: dict[str, int]
    """Lines by split."""
    dropped: int
    """Lines left out because their speaker or source is in a split that matters more."""


def write(kind: str, folder: Path, out: Path, dev_share: float = 0.0) -> Written:
    """Writes a manifest.

    Args:
        kind: a key of `READERS`.
        folder: of the corpus.
        out: the .jsonl file.
        dev_share: take this share of the train split's speakers or sources for a split "dev", if there is
            none: the same ones that a recipe with this `data.dev_share` takes.

    Raises:
        ManifestError: nothing of that layout is there, or a list is not understood.
        AudioError: a recording is missing or cannot be read.
    """
    lines = list(READERS[kind](folder))
    if not lines:
        raise ManifestError(f"{folder} holds nothing in the layout of {kind}")
    if dev_share and not any(line["split"] == "dev" for line in lines):
        for line in lines:
            if line["split"] == "train" and in_dev(Recording(line["audio"], "train", line), dev_share):
                line["split"] = "dev"
    kept = separated(lines)
    base = out.parent.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as draft, draft.open("w", encoding="utf-8") as file:
        for line in kept:
            audio = Path(line["audio"]).resolve()
            told = line | {"audio": os.path.relpath(audio, base), "duration": _duration(audio)}
            file.write(json.dumps(told, ensure_ascii=False) + "\n")
    return Written(dict(Counter(line["split"] for line in kept)), len(lines) - len(kept))


def separated(lines: list[Line]) -> list[Line]:
    """Lines without those whose speaker or source a split before theirs holds: test, dev, then the others."""
    rank = {"test": 0, "dev": 1}
    first: dict[tuple[str, str], int] = {}
    for line in lines:
        for name in _who(line):
            first[name] = min(first.get(name, 2), rank.get(line["split"], 2))
    return [line for line in lines if all(first[name] == rank.get(line["split"], 2) for name in _who(line))]


def _who(line: Line) -> list[tuple[str, str]]:
    return [(key, str(line[key])) for key in ("speaker", "recording") if line.get(key)]


def target_of(name: str) -> str:
    """AP20-OLR's dialect by any of its names; any other language by its own, in small letters."""
    small = name.lower()
    return next((target for target, names in TARGETS.items() if small in names), small)


def _rows(path: Path) -> list[dict[str, str]]:
    """A list of Common Voice's; none if there is no such file."""
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from None
    for number, row in enumerate(rows, 2):
        if not (row.get("path") and row.get("client_id")):
            raise ManifestError(f"{path}, line {number}: wants the columns 'path' and 'client_id'")
    return rows


def _task2_split(name: str) -> str | None:
    if name.startswith("train"):
        return "train"
    if "task2" in name or "task_2" in name:
        return next((split for part, split in _TASK2.items() if part in name), None)
    return None


def _pairs(path: Path) -> dict[str, str]:
    """A list of Kaldi's: the first word of a line to the rest of it."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from None
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {pair[0]: pair[1].strip() if len(pair) > 1 else "" for pair in pairs}


def _duration(audio: Path) -> float:
    try:
        return round(float(soundfile.info(audio).duration), 3)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{audio} cannot be read as audio: {error}") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m dialect_id manifest`."""
    parser.add_argument("kind", choices=READERS)
    parser.add_argument("folder", type=Path, help="of the corpus")
    parser.add_argument(
        "out", type=Path, help="the manifest to write: FOLDER/manifest.jsonl of a data folder"
    )
    parser.add_argument(
        "--dev",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="of speakers or sources, if there is no dev part",
    )


def run(args: argparse.Namespace) -> str:
    """Writes it; gives what was done. Raises as `write`."""
    written = write(args.kind, args.folder, args.out, args.dev)
    counts = ", ".join(f"{split} {count}" for split, count in sorted(written.counts.items()))
    left = f"; {written.dropped} left out, in two splits" if written.dropped else ""
    return f"{args.out}: {counts}{left}"
