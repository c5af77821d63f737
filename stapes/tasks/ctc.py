"""Text from CTC posteriors, step by step: prefix beam search (arXiv 1408.2873, algorithm 1).

A language model, if there is one, joins in as the paper has it: its weighted log-probability and a bonus for
each symbol are added when a prefix grows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stapes.tasks.hotwords import Hotwords, Match
from stapes.tasks.ngrams import Ngrams, State
from stapes.tasks.symbols import BLANK, END

_NOTHING = -math.inf
Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fusion:
    """A language model, and how much it counts."""

    ngrams: Ngrams
    weight: float
    bonus: float
    """For each symbol, in nats: without it short texts win."""

    def row(self, state: State) -> NDArray[np.float32]:
        """(labels,) what each next symbol adds; the end has no bonus."""
        row = self.ngrams.row(state) * np.float32(self.weight) + np.float32(self.bonus)
        row[END] -= np.float32(self.bonus)
        return row


@dataclass(slots=True)
class _Text:
    """What of a prefix does not depend on alignments."""

    match: Match
    told: float = 0.0
    """By the language model, of all symbols."""
    before: State = ()
    """Of the language model, without the last symbol."""
    following: tuple[State, NDArray[np.float32]] | None = None
    """Of the language model: the state, and what each next symbol adds; None: nobody asked yet."""


@dataclass(slots=True)
class _Prefix:
    """A text so far: log-probabilities of the alignments that end in a blank, and of those that do not."""

    blank: float
    symbol: float
    text: _Text

    @property
    def log(self) -> float:
        """Of both together."""
        return log_sum(self.blank, self.symbol)

    @property
    def rank(self) -> float:
        """With all that is said of the text."""
        return self.log + self.text.told + self.text.match.bonus


class PrefixBeam:
    """The likeliest texts of posteriors heard so far, each the sum of all its alignments."""

    def __init__(
        self,
        labels: Sequence[str],
        hotwords: Hotwords,
        beam: int = 8,
        tokens: int = 20,
        least: float = 1e-4,
        *,
        fusion: Fusion | None = None,
    ) -> None:
        """Nothing heard.

        Args:
            labels: all symbols; that of BLANK says nothing.
            hotwords: phrases that raise a prefix's rank.
            beam: prefixes kept after each step.
            tokens: likeliest symbols of each step that are looked at...
            least: ...if their posterior is not below this. Most steps then have one, the blank.
            fusion: a language model; None: CTC alone.
        """
        self._labels, self._hotwords, self._fusion = labels, hotwords, fusion
        self._beam, self._tokens, self._least = beam, tokens, math.log(least) if least else _NOTHING
        self._prefixes: dict[Ids, _Prefix] = {(): _Prefix(0.0, _NOTHING, _Text(Match()))}

    @property
    def best(self) -> Ids:
        """The text that ranks first."""
        return next(iter(self._prefixes))

    def push(self, logs: NDArray[np.float64]) -> None:
        """The natural log-posteriors (labels,) of the next step."""
        n = min(self._tokens, len(logs))
        likely = np.argpartition(logs, -n)[-n:]
        likely = likely[logs[likely] >= min(self._least, float(logs.max()))]
        steps = list(zip(likely.tolist(), logs[likely].tolist(), strict=True))
        grown: dict[Ids, _Prefix] = {}
        for ids, prefix in self._prefixes.items():
            both = prefix.log
            for number, log in steps:
                if number == BLANK:
                    self._add(grown, ids, prefix.text, both + log, _NOTHING)
                elif ids and number == ids[-1]:
                    self._add(grown, ids, prefix.text, _NOTHING, prefix.symbol + log)
                    self._extend(grown, ids, prefix, number, prefix.blank + log)
                else:
                    self._extend(grown, ids, prefix, number, both + log)
        ranked = sorted(grown.items(), key=lambda item: -item[1].rank)
        self._prefixes = dict(ranked[: self._beam])

    def found(self) -> list[tuple[Ids, float]]:
        """Ids and score of each text, best first.

        The score is the log-probability, what the language model says of the text and of its end, and the
        bonus of complete hotwords.
        """
        scored = [(ids, p.log + self._ended(ids, p.text)) for ids, p in self._prefixes.items()]
        return sorted(scored, key=lambda one: -one[1])

    def _extend(self, grown: dict[Ids, _Prefix], ids: Ids, prefix: _Prefix, number: int, log: float) -> None:
        if log == _NOTHING:
            return  # a repetition that no blank divides
        longer = (*ids, number)
        known = grown.get(longer) or self._prefixes.get(longer)
        text = known.text if known else self._longer(ids, prefix.text, number)
        self._add(grown, longer, text, _NOTHING, log)

    def _longer(self, ids: Ids, text: _Text, number: int) -> _Text:
        match = self._hotwords.after(text.match, self._labels[number])
        if self._fusion is None:
            return _Text(match)
        state, row = self._following(self._fusion, ids, text)
        return _Text(match, text.told + float(row[number]), state)

    def _ended(self, ids: Ids, text: _Text) -> float:
        """What is said of a text that ends here."""
        bonus = self._hotwords.last(text.match)
        if self._fusion is None:
            return bonus
        return bonus + text.told + float(self._following(self._fusion, ids, text)[1][END])

    @staticmethod
    def _following(fusion: Fusion, ids: Ids, text: _Text) -> tuple[State, NDArray[np.float32]]:
        if text.following is None:
            ngrams = fusion.ngrams
            state = ngrams.after(text.before, ids[-1]) if ids else ngrams.start
            text.following = state, fusion.row(state)
        return text.following

    @staticmethod
    def _add(grown: dict[Ids, _Prefix], ids: Ids, text: _Text, blank: float, symbol: float) -> None:
        if blank == symbol == _NOTHING:
            return
        before = grown.get(ids)
        if before is None:
            grown[ids] = _Prefix(blank, symbol, text)
        else:
            before.blank, before.symbol = log_sum(before.blank, blank), log_sum(before.symbol, symbol)


def log_sum(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == _NOTHING else a + math.log1p(math.exp(b - a))
