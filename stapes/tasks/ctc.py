"""Text from CTC posteriors, step by step: prefix beam search (arXiv 1408.2873, algorithm 1 without LM)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stapes.tasks.hotwords import Hotwords, Match
from stapes.tasks.symbols import BLANK

_NOTHING = -math.inf
Ids = tuple[int, ...]


@dataclass(slots=True)
class _Prefix:
    """A text so far: log-probabilities of the alignments that end in a blank, and of those that do not."""

    blank: float
    symbol: float
    match: Match

    @property
    def log(self) -> float:
        """Of both together."""
        return log_sum(self.blank, self.symbol)


class PrefixBeam:
    """The likeliest texts of posteriors heard so far, each the sum of all its alignments."""

    def __init__(
        self, labels: Sequence[str], hotwords: Hotwords, beam: int = 8, tokens: int = 20, least: float = 1e-4
    ) -> None:
        """Nothing heard.

        Args:
            labels: all symbols; that of BLANK says nothing.
            hotwords: phrases that raise a prefix's rank.
            beam: prefixes kept after each step.
            tokens: likeliest symbols of each step that are looked at...
            least: ...if their posterior is not below this. Most steps then have one, the blank.
        """
        self._labels, self._hotwords = labels, hotwords
        self._beam, self._tokens, self._least = beam, tokens, math.log(least) if least else _NOTHING
        self._prefixes: dict[Ids, _Prefix] = {(): _Prefix(0.0, _NOTHING, Match())}

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
                    self._add(grown, ids, prefix.match, both + log, _NOTHING)
                elif ids and number == ids[-1]:
                    self._add(grown, ids, prefix.match, _NOTHING, prefix.symbol + log)
                    self._extend(grown, ids, prefix, number, prefix.blank + log)
                else:
                    self._extend(grown, ids, prefix, number, both + log)
        ranked = sorted(grown.items(), key=lambda item: -(item[1].log + item[1].match.bonus))
        self._prefixes = dict(ranked[: self._beam])

    def found(self) -> list[tuple[Ids, float]]:
        """Ids and score of each text, best first: log-probability and the bonus of complete hotwords."""
        scored = [(ids, p.log + self._hotwords.last(p.match)) for ids, p in self._prefixes.items()]
        return sorted(scored, key=lambda one: -one[1])

    def _extend(self, grown: dict[Ids, _Prefix], ids: Ids, prefix: _Prefix, number: int, log: float) -> None:
        if log == _NOTHING:
            return  # a repetition that no blank divides
        longer = (*ids, number)
        if longer in grown:
            self._add(grown, longer, prefix.match, _NOTHING, log)
        else:
            match = self._hotwords.after(prefix.match, self._labels[number])
            grown[longer] = _Prefix(_NOTHING, log, match)

    @staticmethod
    def _add(grown: dict[Ids, _Prefix], ids: Ids, match: Match, blank: float, symbol: float) -> None:
        if blank == symbol == _NOTHING:
            return
        before = grown.get(ids)
        if before is None:
            grown[ids] = _Prefix(blank, symbol, match)
        else:
            before.blank, before.symbol = log_sum(before.blank, blank), log_sum(before.symbol, symbol)


def log_sum(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == _NOTHING else a + math.log1p(math.exp(b - a))
