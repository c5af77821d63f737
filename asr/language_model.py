"""`python -m asr language-model`: texts become a language model of a vocabulary's symbols, for a model file.

Texts are books and whatever else lies in .txt files, transcripts of manifests (their train parts), what the
generators of spellings and commands say, and the free text of Debian packages. `--without` names recordings
that it is to be tested on: a file in which their texts occur is left out whole. `python -m export` and
`python -m asr calibrate` put the result into a model file.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from asr.ngrams.counting import corpus, count
from asr.ngrams.packing import pack, size
from asr.ngrams.pruning import prune
from asr.ngrams.texts import LanguageTextError, Source, Withheld, generated, read, transcripts, weighted
from asr.sentences import free_text
from asr.text import NORMALISERS
from asr.vocabulary import END, Vocabulary
from stapes.tasks.ngrams import Ngrams
from training.atomic import replacing

_LEAST = 2
"""N-grams of three and more symbols that occur less often are never worth their bytes."""
_LONG = 5
"""Words of a text that is learnt once, however often it is in books."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m asr language-model`."""
    parser.add_argument(
        "texts",
        nargs="+",
        type=Source.parse,
        metavar="TEXT[:WEIGHT]",
        help="a .txt file, a folder of them, or a folder with a manifest.jsonl, whose train part counts; "
        "a weight says how often each text counts",
    )
    parser.add_argument("vocabulary", type=Path, help="the JSON file of symbols")
    parser.add_argument("out", type=Path, help="the file to write, such as asr.lm")
    parser.add_argument("--order", type=int, default=6, help="symbols of the longest n-grams")
    parser.add_argument(
        "--size-mb", type=float, default=8.0, help="of the table, 1.6 times its file; more n-grams are pruned"
    )
    parser.add_argument("--generated", type=int, default=0, help="texts that generators say")
    parser.add_argument("--packages", action="store_true", help="free text of installed Debian packages")
    parser.add_argument("--without", nargs="*", default=[], metavar="FOLDER[:SPLIT]", help="of recordings")
    parser.add_argument(
        "--dev", nargs="*", default=[], metavar="FOLDER[:SPLIT]", help="to tell perplexity of"
    )
    parser.add_argument("--normaliser", choices=tuple(NORMALISERS), default="english")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> str:
    """Makes the language model; says what it is.

    Raises:
        LanguageTextError: a source has no texts, or order or size are out of range.
        VocabularyError, ManifestError, TextError: of what they name.
    """
    if not 1 <= args.order <= 16 or not args.size_mb > 0:
        raise LanguageTextError(
            f"order must be 1 to 16 and the size above 0, got {args.order}, {args.size_mb}"
        )
    vocabulary = Vocabulary.load(args.vocabulary)
    dev = {name: _named(name, "dev", args.normaliser) for name in args.dev}
    tests = [text for name in args.without for text in _named(name, "", args.normaliser)]
    learnt = _Learnt(vocabulary, Withheld([*tests, *(text for texts in dev.values() for text in texts)]))
    rng = np.random.default_rng(args.seed)
    files = [(source, path) for source in args.texts for path in source.files()]
    for source, path in tqdm(files, desc="texts", mininterval=5):
        once = path.name != "manifest.jsonl"
        learnt.add(path.stem, read(path, args.normaliser), source.weight, rng, once=once)
    if args.packages:
        normalise = NORMALISERS[args.normaliser]
        for name, lines in free_text().items():
            learnt.add(name, [normalise(line) for line in lines], 1.0, rng, once=True)
    learnt.add("generated", list(generated(args.generated, args.seed)), 1.0, rng, once=False)
    tokens = learnt.tokens()
    if not len(tokens):
        raise LanguageTextError("no text is left to learn")
    levels = count(tokens, len(vocabulary), args.order, _LEAST)
    kept, smoothed = prune(levels, size, round(args.size_mb * 1e6))
    data = pack(vocabulary.symbols, levels, kept, smoothed)
    with replacing(args.out) as draft:
        draft.write_bytes(data)
    ngrams = Ngrams(data, vocabulary.symbols)
    counts = ", ".join(f"{int(each.sum()):,}" for each in kept)
    lines = [
        f"{args.out}: {len(data) / 1e6:.2f} MB, {counts} n-grams of 1 to {args.order} symbols, "
        f"of {len(tokens) / 1e6:.1f} M symbols",
        f"left out: {len(learnt.leaked)} files with texts of tests"
        + f" ({', '.join(learnt.leaked)})" * bool(learnt.leaked),
    ]
    for name, texts in dev.items():
        told = perplexity(ngrams, vocabulary, texts)
        lines.append(f"{name}: perplexity {told.symbols:.2f} of symbols, {told.words:.1f} of words")
    return "\n".join(lines)


@dataclass
class _Learnt:
    """Texts as ids, as they come."""

    vocabulary: Vocabulary
    withheld: Withheld
    leaked: list[str] = field(default_factory=list)
    """Sources that hold texts of tests, which are left out."""
    _parts: list[NDArray[np.uint16]] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def add(
        self, name: str, texts: Sequence[str], weight: float, rng: np.random.Generator, *, once: bool
    ) -> None:
        """Texts of one source; `once`: those that came before do not count again."""
        if once and self.withheld.leaks(texts):
            self.leaked.append(name)
            return
        kept = [text for text in texts if text and text not in self.withheld]
        if once:
            kept = list(self._new(kept))
        self._parts.append(corpus(map(self.vocabulary.encode, weighted(kept, weight, rng))))

    def _new(self, texts: Sequence[str]) -> Iterator[str]:
        for text in texts:
            if text.count(" ") >= _LONG:
                if (key := hash(text)) in self._seen:
                    continue
                self._seen.add(key)
            yield text

    def tokens(self) -> NDArray[np.uint16]:
        """All of them, end to end."""
        return np.concatenate([*self._parts, np.zeros(0, np.uint16)])


@dataclass(frozen=True, slots=True)
class Perplexity:
    """Of texts: how many equally likely ones there might be in place of each, on average."""

    symbols: float
    words: float
    """Of words; the end of a text is one, as it is a symbol."""


def perplexity(ngrams: Ngrams, vocabulary: Vocabulary, texts: Sequence[str]) -> Perplexity:
    """How well a language model foretells texts, at least one.

    Args:
        ngrams: the language model.
        vocabulary: its symbols.
        texts: normalised.
    """
    total, symbols = 0.0, 0
    for text in texts:
        state = ngrams.start
        for symbol in (*vocabulary.encode(text), END):
            total += float(ngrams.rows(state)[0, symbol])
            state = ngrams.after(state, np.array([symbol]))
            symbols += 1
    words = sum(len(text.split()) + 1 for text in texts)
    return Perplexity(exp(-total / symbols), exp(-total / words))


def _named(name: str, usual: str, normaliser: str) -> list[str]:
    """Transcripts of FOLDER or FOLDER:SPLIT."""
    folder, _, split = name.partition(":")
    return transcripts([Path(folder)], list(filter(None, [split or usual])), normaliser)
