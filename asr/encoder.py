"""The encoder: stacked frames to memory, whole, under a chunk mask, or chunk by chunk with caches."""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.attention import GatedFeedForward, SelfAttention, Turn, blocked, glu, linear
from asr.block import Block
from asr.dropout import Dropout
from asr.positions import rotation, sinusoids

EPSILON = 1e-6
"""Of every LayerNorm (arXiv 2008.04481's code)."""


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Shape of the encoder; the defaults are STBD's, and what it has not is off."""

    mels: int = 80
    stack: int = 3
    """Frames joined into a step."""
    width: int = 512
    heads: int = 8
    inner: int = 2048
    """Width inside the feed-forward layers."""
    blocks: int = 8
    dropout: float = 0.2
    norm: Literal["post", "pre"] = "post"
    positions: Literal["sinusoid", "rotary"] = "sinusoid"
    convolution: int = 0
    """Steps that the causal depthwise convolution of each block spans; 0: blocks have none."""
    convolution_norm: Literal["layer", "batch"] = "layer"
    chunk: int = 0
    """Steps that see each other when streaming; 0: the whole recording, it cannot be streamed."""
    left: int = 64
    """Steps before a chunk that its steps see."""
    chunks: tuple[int, ...] = ()
    """Training draws a chunk for each batch from these; none: always `chunk`."""
    whole: float = 0.0
    """Share of training batches that see the whole recording."""

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width // self.heads % 2:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads of even width")
        if self.convolution == 1 or self.convolution < 0:
            raise ValueError(f"convolution must span 2 steps or more, or 0 for none, got {self.convolution}")
        if self.chunk and self.left < 1:
            raise ValueError(f"left must be at least 1 step, got {self.left}")
        if self.whole and not self.chunk:
            raise ValueError("whole is a share of batches without chunks, but chunk is 0")

    @property
    def hop(self) -> int:
        """Frames of one call of `Encoder.stream`."""
        return self.chunk * self.stack


