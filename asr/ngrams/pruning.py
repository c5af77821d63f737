"""Pruning by relative entropy (Stolcke 1998, "Entropy-based pruning of backoff language models").

How often a context is met is counted in the texts: the lower orders of Kneser-Ney's do not say it (Chelba
and others 2010, "Study on interaction between entropy pruning and Kneser-Ney smoothing"). What remains is
smoothed anew, some times on the way, since what short n-grams have to say depends on which longer ones exist.
"""

from collections.abc import Callable, Sequence

import numpy as np

from asr.ngrams.counting import Level
from asr.ngrams.smoothing import Floats, Kept, Smoothed, discounts, modified, smooth

_STAGES = 3
_HALVINGS = 40
Sizes = Callable[[Sequence[Level], Sequence[Kept]], int]
"""Bytes that kept n-grams take."""


def everything(levels: Sequence[Level]) -> list[Kept]:
    """All n-grams."""
    return [np.ones(len(level), np.bool_) for level in levels]


def prune(levels: Sequence[Level], size: Sizes, most: int) -> tuple[list[Kept], list[Smoothed]]:
    """The n-grams that are worth their bytes, and the probabilities of what is kept.

    Args:
        levels: from `count`.
        size: of the table.
        most: bytes that it may take.
    """
    kept = everything(levels)
    whole = modified(levels, kept)
    taken = [discounts(level, count) for level, count in zip(levels, whole, strict=True)]
    smoothed = smooth(levels, kept, taken)
    first = size(levels, kept)
    for stage in range(1, _STAGES + 1):
        if first <= most:
            break
        wanted = first * (most / first) ** (stage / _STAGES)
        kept = _cut(levels, kept, losses(levels, kept, smoothed), size, wanted)
        smoothed = smooth(levels, kept, taken)
    return kept, smoothed


def losses(levels: Sequence[Level], kept: Sequence[Kept], smoothed: Sequence[Smoothed]) -> list[Floats]:
    """What the model would lose without each n-gram, in nats in all texts together.

    With p the n-gram's probability, q that of its suffix, b what its context leaves to n-grams that are not
    kept, and s and s' the spread with and without it, a context that occurs n times loses
    n (p ln(p / s'q) + b ln(s / s')), less what its other n-grams gain: their suffixes' share of s' - s, to
    first order. Shorter n-grams are taken to stay as they are.
    """
    found = [np.full(len(levels[0]), np.inf)]
    for number in range(1, len(levels)):
        level, keep, now, before = levels[number], kept[number], smoothed[number], smoothed[number - 1]
        p, q = now.given, before.given[level.suffix]
        spread = now.spread[level.context]
        said, shorter = (
            np.bincount(level.context, np.where(keep, each, 0.0), minlength=len(before.given))
            for each in (p, q)
        )
        left = np.maximum(1 - said, 0.0)[level.context]
        own = np.maximum(p - spread * q, 0.0)  # its share of the context's counts, which is let go
        without = spread + own
        gained = own * (shorter[level.context] - q)
        often = levels[number - 1].raw[level.context]
        with np.errstate(divide="ignore", invalid="ignore"):
            lost = often * (p * np.log(p / (without * q)) + left * np.log(spread / without) - gained)
        found.append(np.where(keep, np.nan_to_num(lost, nan=0.0, neginf=0.0), 0.0))
    return found


def _cut(
    levels: Sequence[Level], kept: Sequence[Kept], lost: Sequence[Floats], size: Sizes, most: float
) -> list[Kept]:
    """As many as fit, the dearest; with each n-gram its context."""
    rows = np.concatenate([each[keep] for each, keep in zip(lost[1:], kept[1:], strict=True)])
    low, high = 0.0, float(rows.max(initial=0.0)) + 1.0
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5 if low else high / 1e6
        if size(levels, _above(levels, kept, lost, middle)) > most:
            low = middle
        else:
            high = middle
    return _above(levels, kept, lost, high)


def _above(levels: Sequence[Level], kept: Sequence[Kept], lost: Sequence[Floats], least: float) -> list[Kept]:
    found = [keep & (each >= least) for keep, each in zip(kept, lost, strict=True)]
    for number in range(len(levels) - 1, 1, -1):
        found[number - 1][levels[number].context[found[number]]] = True
    found[0][:] = True
    return found
