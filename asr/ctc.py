"""Text from the CTC head's posteriors, step by step."""

import torch
from torch import Tensor

from asr.vocabulary import PAD


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
