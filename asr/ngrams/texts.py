"""Texts that a language model learns, normalised: books, transcripts, what generators say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.sentences import command, split_sentences
from asr.spellings import GENERATORS, Rng
from asr.text import NORMALISERS, english
from training.utterances import ManifestError, read_manifest

RUN = 8
"""So many words in a row are no accident..."""
RUNS = 2
"""...if those of so many transcripts are in one file."""
_TOLD = 5
"""A transcript of fewer words is anybody's."""
_WORDS = 12
"""Sentences are put together until a text has so many words, as those of recordings are."""
_COMMANDS = 0.2
"""Of what generators say."""


class LanguageTextError(ValueError):
    """A source of texts that is not there, or has none; the message names it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where texts come from."""

    path: Path
    """A .txt file, a folder of them, or a folder with a manifest.jsonl, of which the train part counts."""
    weight: float = 1.0
    """How often each text counts; of less than one, that share of the texts."""

    @classmethod
    def parse(cls, text: str) -> "Source":
        """PATH or PATH:WEIGHT."""
        path, colon, weight = text.rpartition(":")
        try:
            return cls(Path(path), float(weight)) if colon else cls(Path(text))
        except ValueError:
            return cls(Path(text))

    def files(self) -> list[Path]:
        """The files of it, in order.

        Raises:
            LanguageTextError: there are none.
        """
        manifest = self.path / "manifest.jsonl"
        if self.path.is_dir() and not manifest.is_file():
            found = sorted(self.path.glob("*.txt"))
        else:
            found = [path for path in (manifest, self.path) if path.is_file()][:1]
        if not found:
            raise LanguageTextError(
                f"no texts: {self.path} is no file, and has no *.txt and no manifest.jsonl"
            )
        return found


class Withheld:
    """Transcripts that a language model must not know."""

    def __init__(self, transcripts: Sequence[str]) -> None:
        self._whole = {text for text in transcripts if len(text.split()) >= _TOLD}
        self._numbers: dict[str, int] = {}
        hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for number, text in enumerate(transcripts):
            hashes.append(self._runs(text.split()))
            owners.append(np.full(len(hashes[-1]), number))
        order = np.argsort(np.concatenate(hashes))
        self._hashes, self._owners = np.concatenate(hashes)[order], np.concatenate(owners)[order]

    def leaks(self, texts: Sequence[str]) -> bool:
        """Whether what stands in one file holds runs of several transcripts."""
        if not len(self._hashes):
            return False
        runs = self._runs([word for text in texts for word in text.split()])
        at = np.minimum(np.searchsorted(self._hashes, runs), len(self._hashes) - 1)
        return len(np.unique(self._owners[at[self._hashes[at] == runs]])) >= RUNS

    def __contains__(self, text: str) -> bool:
        return text in self._whole

    def _runs(self, words: Sequence[str]) -> NDArray[np.uint64]:
        """A hash of each RUN words in a row."""
        numbers = self._numbers
        ids = np.array([numbers.setdefault(word, len(numbers) + 1) for word in words], np.uint64)
        found = np.zeros(max(0, len(ids) - RUN + 1), np.uint64)
        for place in range(RUN):
            found = found * np.uint64(0x9E3779B97F4A7C15) + ids[place : place + len(found)]
        return found


def transcripts(
    folders: Sequence[Path], splits: Sequence[str] = (), normaliser: str = "english"
) -> list[str]:
    """Normalised texts of manifests.

    Args:
        folders: each with a manifest.jsonl.
        splits: that count; none: all.
        normaliser: key of `NORMALISERS`.

    Raises:
        ManifestError: a folder has no manifest, or no text.
    """
    found = []
    for folder in folders:
        texts = _of_manifest(folder, splits, normaliser)
        if not texts:
            raise ManifestError(f"{folder}: no text of split {', '.join(splits) or 'any'}")
        found += texts
    return found


def _of_manifest(folder: Path, splits: Sequence[str], normaliser: str) -> list[str]:
    rows = [row for row in read_manifest(folder) if not splits or row.split in splits]
    return [text for row in rows if (text := NORMALISERS[normaliser](str(row.fields.get("text", ""))))]


def read(path: Path, normaliser: str = "english") -> list[str]:
    """Normalised texts of a file: the train part of a manifest, or a few sentences each of a .txt file.

    Paragraphs stand between empty lines; in a file without empty lines each line is one.
    """
    if path.name == "manifest.jsonl":
        return _of_manifest(path.parent, ["train"], normaliser)
    text = path.read_text(encoding="utf-8", errors="replace").replace("\r", "")
    paragraphs = text.split("\n\n") if "\n\n" in text else text.split("\n")
    found = [each for paragraph in paragraphs for each in _grouped(paragraph, normaliser)]
    return [text for text in found if text]


def _grouped(paragraph: str, normaliser: str) -> Iterator[str]:
    normalise, together = NORMALISERS[normaliser], list[str]()
    for sentence in split_sentences(paragraph):
        together += normalise(sentence).split()
        if len(together) >= _WORDS:
            yield " ".join(together)
            together = []
    if together:
        yield " ".join(together)


def generated(count: int, seed: int = 0) -> Iterator[str]:
    """What people dictate, spell and order, by `asr.spellings` and `asr.sentences`."""
    rng = np.random.default_rng(seed)
    kinds = [make for make, _ in GENERATORS.values()]
    odds = np.array([share for _, share in GENERATORS.values()])
    drawn: list[int] = rng.choice(len(kinds), count, p=odds / odds.sum()).tolist()
    for number in drawn:
        make = command if rng.random() < _COMMANDS else kinds[number]
        yield english(make(rng))


def weighted(texts: Sequence[str], weight: float, rng: Rng) -> list[str]:
    """Texts as often as they count."""
    whole = int(weight)
    extra = np.flatnonzero(rng.random(len(texts)) < weight - whole).tolist()
    return [*list(texts) * whole, *(texts[number] for number in extra)]
