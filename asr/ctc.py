"""Text from the CTC head's posteriors, step by step."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.vocabulary import PAD

Prefix = tuple[int, ...]


def greedy(logits: Tensor, steps: Tensor) -> list[list[int]]:
    """The likeliest symbol of each step, repetitions joined, blanks left out.

    Args:
        logits: (batch, steps, symbols), or their log-softmax.
        steps: (batch,) of each.
    """
    found = []
    for row, count in zip(logits.argmax(-1), steps, strict=True):
        ids = torch.unique_consecutive(row[: int(count)])
        found.append([int(i) for i in ids if int(i) != PAD])
    return found


def beam_search(logs: NDArray[np.float32], beam: int = 8, tokens: int = 20) -> list[tuple[Prefix, float]]:
    """Texts by the sum over all their alignments (prefix beam search, arXiv 1408.2873, algorithm 1, no LM).

    Args:
        logs: (steps, symbols) natural log-probabilities of one recording; PAD is the blank.
        beam: prefixes kept after each step.
        tokens: likeliest symbols of each step that are looked at.

    Returns:
        Ids and log-probability of up to `beam` texts, best first.
    """
    # Of each prefix the log-probability of alignments that end in a blank, and of those that do not.
    prefixes: dict[Prefix, tuple[float, float]] = {(): (0.0, -math.inf)}
    for row in logs:
        likely = np.argpartition(row, -min(tokens, len(row)))[-min(tokens, len(row)) :]
        grown: dict[Prefix, tuple[float, float]] = {}

        for prefix, (blank, symbol) in prefixes.items():
            both = _sum(blank, symbol)
            for number in likely.tolist():
                log = float(row[number])
                if number == PAD:
                    _add(grown, prefix, both + log, -math.inf)
                elif prefix and number == prefix[-1]:
                    _add(grown, prefix, -math.inf, symbol + log)
                    _add(grown, (*prefix, number), -math.inf, blank + log)
                else:
                    _add(grown, (*prefix, number), -math.inf, both + log)
        ranked = sorted(grown.items(), key=lambda item: -_sum(*item[1]))
        prefixes = dict(ranked[:beam])
    return [(prefix, _sum(*parts)) for prefix, parts in prefixes.items()]


def _add(prefixes: dict[Prefix, tuple[float, float]], prefix: Prefix, blank: float, symbol: float) -> None:
    if blank == symbol == -math.inf:
        return  # a repetition that no blank divides
    before = prefixes.get(prefix, (-math.inf, -math.inf))
    prefixes[prefix] = (_sum(before[0], blank), _sum(before[1], symbol))


def _sum(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a == b == -math.inf:
        return -math.inf
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))
