"""The decoder judges whole texts that CTC found, in both directions at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.batches import streams
from asr.decoder import Decoder
from asr.vocabulary import PAD


@dataclass(frozen=True, slots=True)
class RescoreSpec:
    """How much each judge counts (as in U2++, arXiv 2106.05642, section 2.3)."""

    backwards: float = 0.5
    """Share of the R2L stream in the decoder's judgement."""
    ctc: float = 0.5
    """Added weight of CTC's log-probability."""


@torch.no_grad()
def rescore(
    decoder: Decoder, memory: Tensor, found: Sequence[tuple[tuple[int, ...], float]], spec: RescoreSpec
) -> list[tuple[tuple[int, ...], float]]:
    """Texts in the decoder's order.

    Args:
        decoder: in eval mode.
        memory: (1, steps, width) of one recording.
        found: ids, forwards, and CTC's log-probability of each text.
        spec: weights.

    Returns:
        Ids and new score of each, best first.
    """
    if not found:
        return []
    inputs, targets = streams([ids for ids, _ in found], "both")  # (texts, 2, tokens)
    texts, directions, tokens = inputs.shape
    device = memory.device
    logits = decoder(inputs.view(1, texts * directions, tokens).to(device), memory, None)
    logs = logits.float().log_softmax(-1).view(texts, directions, tokens, -1)
    wanted = targets.to(device)
    told = (logs.gather(-1, wanted.unsqueeze(-1)).squeeze(-1) * (wanted != PAD)).sum(-1)  # (texts, 2)
    shares = told.new_tensor([1 - spec.backwards, spec.backwards])
    scores = told @ shares + spec.ctc * told.new_tensor([score for _, score in found])
    ranked = sorted(zip(found, scores.tolist(), strict=True), key=lambda pair: -pair[1])
    return [(ids, score) for (ids, _), score in ranked]
