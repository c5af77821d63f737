"""How far figures of few recordings can be trusted: 95 % intervals."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""Standard normal quantile of 0.975."""


def wilson(right: int, n: int) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927), for recordings that do not hang together."""
    if not n:
        return 0.0, 1.0
    share, extra = right / n, Z * Z / n
    middle = (share + extra / 2) / (1 + extra)
    half = Z * sqrt(share * (1 - share) / n + extra / (4 * n)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(
    groups: Sequence[Hashable],
    figures: Callable[[NDArray[np.int64]], Mapping[str, float | None]],
    times: int,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of figures, by drawing groups of recordings anew, with replacement.

    Clips of one speaker or source hang together, so a whole group is drawn or not.

    Args:
        groups: of each recording.
        figures: of the recordings with these numbers; those that are None are left out.
        times: draws.
        seed: of the draws.
    """
    names = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    of = np.array([names[group] for group in groups], np.int64)
    members = [np.flatnonzero(of == number) for number in range(len(names))]
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for _ in range(times if members else 0):
        drawn = rng.integers(0, len(members), len(members))
        for name, value in figures(np.concatenate([members[number] for number in drawn])).items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return {
        name: (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975)))
        for name, values in found.items()
    }
