"""Loaders of speech corpora: a folder as its makers lay it out in, manifest lines out.

A line is {"audio": absolute path, "text", "speaker", "split", …}; text is as the corpus has it. "split" is
"train" where the corpus does not say more: `asr.manifest` divides that by speaker. Lines whose recording is
not there are left out, so parts of corpora do.
"""

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from training.utterances import ManifestError, read_manifest

Row = dict[str, Any]
Loader = Callable[[Path], Iterator[Row]]

_AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph")
_SPLITS = ("train", "dev", "test")


def librispeech(folder: Path) -> Iterator[Row]:
    """LibriSpeech: <speaker>/<chapter>/<speaker>-<chapter>.trans.txt and FLAC beside it, at any depth."""
    for table in sorted(folder.rglob("*.trans.txt")):
        for line in _lines(table):
            name, _, text = line.partition(" ")
            audio = table.parent / f"{name}.flac"
            if audio.is_file():
                yield {"audio": audio, "text": text, "speaker": name.split("-")[0], "split": "train"}


def aishell(folder: Path) -> Iterator[Row]:
    """AISHELL-1: wav/<split>/<speaker>/*.wav and transcript/aishell_transcript_v0.8.txt; its own splits."""
    texts = dict(
        line.split(maxsplit=1)
        for table in sorted((folder / "transcript").glob("aishell_transcript*.txt"))
        for line in _lines(table)
        if " " in line
    )
    for audio in sorted((folder / "wav").rglob("*.wav")):
        split, speaker = audio.relative_to(folder / "wav").parts[:2]
        # The corpus has recordings without a transcript.
        if audio.stem in texts and split in _SPLITS:
            text = texts[audio.stem].replace(" ", "")
            yield {"audio": audio, "text": text, "speaker": speaker, "split": split}


def common_voice(folder: Path) -> Iterator[Row]:
    """Common Voice: a language's folder with *.tsv and clips/, or a folder of several languages'.

    Official train, dev and test parts are kept. What validated.tsv has beyond them is for training, unless
    its speaker is in dev or test. Clips that voters refused (invalidated.tsv) are left out.
    """
    if not (folder / "clips").is_dir():
        for language in sorted(path.parent for path in folder.glob("*/clips")):
            yield from common_voice(language)
        return
    seen: set[str] = set()
    kept: set[str] = set()
    for split, table in [*((split, f"{split}.tsv") for split in _SPLITS), ("train", "validated.tsv")]:
        for line in _table(folder / table):
            name, speaker = line["path"], line["client_id"]
            audio = folder / "clips" / name
            # Tables of the first releases have no suffix.
            audio = audio if audio.suffix else audio.with_suffix(".mp3")
            if name in seen or (table == "validated.tsv" and speaker in kept) or not audio.is_file():
                continue
            seen.add(name)
            if split != "train":
                kept.add(speaker)
            # The ids are 128 hex digits; the first 16 tell millions of speakers apart.
            row: Row = {"audio": audio, "text": line["sentence"], "speaker": speaker[:16], "split": split}
            row["language"] = line.get("locale") or folder.name
            if accent := line.get("accents") or line.get("accent"):
                row["accent"] = accent
            yield row


def an4(folder: Path) -> Iterator[Row]:
    """CMU AN4: etc/an4_{train,test}.{fileids,transcription} and wav/, its own train and test speakers."""
    for split in ("train", "test"):
        table = folder / "etc" / f"an4_{split}.transcription"
        for line in _lines(table) if table.is_file() else ():
            if (match := re.fullmatch(r"(.*)\((\S+)\)\s*", line)) is None:
                raise ManifestError(f"{table}: no file's name in {line!r}")
            text, name = re.sub(r"</?s>", "", match[1]).strip(), match[2]
            for audio in sorted(folder.glob(f"wav/*/*/{name}.*")):
                if audio.suffix.lower() in _AUDIO:
                    yield {"audio": audio, "text": text, "speaker": audio.parent.name, "split": split}
                    break


def beside(folder: Path) -> Iterator[Row]:
    """A text file beside each recording (CMU Arctic's prompts and other readers'); a folder is a speaker."""
    for audio in _audio(folder):
        if (text := audio.with_suffix(".txt")).is_file():
            said = " ".join(_lines(text))
            yield {"audio": audio, "text": said, "speaker": audio.parent.name, "split": "train"}


def plain(folder: Path) -> Iterator[Row]:
    """A folder with a manifest.jsonl: its lines, with all their keys."""
    for recording in read_manifest(folder):
        yield {**recording.fields, "audio": recording.audio, "split": recording.split}


def unlabelled(folder: Path) -> Iterator[Row]:
    """Every recording under a folder, without text: for pseudo-labels."""
    for audio in _audio(folder):
        yield {"audio": audio, "split": "train"}


LOADERS: dict[str, Loader] = {
    "librispeech": librispeech,
    "aishell": aishell,
    "common_voice": common_voice,
    "an4": an4,
    "beside": beside,
    "plain": plain,
    "unlabelled": unlabelled,
}
"""By the name that the command line uses."""


def _audio(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _AUDIO and path.is_file())


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _table(path: Path) -> list[dict[str, str]]:
    """Rows of a table with tabs, in which quotation marks are plain characters; none if it is missing."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
