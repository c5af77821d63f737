"""What training minimises: text in both directions, CTC, a teacher's features. All in float32."""

import torch
from torch import Tensor
from torch.nn import functional as F

from asr.vocabulary import PAD


def two_directions(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """½(L2R + R2L) of arXiv 2008.04481: each stream's label-smoothed cross-entropy, then their mean.

    Args:
        logits: (batch, streams, tokens, symbols); the streams are directions, one or two.
        targets: (batch, streams, tokens) ids, PAD after the end.
        smoothing: probability that is spread over the other symbols, evenly.
    """
    logs = logits.float().log_softmax(-1)
    right = logs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    others = smoothing / (logits.shape[-1] - 1)
    # (1 - ε) of the right one and ε / (V - 1) of each other one.
    losses = -(1 - smoothing - others) * right - others * logs.sum(-1)
    told = targets != PAD
    streams = (losses * told).sum((0, 2)) / told.sum((0, 2)).clamp_min(1)
    return streams.mean()


def ctc(logits: Tensor, steps: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """CTC's negative log-likelihood for each label; recordings too short for their text count nothing.

    Args:
        logits: (batch, steps, symbols); PAD is the blank.
        steps: (batch,) of each.
        labels: (batch, labels) ids.
        counts: (batch,) labels of each.
    """
    logs = logits.float().log_softmax(-1).transpose(0, 1)
    total = F.ctc_loss(logs, labels, steps, counts, blank=PAD, reduction="sum", zero_infinity=True)
    return total / counts.sum().clamp_min(1)


def taught(guesses: Tensor, steps: Tensor, features: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of foretold teacher's features, of mean 0 and deviation 1 each.

    Args:
        guesses: (batch, steps, width).
        steps: (batch,) of each.
        features: (batch, steps, width).
        known: (batch,) bool: recordings whose features are there.
    """
    at = torch.arange(guesses.shape[1], device=steps.device)
    counted = (at < steps[:, None]) & known[:, None]
    errors = (guesses.float() - features).square().mean(-1)
    return (errors * counted).sum() / counted.sum().clamp_min(1)
