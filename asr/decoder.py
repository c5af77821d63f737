"""The decoder: one set of weights writes text forwards and backwards (arXiv 2008.04481)."""

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.attention import GatedFeedForward, SelfAttention, SourceAttention, blocked
from asr.block import Block
from asr.dropout import Dropout
from asr.encoder import EPSILON
from asr.positions import sinusoids


@dataclass(frozen=True, slots=True)
class DecoderSpec:
    """Shape of the decoder; the defaults are STBD's."""

    width: int = 512
    heads: int = 8
    inner: int = 2048
    blocks: int = 4
    """0: no decoder, CTC alone."""
    dropout: float = 0.2
    norm: Literal["post", "pre"] = "post"

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads, or is odd")


class DecoderBlock(Block):
    """Attention to the text so far, attention to the sound, feed-forward."""

    def __init__(self, spec: DecoderSpec, memory: int) -> None:
        super().__init__(pre=spec.norm == "pre")
        self.attention = SelfAttention(spec.width, spec.heads)
        self.attention_norm = nn.LayerNorm(spec.width, EPSILON)
        self.source_attention = SourceAttention(spec.width, spec.heads, memory)
        self.source_norm = nn.LayerNorm(spec.width, EPSILON)
        self.feed_forward = GatedFeedForward(spec.width, spec.inner)
        self.feed_forward_norm = nn.LayerNorm(spec.width, EPSILON)
        self.dropout = Dropout(spec.dropout)

    def forward(self, x: Tensor, source: Tensor, bias: Tensor | None, causal: Tensor) -> Tensor:
        """Whole texts.

        Args:
            x: (batch, streams, tokens, width).
            source: keys and values of the memory, shared by an utterance's streams.
            bias: of `heard`.
            causal: (tokens, tokens), -inf for tokens yet to come.
        """
        y = self.attention(self._before(x, self.attention_norm).flatten(0, 1), causal)
        x = self._after(x, y.view(x.shape), self.attention_norm)
        return self._hear(x, source, bias)

    def step(
        self, x: Tensor, past: Tensor, source: Tensor, bias: Tensor | None, causal: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The next tokens of each stream.

        Args:
            x: (batch, streams, tokens, width).
            past: keys and values, (2, batch · streams, heads, tokens so far, width / heads).
            source: as for `forward`.
            bias: as for `forward`.
            causal: (tokens, tokens so far + tokens), -inf for tokens yet to come; None: there is one token.

        Returns:
            Such an x, and the past with these tokens.
        """
        inside = self._before(x, self.attention_norm).flatten(0, 1)
        y, keys, values = self.attention.stream(inside, past[0], past[1], causal)
        x = self._after(x, y.view(x.shape), self.attention_norm)
        return self._hear(x, source, bias), torch.stack((keys, values))

    def _hear(self, x: Tensor, source: Tensor, bias: Tensor | None) -> Tensor:
        """The rest of the block. No stream sees another: all are queries to the same keys."""
        queries = self._before(x, self.source_norm)
        y = self.source_attention(queries.flatten(1, 2), source, bias).view(x.shape)
        x = self._after(x, y, self.source_norm)
        return self._last(x)


class Decoder(nn.Module):
    """Tokens of several streams an utterance, and its memory, to logits of the next tokens."""

    def __init__(self, spec: DecoderSpec, symbols: int, memory: int) -> None:
        super().__init__()
        self.spec = spec
        # Tied with the softmax, which has no bias. Initial scale, our reading: unit variance after √width.
        self.embedding = nn.Parameter(torch.randn(symbols, spec.width) / math.sqrt(spec.width))
        self.blocks = nn.ModuleList(DecoderBlock(spec, memory) for _ in range(spec.blocks))
        self.norm = nn.LayerNorm(spec.width, EPSILON) if spec.norm == "pre" else nn.Identity()
        self.dropout = Dropout(spec.dropout)

    @property
    def layers(self) -> list[DecoderBlock]:
        """The blocks, with their type."""
        return cast("list[DecoderBlock]", list(self.blocks))

    def forward(self, tokens: Tensor, memory: Tensor, steps: Tensor | None) -> Tensor:
        """Logits of what follows each token.

        Args:
            tokens: (batch, streams, tokens), each stream from its start symbol on.
            memory: (batch, steps, memory width).
            steps: (batch,) steps of each memory. None: all are whole.

        Returns:
            (batch, streams, tokens, symbols)
        """
        at = torch.arange(tokens.shape[2], device=tokens.device)
        x = self.embed(tokens, at)
        bias = heard(memory.shape[1], steps)
        causal = blocked(at[:, None] >= at)
        for block in self.layers:
            x = block(x, block.source_attention.source(memory), bias, causal)
        return F.linear(self.norm(x), self.embedding)

    def source(self, memory: Tensor) -> Tensor:
        """Keys and values of a memory (batch, steps, width), computed once for a whole search.

        Returns:
            (blocks, 2, batch, heads, steps, width / heads)
        """
        return torch.stack([block.source_attention.source(memory) for block in self.layers])

    def start(self, streams: int) -> Tensor:
        """The past before the first token, (blocks, 2, batch · streams, heads, 0, width / heads)."""
        spec = self.spec
        return self.embedding.new_zeros(spec.blocks, 2, streams, spec.heads, 0, spec.width // spec.heads)

    def step(
        self, tokens: Tensor, past: Tensor, source: Tensor, steps: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One token more of each stream, at a cost that does not grow by recomputing those before.

        Args:
            tokens: (batch, streams), the last tokens.
            past: as from `start`, or from the step before.
            source: of `source`.
            steps: (batch,) steps of each memory. None: all are whole.

        Returns:
            logits (batch, streams, symbols), and the next past.
        """
        at = torch.full((1,), past.shape[4], device=tokens.device)
        x = self.embed(tokens.unsqueeze(-1), at)
        bias = heard(source.shape[4], steps)
        kept = []
        for block, mine, heard_before in zip(self.layers, past.unbind(0), source.unbind(0), strict=True):
            x, grown = block.step(x, mine, heard_before, bias)
            kept.append(grown)
        return F.linear(self.norm(x), self.embedding)[:, :, 0], torch.stack(kept)

    def embed(self, tokens: Tensor, at: Tensor) -> Tensor:
        """(batch, streams, tokens) ids at positions (tokens,) to (batch, streams, tokens, width)."""
        x = F.embedding(tokens, self.embedding) * math.sqrt(self.spec.width)
        return torch.as_tensor(self.dropout(x + sinusoids(at, self.spec.width)))


def heard(most: int, steps: Tensor | None) -> Tensor | None:
    """(batch, 1, 1, most): 0 where there is sound, -inf where there is padding. None: sound everywhere."""
    if steps is None:
        return None
    return blocked(torch.arange(most, device=steps.device) < steps[:, None])[:, None, None]
