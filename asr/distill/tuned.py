"""An encoder that learns on with a task, under a linear map: its weights, and if it compresses its rate."""

import torch
from torch import Tensor, nn

from asr.distill.losses import valid
from training.encoder import cif
from training.encoder.network import Encoder

_HASTE = 20.0
"""At a learning rate of 0.001 AdamW then needs some hundred steps from 30 to 60 ms, not thousands."""


class Rate(nn.Module):
    """λ in (0, 1), held or learned: σ(`_HASTE` · a number), so that it moves faster than weights do."""

    def __init__(self, period_ms: float, *, learned: bool) -> None:
        super().__init__()
        first = torch.tensor(cif.rate_of(period_ms))
        if learned:
            first = first.clamp(1e-3, 1 - 1e-3).logit() / _HASTE
        self.learned, self.number = learned, nn.Parameter(first, requires_grad=learned)

    def forward(self) -> Tensor:
        """A scalar."""
        return (_HASTE * self.number).sigmoid() if self.learned else self.number


class Tuned(nn.Module):
    """An encoder and a linear map of its last layer: of each frame for texts, of their mean for labels."""

    def __init__(self, encoder: Encoder, outputs: int, *, text: bool, rate: Rate | None = None) -> None:
        super().__init__()
        self.encoder, self.text, self.rate = encoder, text, rate
        self.out = nn.Linear(encoder.spec.width, outputs)

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, frames, outputs) or (batch, outputs) logits, (batch,) frames, the share that is kept."""
        rate = self.rate() if self.rate else None
        encoded = self.encoder(inputs, lengths, rate)
        last, kept = encoded.states[-1], encoded.states[-1].new_ones(())
        if rate is not None:
            kept = cif.controlled(encoded.alpha, rate)[encoded.weights.sum(1) > 0].mean()
        if not self.text:
            known = valid(last.shape[1], encoded.lengths)[..., None]
            last = (last * known).sum(1) / encoded.lengths.clamp_min(1)[:, None]
        return self.out(last), encoded.lengths, kept
