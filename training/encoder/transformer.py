"""What stands on a front end: a convolution in place of positions, and post-norm transformer layers."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.encoder.spec import EncoderSpec


class ConvolvedPosition(nn.Module):
    """Adds a grouped convolution of the frames to them (wav2vec 2.0, section 2), weights normalised a tap."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.kernel, self.groups, self.causal = spec.position_kernel, spec.position_groups, bool(spec.chunk)
        shape = (spec.width, spec.width // self.groups, self.kernel)
        direction = torch.randn(shape) * math.sqrt(4 / (self.kernel * spec.width))
        self.direction = nn.Parameter(direction)
        self.gain = nn.Parameter(direction.norm(dim=(0, 1), keepdim=True))
        self.bias = nn.Parameter(torch.zeros(spec.width))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, width) to the same; a chunked encoder's looks back only."""
        left = self.kernel - 1 if self.causal else self.kernel // 2
        return x + self._convolve(F.pad(x, (0, 0, left, self.kernel - 1 - left)))

    def stream(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Frames and the state of the last call, (batch, kernel - 1, width), to the same and its state."""
        joined = torch.cat((before, x), 1)
        return x + self._convolve(joined), joined[:, x.shape[1] :]

    def _convolve(self, x: Tensor) -> Tensor:
        weight = self.gain * self.direction / self.direction.norm(dim=(0, 1), keepdim=True)
        return F.gelu(F.conv1d(x.transpose(1, 2), weight, self.bias, groups=self.groups)).transpose(1, 2)


class Layer(nn.Module):
    """Self-attention and a feed-forward part, each added and then normalised."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.heads = spec.heads
        self.query_key_value = nn.Linear(spec.width, 3 * spec.width)
        self.out = nn.Linear(spec.width, spec.width)
        self.norm = nn.LayerNorm(spec.width)
        self.up = nn.Linear(spec.width, spec.inner)
        self.down = nn.Linear(spec.inner, spec.width)
        self.last_norm = nn.LayerNorm(spec.width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor, mask: Tensor | None, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One layer.

        Args:
            x: (batch, frames, width).
            mask: (batch or 1, 1, frames, keys), True where a frame may look; None: everywhere.
            before: (batch, history, 2 · width), keys and values of earlier frames.

        Returns:
            (batch, frames, width), and keys and values of all frames that were looked at.
        """
        query, pair = self.query_key_value(x).split((x.shape[-1], 2 * x.shape[-1]), -1)
        if before is not None:
            pair = torch.cat((before, pair), 1)
        key, value = pair.chunk(2, -1)
        heard = F.scaled_dot_product_attention(self._split(query), self._split(key), self._split(value), mask)
        x = self.norm(x + self.dropout(self.out(heard.transpose(1, 2).flatten(-2))))
        return self.last_norm(x + self.dropout(self.down(self.dropout(F.gelu(self.up(x)))))), pair

    def _split(self, x: Tensor) -> Tensor:
        batch, frames, width = x.shape
        return x.reshape(batch, frames, self.heads, width // self.heads).transpose(1, 2)


def attention_mask(frames: int, spec: EncoderSpec, lengths: Tensor | None) -> Tensor | None:
    """(batch or 1, 1, frames, frames), True where a frame may look at another; None: everywhere.

    A frame always sees itself, also behind the end: a row without any key would be no number.
    """
    at = torch.arange(frames, device=lengths.device if lengths is not None else None)
    mask = None
    if spec.chunk:
        first = at // spec.chunk * spec.chunk
        mask = (at >= (first - spec.history)[:, None]) & (at < (first + spec.chunk)[:, None])
        mask = mask[None, None]
    if lengths is not None:
        known = (at < lengths[:, None])[:, None, None]
        itself = torch.eye(frames, dtype=torch.bool, device=at.device)
        mask = (known if mask is None else known & mask) | itself
    return mask


def streamed_mask(frames: int, spec: EncoderSpec, seen: Tensor) -> Tensor:
    """(batch, 1, frames, history + frames) as `attention_mask`, for frames after `seen` (batch, 1) others."""
    at = torch.arange(frames, device=seen.device)
    keys = torch.arange(-spec.history, frames, device=seen.device)
    first = at // spec.chunk * spec.chunk
    near = (keys >= (first - spec.history)[:, None]) & (keys < (first + spec.chunk)[:, None])
    return (near & (keys >= -seen)[:, None])[:, None]
