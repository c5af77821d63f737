"""Text from the decoder, token by token."""

import torch
from torch import Tensor

from asr.stbd import Stbd
from asr.vocabulary import END, L2R, PAD, R2L

MOST_TOKENS = 100
"""Of a text, as in arXiv 2008.04481's code."""


@torch.no_grad()
def greedy(net: Stbd, frames: Tensor, lengths: Tensor, start: int = L2R) -> list[list[int]]:
    """The likeliest token at each place, for many recordings at once.

    Args:
        net: with a decoder.
        frames: (batch, frames, mels) log-mel.
        lengths: (batch,) frames of each.
        start: L2R, or R2L to write backwards.

    Returns:
        Ids of each text, forwards, without start and end.
    """
    memory, steps = net.encode(frames, lengths)
    source = net.decoder.source(memory)
    past = net.decoder.start(len(frames))
    tokens = torch.full((len(frames), 1), start, device=frames.device)
    written = []
    ended = torch.zeros_like(tokens, dtype=torch.bool)
    for _ in range(min(memory.shape[1] + 50, MOST_TOKENS)):
        logits, past = net.decoder.step(tokens, past, source, steps)
        logits[..., PAD] = -torch.inf
        tokens = logits.argmax(-1)
        ended |= tokens == END
        written.append(tokens.masked_fill(ended, PAD))
        if bool(ended.all()):
            break
    rows = torch.cat(written, 1).tolist()
    texts = [[i for i in row if i != PAD] for row in rows]
    return [text[::-1] for text in texts] if start == R2L else texts
