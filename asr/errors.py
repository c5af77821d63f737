"""Word and character error rates."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from asr.vocabulary import UNKNOWN

Unit = Literal["word", "character"]


def distance(wanted: Sequence[object], given: Sequence[object]) -> int:
    """Least number of insertions, deletions and substitutions that make `wanted` of `given`."""
    ids = {symbol: number for number, symbol in enumerate({*wanted, *given})}
    row = np.array([ids[symbol] for symbol in wanted], np.int64)
    costs = np.arange(len(wanted) + 1)
    places = np.arange(len(wanted) + 1)
    for symbol in given:
        best = costs + 1
        best[1:] = np.minimum(best[1:], costs[:-1] + (row != ids[symbol]))
        # A chain of insertions: the least cost of any place before, and one for each place since.
        costs = np.minimum.accumulate(best - places) + places
    return int(costs[-1])


def units(text: str, unit: Unit) -> list[str]:
    """Words, or characters without spaces and without unknown ones (as in arXiv 2008.04481's code)."""
    return text.split() if unit == "word" else [char for char in text if char not in {" ", UNKNOWN}]


def error_rate(wanted: Sequence[str], given: Sequence[str], unit: Unit) -> float:
    """Errors in all texts together for each unit wanted; may exceed 1."""
    errors = sum(distance(units(a, unit), units(b, unit)) for a, b in zip(wanted, given, strict=True))
    return errors / max(1, sum(len(units(text, unit)) for text in wanted))
