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
from stapes.tasks.ngrams import Ngrams, States
from stapes.tasks.symbols import BLANK, END

_NOTHING = -math.inf
Ids = tuple[int, ...]
Logs = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fusion:
    """A language model, and how much it counts."""

    ngrams: Ngrams
    weight: float
    bonus: float
    """For each symbol, in nats: without it short texts win."""

    def rows(self, states: States) -> NDArray[np.float32]:
        """(texts, labels), what each next symbol adds; the end has no bonus."""
        rows = self.ngrams.rows(states) * np.float32(self.weight) + np.float32(self.bonus)
        rows[:, END] -= np.float32(self.bonus)
        return rows


@dataclass(slots=True)
class _Text:
    """What of a prefix does not depend on alignments."""

    ids: Ids
    match: Match
    told: float
    """By the language model, of all symbols."""
    state: States
    """(1, order - 1) of the language model; while `row` is not known, that without the last symbol."""
    row: NDArray[np.float32] | None = None
    """(labels,), what each next symbol adds by the language model; None: nobody asked yet."""


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
        first = _Text((), Match(), 0.0, fusion.ngrams.start if fusion else np.zeros((1, 0), np.int64))
        if fusion:
            first.row = fusion.rows(first.state)[0]
        self._texts = [first]
        """Best first."""
        self._blank, self._symbol = np.zeros(1), np.full(1, _NOTHING)
        """Log-probabilities of each one's alignments that end in a blank, and of those that do not."""

    @property
    def best(self) -> Ids:
        """The text that ranks first."""
        return self._texts[0].ids

    def push(self, logs: Logs) -> None:
        """The natural log-posteriors (labels,) of the next step."""
        n = min(self._tokens, len(logs))
        likely = np.argpartition(logs, -n)[-n:]
        likely = likely[logs[likely] >= min(self._least, float(logs.max()))]
        heard = np.full(len(logs), _NOTHING)
        heard[likely] = logs[likely]
        both = np.logaddexp(self._blank, self._symbol)
        last = np.array([text.ids[-1] if text.ids else BLANK for text in self._texts])
        symbols = likely[likely != BLANK]
        if not len(symbols):
            self._blank, self._symbol = both + heard[BLANK], np.full(len(both), _NOTHING)
            return
        blank, symbol = both + heard[BLANK], np.where(last == BLANK, _NOTHING, self._symbol + heard[last])
        # Only over a blank is a symbol said twice.
        grown = np.where(symbols == last[:, None], self._blank[:, None], both[:, None]) + heard[symbols]
        self._merge(symbols, last, symbol, grown)
        self._choose(symbols, blank, symbol, grown)

    def found(self) -> list[tuple[Ids, float]]:
        """Ids and score of each text, best first.

        The score is the log-probability, what the language model says of the text and of its end, and the
        bonus of complete hotwords.
        """
        ends = self._added(np.array([END]))[:, 0]
        logs = np.logaddexp(self._blank, self._symbol) + ends
        scored = [
            (text.ids, log + text.told + self._hotwords.last(text.match))
            for text, log in zip(self._texts, logs.tolist(), strict=True)
        ]
        return sorted(scored, key=lambda one: -one[1])

    def _merge(self, symbols: NDArray[np.int64], last: NDArray[np.int64], symbol: Logs, grown: Logs) -> None:
        """Texts that grow into others of the beam are these."""
        column = {number: place for place, number in enumerate(symbols.tolist())}
        place_of = {text.ids: place for place, text in enumerate(self._texts)}
        for place, (text, number) in enumerate(zip(self._texts, last.tolist(), strict=True)):
            parent, at = place_of.get(text.ids[:-1]), column.get(number)
            if text.ids and parent is not None and at is not None:
                symbol[place] = np.logaddexp(symbol[place], grown[parent, at])
                grown[parent, at] = _NOTHING

    def _choose(self, symbols: NDArray[np.int64], blank: Logs, symbol: Logs, grown: Logs) -> None:
        """The best of the beam's texts as they are and of those (texts, symbols) that they grow into."""
        texts = self._texts
        told = np.array([text.told for text in texts])
        bonus = np.array([text.match.bonus for text in texts])
        told_grown = told[:, None] + self._added(symbols)
        matches: dict[tuple[int, int], Match] = {}
        bonus_grown = np.repeat(bonus[:, None], len(symbols), axis=1)
        if self._hotwords:
            for row, at in np.argwhere(grown > _NOTHING).tolist():
                match = self._hotwords.after(texts[row].match, self._labels[symbols[at]])
                matches[row, at], bonus_grown[row, at] = match, match.bonus
        ranks = np.r_[np.logaddexp(blank, symbol) + told + bonus, (grown + told_grown + bonus_grown).ravel()]
        chosen = _largest(ranks, self._beam)
        self._texts, logs = [], []
        for place in chosen.tolist():
            if place < len(texts):
                self._texts.append(texts[place])
                logs.append((blank[place], symbol[place]))
            else:
                row, at = divmod(place - len(texts), len(symbols))
                text, number = texts[row], int(symbols[at])
                match = matches.get((row, at), text.match)
                self._texts.append(_Text((*text.ids, number), match, float(told_grown[row, at]), text.state))
                logs.append((_NOTHING, grown[row, at]))
        self._blank, self._symbol = np.array(logs).T

    def _added(self, symbols: NDArray[np.int64]) -> Logs:
        """(texts, symbols), what the language model says of symbols after the beam's texts."""
        if self._fusion is None:
            return np.zeros((len(self._texts), len(symbols)))
        new = [text for text in self._texts if text.row is None]
        if new:
            states, written = np.concatenate([text.state for text in new]), [text.ids[-1] for text in new]
            states = self._fusion.ngrams.after(states, np.array(written))
            for place, (text, row) in enumerate(zip(new, self._fusion.rows(states), strict=True)):
                text.state, text.row = states[place : place + 1], row
        return np.array([text.row[symbols] for text in self._texts if text.row is not None], np.float64)


def _largest(values: Logs, count: int) -> NDArray[np.int64]:
    """Places of the `count` largest values, no log 0, largest first, of equal ones the first first."""
    least = np.partition(values, -count)[-count] if len(values) > count else _NOTHING
    some = np.flatnonzero((values >= least) & (values > _NOTHING))
    return some[np.argsort(-values[some], kind="stable")[:count]]
