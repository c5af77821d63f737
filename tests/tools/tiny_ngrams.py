"""Small language models of back-off n-grams, written byte by byte, and looked up in dictionaries."""

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from stapes.tasks.ngrams import CODES, FOLLOWED, HEADER, MAGIC, VERSION, fingerprint

Gram = tuple[int, ...]
Grams = Mapping[Gram, tuple[float, float]]
"""N-gram to log-probability of its last symbol, and log of the back-off that it is as a context."""


def random(seed: int, labels: int, order: int, share: float = 0.5) -> Grams:
    """Every n-gram's context is one too, its suffix need not be. Probabilities do not add up to one."""
    rng = np.random.default_rng(seed)
    grams: dict[Gram, tuple[float, float]] = {}
    contexts: list[Gram] = [()]
    for n in range(1, order + 1):
        grown = []
        for context in contexts:
            for symbol in range(labels):
                if n == 1 or rng.random() < share:
                    gram = (*context, symbol)
                    back_off = float(-rng.integers(0, 200) / 64) if n < order else 0.0
                    grams[gram] = (float(-rng.integers(0, 250) / 32), back_off)
                    grown.append(gram)
        contexts = grown
    followed = {gram[:-1] for gram in grams}
    return {
        gram: (log, off if gram in followed or len(gram) == 1 else 0.0) for gram, (log, off) in grams.items()
    }


def log(grams: Grams, context: Gram, symbol: int) -> float:
    """As an ARPA file is read."""
    if (*context, symbol) in grams:
        return grams[*context, symbol][0]
    return grams.get(context, (0.0, 0.0))[1] + log(grams, context[1:], symbol)


def write(grams: Grams, labels: Sequence[str]) -> bytes:
    """The file; at most CODES different numbers of each kind and length."""
    order = max(map(len, grams))
    levels = [sorted(gram for gram in grams if len(gram) == n) for n in range(1, order + 1)]
    contexts = {gram[:-1] for gram in grams}
    inner = [
        [g for g in level if g in contexts or len(g) == 1] if n < max(order, 2) else []
        for n, level in enumerate(levels, 1)
    ]
    numbers = [*map(len, levels), *map(len, inner)]
    parts: list[list[bytes]] = [[] for _ in range(6)]
    for n in range(2, order + 1):
        level, before = levels[n - 1], inner[n - 2]
        values = sorted({grams[g][0] for g in level})
        offs = sorted({grams[g][1] for g in before})
        symbols = [g[-1] | (FOLLOWED if g in contexts else 0) for g in level]
        columns: tuple[tuple[str, list[float]], ...] = (
            ("<f4", (values + [0.0] * CODES)[:CODES]),
            ("<f4", (offs + [0.0] * CODES)[:CODES]),
            ("<u2", [sum(g[:-1] == c for g in level) for c in before]),
            ("<u2", [float(s) for s in symbols]),
            ("u1", [values.index(grams[g][0]) for g in level]),
            ("u1", [offs.index(grams[g][1]) for g in before]),
        )
        for part, (kind, column) in zip(parts, columns, strict=True):
            part.append(np.array(column, kind).tobytes())
    header = HEADER.pack(MAGIC, VERSION, len(labels), fingerprint(labels), order)
    first = np.array([grams[g][0] for g in levels[0]], "<f4").tobytes()
    body = zlib.compress(first + b"".join(map(b"".join, parts)))
    return header + struct.pack(f"<{len(numbers)}I", *numbers) + body