class CausalConvolution(nn.Module):
    """Conformer's convolution module (arXiv 2005.08100, figure 2), looking back only."""

    def __init__(self, width: int, kernel: int, norm: Literal["layer", "batch"]) -> None:
        super().__init__()
        self.past = kernel - 1
        self.enter = linear(width, width, maps=2)
        self.depthwise = nn.Conv1d(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width, EPSILON) if norm == "layer" else nn.BatchNorm1d(width)
        self.out = linear(width, width)

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(batch, steps, width) and past (batch, width, kernel - 1), None: zeros, to such steps and past."""
        gated = glu(self.enter(x)).transpose(1, 2)
        joined = F.pad(gated, (self.past, 0)) if past is None else torch.cat((past, gated), dim=2)
        # As a two-dimensional one: torch on a CPU, with bfloat16, and onnxruntime have faster kernels for it.
        weight, bias = self.depthwise.weight.unsqueeze(2), self.depthwise.bias
        y = F.conv2d(joined.unsqueeze(2), weight, bias, groups=weight.shape[0]).squeeze(
            2
        )  # (batch, width, steps)
        if isinstance(self.norm, nn.BatchNorm1d):
            y = self.norm(y).transpose(1, 2)
        else:
            y = self.norm(y.transpose(1, 2))
        return self.out(F.silu(y)), joined[:, :, -self.past :]


class EncoderBlock(Block):
    """Attention, convolution if wanted, feed-forward; each with residual, norm and dropout."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(pre=spec.norm == "pre")
        self.attention = SelfAttention(spec.width, spec.heads)
        self.attention_norm = nn.LayerNorm(spec.width, EPSILON)
        if spec.convolution:
            self.convolution = CausalConvolution(spec.width, spec.convolution, spec.convolution_norm)
            self.convolution_norm = nn.LayerNorm(spec.width, EPSILON)
        self.feed_forward = GatedFeedForward(spec.width, spec.inner)
        self.feed_forward_norm = nn.LayerNorm(spec.width, EPSILON)
        self.dropout = Dropout(spec.dropout)
        self.has_convolution = spec.convolution > 0

    def forward(self, x: Tensor, bias: Tensor | None, turn: Turn | None) -> Tensor:
        """A whole sequence; see SelfAttention.forward."""
        x = self._after(
            x, self.attention(self._before(x, self.attention_norm), bias, turn), self.attention_norm
        )
        if self.has_convolution:
            y, _ = self.convolution(self._before(x, self.convolution_norm))
            x = self._after(x, y, self.convolution_norm)
        return self._last(x)

    def stream(  # noqa: PLR0917
        self, x: Tensor, keys: Tensor, values: Tensor, past: Tensor | None, bias: Tensor, turn: Turn | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """The next chunk; the caches grow by it, and the convolution's `past` is replaced."""
        y, keys, values = self.attention.stream(
            self._before(x, self.attention_norm), keys, values, bias, turn
        )
        x = self._after(x, y, self.attention_norm)
        if self.has_convolution:
            y, past = self.convolution(self._before(x, self.convolution_norm), past)
            x = self._after(x, y, self.convolution_norm)
        return self._last(x), keys, values, past


class Encoder(nn.Module):
    """Normalised frames to memory."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.enter = linear(spec.stack * spec.mels, spec.width)
        self.enter_norm = nn.LayerNorm(spec.width, EPSILON)
        self.dropout = Dropout(spec.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(spec) for _ in range(spec.blocks))
        self.norm = nn.LayerNorm(spec.width, EPSILON) if spec.norm == "pre" else nn.Identity()

    @property
    def layers(self) -> list[EncoderBlock]:
        """The blocks, with their type."""
        return cast("list[EncoderBlock]", list(self.blocks))

    def draw_chunk(self) -> int:
        """Chunk of a batch: random in training (torch's global generator), else `spec.chunk`; 0: none."""
        if not self.training or not self.spec.chunk:
            return self.spec.chunk
        if float(torch.rand(())) < self.spec.whole:
            return 0
        chunks = self.spec.chunks or (self.spec.chunk,)
        return chunks[int(torch.randint(len(chunks), ()))]

    def forward(
        self, frames: Tensor, lengths: Tensor, chunk: int | None = None
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Whole recordings.

        Args:
            frames: (batch, frames, mels), normalised.
            lengths: (batch,) frames of each; an incomplete stack at the end is dropped.
            chunk: steps that see each other; 0: all. None: `draw_chunk`.

        Returns:
            memory (batch, steps, width), steps of each (batch,), and the output of each block.
        """
        stack = self.spec.stack
        steps = lengths // stack
        most = frames.shape[1] // stack
        x = self._enter(frames[:, : most * stack], torch.arange(most, device=frames.device))
        bias = blocked(visible(most, steps, self.draw_chunk() if chunk is None else chunk, self.spec.left))
        turn = None
        if self.spec.positions == "rotary":
            turn = rotation(0, most, self.spec.width // self.spec.heads, frames.device)
        outputs = []
        for block in self.blocks:
            x = block(x, bias, turn)
            outputs.append(x)
        return self.norm(x), steps, outputs

    def start(self, batch: int) -> tuple[Tensor, ...]:
        """The states before the first chunk: zeros.

        keys and values (batch, blocks, heads, left, width / heads), the convolutions' past
        (batch, blocks, width, kernel - 1) where there are any, and the steps so far (batch, 1).
        """
        spec, like = self.spec, self.enter.weight
        cache = (batch, spec.blocks, spec.heads, spec.left, spec.width // spec.heads)
        states = [like.new_zeros(cache), like.new_zeros(cache)]
        if spec.convolution:
            states.append(like.new_zeros(batch, spec.blocks, spec.width, spec.convolution - 1))
        return *states, like.new_zeros(batch, 1)

    def stream(self, frames: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The next chunk: what `forward` gives under the chunk mask.

        Args:
            frames: (batch, spec.hop, mels), normalised.
            states: as from `start`.

        Returns:
            memory (batch, spec.chunk, width), then the next states.
        """
        spec = self.spec
        keys, values, count = states[0], states[1], states[-1]
        pasts = states[2].unbind(1) if spec.convolution else [None] * spec.blocks
        x = self._enter(frames, count + torch.arange(spec.chunk, device=frames.device))
        # Of the cache, only the last `count` steps have been heard.
        slots = torch.arange(spec.left + spec.chunk, device=frames.device)
        bias = blocked(slots >= spec.left - count)[:, None, None]  # (batch, 1, 1, left + chunk)
        turn = None
        if spec.positions == "rotary":
            turn = rotation(-spec.left, spec.chunk, spec.width // spec.heads, frames.device)
        next_keys, next_values, next_pasts = [], [], []
        for block, key, value, past in zip(self.layers, keys.unbind(1), values.unbind(1), pasts, strict=True):
            x, key, value, past = block.stream(x, key, value, past, bias, turn)  # noqa: PLW2901
            next_keys.append(key[:, :, -spec.left :])
            next_values.append(value[:, :, -spec.left :])
            if past is not None:
                next_pasts.append(past)
        kept = [torch.stack(next_keys, 1), torch.stack(next_values, 1)]
        if spec.convolution:
            kept.append(torch.stack(next_pasts, 1))
        return self.norm(x), *kept, count + spec.chunk

    def _enter(self, frames: Tensor, at: Tensor) -> Tensor:
        """(batch, steps · stack, mels), at (steps,) or (batch, steps) positions, to (batch, steps, width)."""
        spec = self.spec
        stacked = frames.reshape(frames.shape[0], -1, spec.stack * spec.mels)
        x = self.enter_norm(self.enter(stacked))
        if spec.positions == "sinusoid":
            x = x + sinusoids(at, spec.width)
        return torch.as_tensor(self.dropout(x))


def visible(most: int, steps: Tensor, chunk: int, left: int) -> Tensor:
    """Who sees whom: bool (batch, 1, queries, keys), or (batch, 1, 1, keys) without chunks.

    A step sees its own chunk and `left` steps before the chunk, as `Encoder.stream` does with its caches.
    Padding sees itself, so that no row is empty.

    Args:
        most: steps of the longest recording.
        steps: (batch,) steps of each.
        chunk: 0: all steps see each other.
        left: in steps.
    """
    at = torch.arange(most, device=steps.device)
    sounding = (at < steps[:, None])[:, None, None]  # (batch, 1, 1, keys)
    if not chunk:
        return sounding
    first = at[:, None] // chunk * chunk
    near = (at >= first - left) & (at < first + chunk)  # (queries, keys)
    return near & sounding | torch.eye(most, dtype=torch.bool, device=steps.device)
