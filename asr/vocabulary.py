"""The table between text and ids: characters, or unigram subwords (Kudo 2018, arXiv 1804.10959).

Subwords are learnt by sentencepiece; what it learnt is kept as symbols and scores in one JSON file, and text
is cut by our own Viterbi search. Decoding is a lookup that needs nothing but the symbols.
"""

import argparse
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from asr.text import NORMALISERS
from training.atomic import replacing
from training.utterances import read_manifest

PAD, UNK, L2R, END, R2L = range(5)
"""Ids of the specials: `PAD` is CTC's blank too, `L2R` and `R2L` start the decoder's two directions."""
SPECIALS = ("<pad>", "<unk>", "<l2r>", "</s>", "<r2l>")
SPACE = "▁"
"""Begins a subword at a word's start; by itself, the space between characters."""
UNKNOWN = "*"
"""What `UNK` decodes to, as in the paper's error rate."""
_UNKNOWN_COST = 10.0  # beneath the rarest symbol, as in sentencepiece
_CUTS = 1 << 16
"""Words whose cutting is remembered: text is mostly the same few."""


class VocabularyError(ValueError):
    """A vocabulary that cannot be made or read; the message says why."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Symbols of a recogniser; a symbol's id is its place."""

    symbols: tuple[str, ...]
    """The five `SPECIALS`, then characters or subwords."""
    scores: tuple[float, ...] = ()
    """Natural log-probability of each symbol (0 for specials); empty: the fewest symbols are taken."""
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)
    _longest: int = field(init=False, repr=False, compare=False)
    _cuts: dict[str, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.symbols[:5] != SPECIALS:
            raise VocabularyError(f"a vocabulary begins with {SPECIALS}, not with {self.symbols[:5]}")
        ids = {symbol: number for number, symbol in enumerate(self.symbols) if number >= len(SPECIALS)}
        if len(ids) != len(self.symbols) - len(SPECIALS) or not ids or "" in ids:
            raise VocabularyError(f"{len(self.symbols)} symbols: none, twice the same, or an empty one")
        if self.scores and len(self.scores) != len(self.symbols):
            raise VocabularyError(f"{len(self.symbols)} symbols, but {len(self.scores)} scores")
        object.__setattr__(self, "_ids", ids)
        object.__setattr__(self, "_longest", max(map(len, ids)))
        object.__setattr__(self, "_cuts", {})

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def subwords(self) -> bool:
        """Whether symbols are longer than a character; every word then begins with `SPACE`."""
        return self._longest > 1

    def encode(self, text: str) -> list[int]:
        """Ids of normalised text: the cutting of highest score; characters that no symbol has are `UNK`."""
        words = text.split()
        if self.subwords:
            return [number for word in words for number in self._cut(SPACE + word)]
        # Mandarin's vocabulary has no space, and its text none that is said.
        joined = (SPACE if SPACE in self._ids else "").join(words)
        return [self._ids.get(char, UNK) for char in joined]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; specials say nothing, but `UNK` is `UNKNOWN`.

        Raises:
            VocabularyError: an id that is no symbol's.
        """
        parts = []
        for number in ids:
            if not 0 <= number < len(self.symbols):
                raise VocabularyError(f"id {number}: the vocabulary has 0 to {len(self.symbols) - 1}")
            if number >= len(SPECIALS):
                parts.append(self.symbols[number])
            elif number == UNK:
                parts.append(UNKNOWN)
        return " ".join("".join(parts).replace(SPACE, " ").split())

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        table = {"symbols": self.symbols, "scores": self.scores}
        with replacing(path) as draft:
            draft.write_text(json.dumps(table, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            VocabularyError: the file is missing or holds no vocabulary.
        """
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(map(str, table["symbols"])), tuple(map(float, table["scores"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise VocabularyError(f"{path} holds no vocabulary: {error}") from None

    def _cut(self, word: str) -> tuple[int, ...]:
        if word not in self._cuts:
            if len(self._cuts) >= _CUTS:
                self._cuts.clear()
            scores = self.scores or (-1.0,) * len(self.symbols)
            self._cuts[word] = _viterbi(word, self._ids, self._longest, scores)
        return self._cuts[word]


def _viterbi(word: str, ids: dict[str, int], longest: int, scores: Sequence[float]) -> tuple[int, ...]:
    """The ids of one word's best cutting; runs of unknown characters are one `UNK`, as in sentencepiece."""
    unknown = min(scores) - _UNKNOWN_COST
    best: list[tuple[float, int, int]] = [(0.0, 0, UNK)]  # score, where the last symbol began, its id
    for end in range(1, len(word) + 1):
        start = end - 1
        # As a symbol of one character, or not known at all.
        options = [(best[start][0] + unknown, start, UNK)]
        options += [
            (best[start][0] + scores[number], start, number)
            for start in range(max(end - longest, 0), end)
            if (number := ids.get(word[start:end])) is not None
        ]
        best.append(max(options, key=lambda option: option[0]))
    cut, end = [], len(word)
    while end:
        _, end, number = best[end]
        cut.append(number)
    cut.reverse()
    return tuple(n for before, n in pairwise([-1, *cut]) if not (n == before == UNK))


def characters(texts: Iterable[str], size: int | None = None) -> Vocabulary:
    """Every character of normalised texts, or the `size` − 5 most frequent; `SPACE` where there are spaces.

    Raises:
        VocabularyError: the texts are empty.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text.replace(" ", SPACE))
    ranked = sorted(counts, key=lambda char: (-counts[char], char))
    return Vocabulary((*SPECIALS, *ranked[: None if size is None else max(size - len(SPECIALS), 0)]))


def unigram(texts: Iterable[str], size: int) -> Vocabulary:
    """`size` symbols, specials included, learnt by sentencepiece; every character of the texts is one.

    Args:
        texts: normalised, words with spaces.
        size: of the whole vocabulary.

    Raises:
        VocabularyError: the texts have too few or too many different characters or words for the size.
    """
    import sentencepiece

    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=written,
            model_type="unigram",
            vocab_size=size - len(SPECIALS) + 1,  # its own special is the unknown
            character_coverage=1.0,
            normalization_rule_name="identity",
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise VocabularyError(f"no vocabulary of {size} symbols can be made: {error}") from None
    model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    pieces = range(1, model.get_piece_size())
    return Vocabulary(
        (*SPECIALS, *(model.id_to_piece(number) for number in pieces)),
        (0.0,) * len(SPECIALS) + tuple(model.get_score(number) for number in pieces),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m asr vocabulary`."""
    parser.add_argument(
        "manifests", type=Path, nargs="+", help="folders with a manifest.jsonl, or these files"
    )
    parser.add_argument("out", type=Path, help="the JSON file to write")
    parser.add_argument("--kind", choices=("unigram", "characters"), default="unigram")
    parser.add_argument("--size", type=int, help="symbols, five specials included (unigram: 500)")
    parser.add_argument("--normaliser", choices=tuple(NORMALISERS), default="english")
    parser.add_argument("--splits", default="train", help="whose texts count: train,dev,…")


def run(args: argparse.Namespace) -> str:
    """Makes a vocabulary of the texts of manifests; says what was made."""
    texts = _texts(args.manifests, args.splits.split(","), args.normaliser)
    size = args.size or 500
    vocabulary = unigram(texts, size) if args.kind == "unigram" else characters(texts, args.size)
    vocabulary.save(args.out)
    ids = sum(len(vocabulary.encode(text)) for text in texts)
    return (
        f"{args.out}: {len(vocabulary)} symbols of {len(texts)} texts, "
        f"{ids / max(sum(map(len, texts)), 1):.3f} symbols a character"
    )


def _texts(manifests: Sequence[Path], splits: Sequence[str], normaliser: str) -> list[str]:
    """Normalised texts, none of them empty, of the recordings that have one."""
    normalise = NORMALISERS[normaliser]
    rows: list[Any] = []
    for path in manifests:
        rows += read_manifest(path.parent if path.name == "manifest.jsonl" else path)
    said = (normalise(str(row.fields.get("text", ""))) for row in rows if row.split in splits)
    return [text for text in said if text]
