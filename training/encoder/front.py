"""Front ends: samples or log-mel frames in, frames of 20 ms out, equally many for the same samples."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.encoder.spec import EncoderSpec
from training.normalised import Normalised

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
_KEEP = 3
"""Frames before the first of a pair that a streaming front end sees."""


class WaveformFront(nn.Module):
    """HuBERT's seven convolutions, normalised and projected: (batch, samples) to (batch, frames, width)."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        channels = spec.front_channels
        inputs = (1, *(channels,) * 6)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(i, channels, kernel, stride, bias=False)
            for i, kernel, stride in zip(inputs, KERNELS, STRIDES, strict=True)
        )
        for convolution in self.convolutions:
            nn.init.kaiming_normal_(cast("nn.Conv1d", convolution).weight)
        self.group_norm = nn.GroupNorm(channels, channels)  # over time, after the first convolution
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, spec.width)
        self.dropout = nn.Dropout(spec.dropout)
        self.gradient = spec.front_gradient

    def forward(self, samples: Tensor) -> Tensor:
        """Frames of clips of one length: the group norm would hear padding."""
        x = samples[:, None]
        for number, convolution in enumerate(self.convolutions):
            x = convolution(x)
            x = F.gelu(x if number else self.group_norm(x))
        if self.gradient != 1 and x.requires_grad:
            x = x * self.gradient + x.detach() * (1 - self.gradient)
        return torch.as_tensor(self.dropout(self.project(self.norm(x.transpose(1, 2)))))

    def lengths(self, samples: Tensor) -> Tensor:
        """(batch,) frames that samples give."""
        for kernel, stride in zip(KERNELS, STRIDES, strict=True):
            samples = (samples - kernel).div(stride, rounding_mode="floor") + 1
        return samples.clamp_min(0)


class FbankFront(Normalised):
    """One gated convolution over log-mel frames at 10 ms, stride 2 (arXiv 2210.15631).

    (batch, frames, mels) to (batch, frames / 2, width). The features' mean and scale, per mel, travel
    with the weights.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec.mels)
        self.causal = bool(spec.chunk)
        self.convolution = nn.Conv1d(spec.mels, 2 * spec.width, 5, stride=2)
        self.project = nn.Linear(spec.width, spec.width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Frames of whole recordings; zeros, the mean, stand before them and after their `lengths`."""
        x = self.normalised(frames)
        if lengths is not None:
            x = x * (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
        return self._convolve(F.pad(x, (0, 0, *((_KEEP, 0) if self.causal else (2, 2)))))

    def stream(self, frames: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """An even number of frames, and the last call's state, to (batch, frames / 2, width) and a state."""
        x = torch.cat((before, self.normalised(frames)), 1)
        return self._convolve(x), x[:, -_KEEP:]

    def start(self, batch: int) -> Tensor:
        """The state before the first frame."""
        return self.mean.new_zeros(batch, _KEEP, len(self.mean))

    def lengths(self, frames: Tensor) -> Tensor:
        """(batch,) frames of 20 ms that frames of 10 ms give."""
        return (frames + (0 if self.causal else 1)) // 2

    def _convolve(self, x: Tensor) -> Tensor:
        gated = F.glu(self.convolution(x.transpose(1, 2)), dim=1)
        return torch.as_tensor(self.dropout(self.project(gated.transpose(1, 2))))
