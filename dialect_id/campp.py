"""Context-aware masking on a densely connected TDNN, after CAM++ (Wang et al., arXiv 2303.00332).

Growth, bottleneck, kernels, dilations and masks are CAM++'s. Ours: half its layers in each block, and no
two-dimensional convolutions before them, so that it stands beside networks of 2-4 M parameters.
"""

import torch
from torch import Tensor, nn

from dialect_id.dtdnn import before, tdnn
from dialect_id.pooling import Embedding, kaiming, mask_of, masked, mean, mean_and_deviation

STEM, GROWTH, BOTTLENECK, REDUCTION = 128, 32, 128, 2
DILATIONS = (1, 2, 2)
STRIDE = 2
"""Frames a step after the stem."""
SEGMENT = 100
"""Steps whose mean is the local context of a mask."""


class ContextMask(nn.Module):
    """A convolution whose output is masked by what the utterance and the segment around are like.

    mask = σ(W₂ ReLU(W₁ (mean of the utterance + mean of the segment))), one value a channel and segment.
    """

    def __init__(self, inward: int, outward: int, dilation: int) -> None:
        super().__init__()
        self.conv = tdnn(inward, outward, 3, dilation)
        self.squeeze = nn.Conv2d(inward, inward // REDUCTION, 1)
        self.open = nn.Conv2d(inward // REDUCTION, outward, 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, inward, 1, steps) to (batch, outward, 1, steps); x is zero where the mask is."""
        steps = x.shape[3]
        there = x.new_ones(1, 1, 1, steps) if mask is None else mask
        sums, counts = (_by_segment(part.float()).sum(4) for part in (x, there))
        local = sums / counts.clamp(min=1)  # (batch, inward, 1, segments)
        context = local + mean(x, mask)[..., None, None]
        gates = torch.sigmoid(self.open(torch.relu(self.squeeze(context))))
        wide = gates.repeat_interleave(SEGMENT, dim=3)[..., :steps]
        return torch.as_tensor(self.conv(x) * wide.to(x.dtype))


class DenseLayer(nn.Module):
    """BN, ReLU, 1×1, BN, ReLU, masked convolution; its output stands beside its input."""

    def __init__(self, inward: int, dilation: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(before(inward), nn.Conv2d(inward, BOTTLENECK, 1, bias=False))
        self.between = before(BOTTLENECK)
        self.conv = ContextMask(BOTTLENECK, GROWTH, dilation)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, inward, 1, steps) to the same with GROWTH more channels."""
        return torch.cat((x, self.conv(masked(self.between(self.squeeze(x)), mask), mask)), dim=1)


class CAMPP(nn.Module):
    """Three dense blocks with masks, statistics, embedding."""

    def __init__(self, mels: int, embedding: int, layers: tuple[int, int, int] = (6, 12, 8)) -> None:
        super().__init__()
        self.stem = nn.Sequential(tdnn(mels, STEM, 5, stride=STRIDE), before(STEM))
        self.blocks, self.transits = nn.ModuleList(), nn.ModuleList()
        width = STEM
        for count, dilation in zip(layers, DILATIONS, strict=True):
            self.blocks.append(
                nn.ModuleList(DenseLayer(width + index * GROWTH, dilation) for index in range(count))
            )
            width += count * GROWTH
            self.transits.append(nn.Sequential(before(width), nn.Conv2d(width, width // 2, 1, bias=False)))
            width //= 2
        self.leave = before(width)
        self.embedding = Embedding(2 * width, embedding)
        kaiming(self)

    def embed(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, frames, mels) utterances of `lengths` frames, all if None, to (batch, embedding)."""
        x = self.stem(frames.transpose(1, 2).unsqueeze(2))
        mask = mask_of(None if lengths is None else -(-lengths // STRIDE), x.shape[3])
        for block, transit in zip(self.blocks, self.transits, strict=True):
            for layer in block:  # type: ignore[attr-defined]
                x = layer(x, mask)
            x = transit(x)
        return torch.as_tensor(self.embedding(mean_and_deviation(self.leave(x), mask)))


def _by_segment(x: Tensor) -> Tensor:
    """(batch, channels, 1, steps) to (batch, channels, 1, segments, SEGMENT), zeros at the end."""
    whole = nn.functional.pad(x, (0, -x.shape[3] % SEGMENT))
    return whole.reshape(*x.shape[:3], -1, SEGMENT)
