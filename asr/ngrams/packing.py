"""A pruned model as bytes, as `stapes.tasks.ngrams` reads it: eight bits for each number."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.ngrams.counting import Level
from asr.ngrams.smoothing import NEVER, Floats, Kept, Smoothed
from stapes.tasks.ngrams import CODES, FOLLOWED, HEADER, MAGIC, VERSION, fingerprint, sections, table_bytes


def size(levels: Sequence[Level], kept: Sequence[Kept]) -> int:
    """Bytes of the table, before it is deflated."""
    counts, followed = ([int(each.sum()) for each in masks] for masks in (kept, followed_by(levels, kept)))
    return table_bytes(counts, followed)


def followed_by(levels: Sequence[Level], kept: Sequence[Kept]) -> list[Kept]:
    """Which n-grams of each level are contexts of others; all those of one symbol."""
    found = [np.zeros(len(level), np.bool_) for level in levels]
    found[0][:] = True
    for below, level, keep in zip(found[1:], levels[2:], kept[2:], strict=False):
        below[level.context[keep]] = True
    return found


def pack(
    labels: Sequence[str], levels: Sequence[Level], kept: Sequence[Kept], smoothed: Sequence[Smoothed]
) -> bytes:
    """The file.

    Args:
        labels: symbols of the vocabulary.
        levels: from `count`.
        kept: from `prune`.
        smoothed: from `prune`.

    Raises:
        ValueError: more labels, or more n-grams after one context, than the file can tell.
    """
    masks = followed_by(levels, kept)
    counts, followed = [int(keep.sum()) for keep in kept], [int(mask.sum()) for mask in masks]
    if len(labels) > FOLLOWED:
        raise ValueError(f"a language model has at most {FOLLOWED} labels, got {len(labels)}")
    parts: dict[str, NDArray[Any]] = {"first": np.log(smoothed[0].given)}
    for n in range(2, len(levels) + 1):
        level, keep, now, contexts = levels[n - 1], kept[n - 1], smoothed[n - 1], masks[n - 2]
        context = (np.cumsum(contexts) - 1)[level.context[keep]]
        parts[f"followers {n}"] = np.bincount(context, minlength=followed[n - 2])
        parts[f"symbol {n}"] = level.symbol[keep] | np.where(masks[n - 1][keep], FOLLOWED, 0)
        spread = np.maximum(now.spread[contexts], NEVER)
        parts[f"back-off {n}"], parts[f"back-offs {n}"] = quantised(np.log(spread))
        parts[f"value {n}"], parts[f"values {n}"] = quantised(np.log(now.given[keep]))
        most = int(parts[f"followers {n}"].max(initial=0))
        if most > np.iinfo(np.uint16).max:
            raise ValueError(f"{most} n-grams follow one context, at most {np.iinfo(np.uint16).max} can")
    header = HEADER.pack(MAGIC, VERSION, len(labels), fingerprint(labels), len(counts))
    told = struct.pack(f"<{2 * len(counts)}I", *counts, *followed)
    body = [
        parts[n].astype(np.dtype(kind).newbyteorder("<"))
        for n, (kind, _) in sections(counts, followed).items()
    ]
    return header + told + zlib.compress(b"".join(each.tobytes() for each in body), 9)


def quantised(values: Floats) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Numbers of the nearest of `CODES` values, and these: the means of as many equally full bins."""
    ordered = np.sort(values)
    edges = np.linspace(0, len(ordered), CODES + 1).astype(np.int64)
    sums = np.r_[0.0, np.cumsum(ordered)]
    widths = np.diff(edges)
    means = np.diff(sums[edges]) / np.maximum(widths, 1)
    table = np.unique(means[widths > 0]).astype(np.float32) if len(values) else np.zeros(1, np.float32)
    middles = (table[1:] + table[:-1]) / 2
    codes = np.searchsorted(middles, values).astype(np.uint8)
    return codes, np.r_[table, np.repeat(table[-1:], CODES - len(table))]
