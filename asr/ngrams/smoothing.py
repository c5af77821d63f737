"""Interpolated modified Kneser-Ney smoothing (Chen and Goodman 1998, section 3), of pruned models too.

A lower order counts in how many contexts an n-gram is new, since it is asked only where the higher one knows
nothing. What a pruned n-gram would have said it has to say itself, so each pruned one passes on its whole
count, not one (revised Kneser pruning: Siivola, Hirsimäki and Virpioja 2007, "On growing and pruning
Kneser-Ney smoothed n-gram models").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.ngrams.counting import Level
from asr.vocabulary import END, SPECIALS, UNK

Floats = NDArray[np.float64]
Kept = NDArray[np.bool_]
NEVER = 1e-30
"""Probability of the specials that no text has."""


@dataclass(frozen=True, slots=True)
class Smoothed:
    """Probabilities of one level."""

    given: Floats
    """(n-grams,) of the last symbol after the others; where an n-gram is not kept, by its suffix."""
    spread: Floats
    """(n-grams of the level before,) factor of the shorter n-grams' probabilities, where none is kept 1."""
    history: Floats
    """(n-grams of the level before,) occurrences of each as a context."""


def modified(levels: Sequence[Level], kept: Sequence[Kept]) -> list[Floats]:
    """The counts that probabilities are made of, by level.

    Args:
        levels: from `count`.
        kept: which n-grams of each level are in the model.
    """
    counts: list[Floats] = [levels[-1].raw.astype(np.float64)]
    for level, above, keep in zip(levels[-2::-1], levels[:0:-1], kept[:0:-1], strict=True):
        passed = np.where(keep, 1.0, counts[0])
        counts.insert(0, level.alone + _sums(above.suffix, passed, len(level)))
    return counts


def discounts(level: Level, counts: Floats) -> Floats:
    """What is taken from n-grams that count one, two, and more: (0, D1, D2, D3+).

    Equation 26 of Chen and Goodman. Where it cannot be had, of tiny or made texts: ½, 1, 1½.
    """
    told = np.bincount(np.minimum(counts, 5).astype(np.int64), minlength=6).astype(np.float64)
    ones, twos, threes, fours = told[1] + level.rarest, *told[2:5]
    if min(ones, twos, threes, fours) > 0:
        share = ones / (ones + 2 * twos)
        found = (1 - 2 * share * twos / ones, 2 - 3 * share * threes / twos, 3 - 4 * share * fours / threes)
        if all(0 < each < number for number, each in enumerate(found, 1)):
            return np.array((0.0, *found))
    return np.array((0.0, 0.5, 1.0, 1.5))


def smooth(levels: Sequence[Level], kept: Sequence[Kept], taken: Sequence[Floats]) -> list[Smoothed]:
    """Probabilities of all n-grams.

    Args:
        levels: from `count`.
        kept: which n-grams of each level are in the model; of length one all are, whatever it says.
        taken: `discounts` of each level.
    """
    counts = modified(levels, kept)
    labels = len(levels[0])
    said = np.r_[UNK, END, len(SPECIALS) : labels]  # what a text may go on with
    told = counts[0][said]
    less = told - taken[0][np.minimum(told, 3).astype(np.int64)]
    total = max(told.sum(), 1.0)
    given = np.full(labels, NEVER)
    given[said] = (less + (total - less.sum()) / len(said)) / total
    found = [Smoothed(given, np.ones(1), np.array([total]))]
    for level, count, keep, take in zip(levels[1:], counts[1:], kept[1:], taken[1:], strict=True):
        size = len(found[-1].given)
        history = _sums(level.context, count, size) + level.rare
        less = np.where(keep, count - take[np.minimum(count, 3).astype(np.int64)], 0.0)
        share = less / history[level.context]
        spread = 1 - _sums(level.context, share, size)
        found.append(Smoothed(share + spread[level.context] * found[-1].given[level.suffix], spread, history))
    return found


def _sums(places: NDArray[np.integer[Any]], values: Floats, size: int) -> Floats:
    """(size,) sum of the values of each place."""
    sums: Floats = np.bincount(places, values, minlength=size).astype(np.float64)
    return sums
