"""Counts of the n-grams of symbols in texts, all lengths, by sorting.

N-grams of one length are a `Level`: arrays in order of context and symbol, where the context is the place of
an n-gram in the level before. So no n-gram is ever spelled out, and neither order nor vocabulary is limited
by the bits of a key.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asr.vocabulary import END, L2R

Ints = NDArray[np.int64]
_DENSE = 1 << 25
"""Keys below this are counted by their value, which is quicker than sorting them."""
_NONE = -1


@dataclass(frozen=True, slots=True)
class Level:
    """N-grams of one length. Those of length one are all symbols, whether they occur or not."""

    context: Ints
    """Place of each one's context in the level before."""
    symbol: Ints
    """The last of each."""
    suffix: Ints
    """Place in the level before of each without its first symbol."""
    raw: Ints
    """How often each occurs."""
    alone: Ints
    """Occurrences of each that no n-gram of the next level has as its end: there is no symbol before, or the
    longer n-gram is too rare to be kept."""
    rare: Ints
    """For each n-gram of the level before, occurrences of those after it that are not kept here."""
    rarest: int
    """Of those not kept: all together."""

    def __len__(self) -> int:
        return len(self.symbol)


def corpus(texts: Iterable[Sequence[int]]) -> NDArray[np.uint16]:
    """Ids of texts, each between `L2R` and `END`, end to end."""
    joined = array("H")
    for text in texts:
        joined.append(L2R)
        joined.extend(text)
        joined.append(END)
    return np.frombuffer(joined, np.uint16) if joined else np.zeros(0, np.uint16)


def count(tokens: NDArray[np.uint16], labels: int, order: int, least: int = 1) -> list[Level]:
    """All n-grams of 1 to `order` symbols.

    Args:
        tokens: from `corpus`; an n-gram lies within one text and may begin with its `L2R`.
        labels: symbols of the vocabulary.
        order: symbols of the longest.
        least: n-grams of three and more symbols that occur less often are not kept.
    """
    count_of = len(tokens)
    places = tokens.astype(np.int32)  # of the n-gram that ends at each token, in its level
    depth = _depths(tokens)
    symbols = np.arange(labels)
    zeros = np.zeros(labels, np.int64)
    levels = [Level(zeros, symbols, zeros, np.bincount(places, minlength=labels), zeros, zeros, 0)]
    for length in range(2, order + 1):
        before = levels[-1]
        at = np.flatnonzero(depth >= length - 1)  # tokens with so many before them in their text
        at = at[places[at - 1] != _NONE]
        keys = places[at - 1].astype(np.int64) * labels + tokens[at]
        found, number = _numbered(keys, len(before) * labels, least if length > 2 else 1)
        kept = number != _NONE
        context, symbol = np.divmod(found, labels)
        suffix = np.zeros(len(found), np.int64)
        suffix[number[kept]] = places[at[kept]]
        raw = np.bincount(number[kept], minlength=len(found))
        rare = np.bincount(places[at[~kept] - 1], minlength=len(before))
        following = np.full(count_of, _NONE, np.int32)
        following[at[kept]] = number[kept]
        predicted = (following == _NONE) & (places != _NONE) & (depth > 0)
        alone = np.bincount(places[predicted], minlength=len(before))
        levels[-1] = replace(before, alone=alone)
        rarest = int((depth >= length - 1).sum() - kept.sum())
        levels.append(Level(context, symbol, suffix, raw, np.zeros(0, np.int64), rare, rarest))
        places = following
    levels[-1] = replace(levels[-1], alone=levels[-1].raw)
    return levels


def _depths(tokens: NDArray[np.uint16]) -> NDArray[np.int32]:
    """How many tokens of its text are before each."""
    at = np.arange(len(tokens), dtype=np.int32)
    starts = np.where(tokens == L2R, at, np.int32(0))
    return at - np.maximum.accumulate(starts)


def _numbered(keys: Ints, limit: int, least: int) -> tuple[Ints, NDArray[np.int32]]:
    """Different keys that occur often enough, ascending, and the number of each key's among them or _NONE."""
    if limit <= _DENSE:
        counts = np.bincount(keys, minlength=1)
        found = np.flatnonzero(counts >= least)
        numbers = np.full(len(counts), _NONE, np.int32)
        numbers[found] = np.arange(len(found), dtype=np.int32)
        return found, numbers[keys]
    order = np.argsort(keys)
    ordered = keys[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[first, len(ordered)])
    often = lengths >= least
    names = np.where(often, np.cumsum(often) - 1, _NONE).astype(np.int32)
    numbers = np.empty(len(keys), np.int32)
    numbers[order] = np.repeat(names, lengths)
    return ordered[first[often]], numbers
