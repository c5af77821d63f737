"""Masked prediction, HuBERT's own task (arXiv 2106.07447): hidden spans' units are guessed."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.distill.losses import valid
from asr.distill.units import likeness
from training.encoder.network import Encoder
from training.encoder.spec import EncoderSpec


def spans(
    lengths: NDArray[np.int64], chance: float, span: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which frames are hidden.

    Args:
        lengths: (batch,) frames of each recording.
        chance: that a frame begins a span; spans may overlap.
        span: frames of one.
        rng: draws.

    Returns:
        (batch, most frames), True where hidden; at least one span each, wherever one fits.
    """
    hidden = np.zeros((len(lengths), int(lengths.max())), bool)
    for row, length in zip(hidden, lengths, strict=True):
        places = max(1, int(length) - span + 1)
        count = max(1, int(chance * length + rng.random()))
        for start in rng.choice(places, min(count, places), replace=False):
            row[start : min(start + span, length)] = True
    return hidden


class Masked(nn.Module):
    """An encoder, what stands in for hidden frames, and cosines with the embeddings of the units."""

    def __init__(self, spec: EncoderSpec, units: int, embedding: int = 256, tau: float = 0.1) -> None:
        super().__init__()
        self.encoder = Encoder(spec)
        self.hidden = nn.Parameter(torch.rand(spec.width))
        self.project = nn.Linear(spec.width, embedding)
        self.embeddings = nn.Parameter(torch.rand(units, embedding))
        self.tau = tau

    def forward(self, inputs: Tensor, lengths: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, frames, units) logits, and (batch,) frames; `hidden` is (batch, frames)."""
        front, counts = self.encoder.hear(inputs, lengths)
        x = torch.where(hidden[..., None], self.hidden.to(front.dtype), front)
        last = self.encoder.transform(x, counts)[-1]
        return likeness(self.project(last), self.embeddings) / self.tau, counts


def guessed(logits: Tensor, units: Tensor, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy over the hidden frames, and the share of them guessed right."""
    judged = hidden & valid(hidden.shape[1], lengths)
    logits, units = logits.float()[judged], units[judged]
    loss = nn.functional.cross_entropy(logits, units)
    return loss, (logits.argmax(-1) == units).float().mean()
