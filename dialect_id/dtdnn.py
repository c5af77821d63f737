"""D-TDNN and D-TDNN-SS: densely connected TDNNs (Yu & Li, Interspeech 2020), 2.82 M and 3.50 M parameters.

What DMSC (arXiv 2108.07787) is compared with. Not causal: convolutions look to both sides.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from dialect_id.pooling import Embedding, four_moments, kaiming, mask_of, masked, mean_and_deviation
from dialect_id.selection import Selection

LAYERS = (6, 12)
STEM, GROWTH, BOTTLENECK = 128, 64, 128
DILATIONS = {"d-tdnn": ((1,), (3,)), "d-tdnn-ss": ((1, 3), (1, 3))}
"""Of the branches in each block."""


class DenseLayer(nn.Module):
    """BN, activation, 1×1 ("FNN"), BN, activation, one TDNN or a selection of several."""

    def __init__(self, inward: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        prelu = len(dilations) > 1
        self.enter = before(inward, prelu)
        self.squeeze = nn.Conv2d(inward, BOTTLENECK, 1, bias=False)
        self.between = before(BOTTLENECK, prelu)
        self.branches = nn.ModuleList(tdnn(BOTTLENECK, GROWTH, 3, dilation) for dilation in dilations)
        self.selection = Selection(4 * GROWTH, GROWTH, len(dilations)) if len(dilations) > 1 else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, inward, 1, frames) to the same with GROWTH more channels."""
        squeezed = masked(self.between(self.squeeze(self.enter(x))), mask)
        maps = [branch(squeezed) for branch in self.branches]
        grown = maps[0]
        if self.selection is not None:
            statistics = four_moments(torch.stack(maps).sum(0), mask)
            weights = self.selection(statistics[:, :, None]).to(grown.dtype)  # (batch, branches, GROWTH, 1)
            grown = sum((y * weights[:, i, :, None] for i, y in enumerate(maps)), torch.zeros_like(grown))
        return torch.cat((x, grown), dim=1)


class DTDNN(nn.Module):
    """Either of the two."""

    def __init__(self, kind: Literal["d-tdnn", "d-tdnn-ss"], mels: int, embedding: int) -> None:
        super().__init__()
        prelu = kind == "d-tdnn-ss"
        self.stem = tdnn(mels, STEM, 5)
        self.enter = before(STEM, prelu)
        self.blocks, self.transits = nn.ModuleList(), nn.ModuleList()
        width = STEM
        for layers, dilations in zip(LAYERS, DILATIONS[kind], strict=True):
            self.blocks.append(
                nn.ModuleList(DenseLayer(width + index * GROWTH, dilations) for index in range(layers))
            )
            width += layers * GROWTH
            self.transits.append(
                nn.Sequential(before(width, prelu), nn.Conv2d(width, width // 2, 1, bias=False))
            )
            width //= 2
        self.embedding = Embedding(2 * width, embedding)
        kaiming(self)

    def embed(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, frames, mels) utterances of `lengths` frames, all if None, to (batch, embedding)."""
        mask = mask_of(lengths, frames.shape[1])
        x = self.enter(self.stem(frames.transpose(1, 2).unsqueeze(2)))
        for block, transit in zip(self.blocks, self.transits, strict=True):
            for layer in block:  # type: ignore[attr-defined]
                x = layer(x, mask)
            x = transit(x)
        return torch.as_tensor(self.embedding(mean_and_deviation(x, mask)))


def tdnn(inward: int, outward: int, kernel: int, dilation: int = 1, stride: int = 1) -> nn.Conv2d:
    """A convolution over time, (batch, channels, 1, frames), as long as its input, without bias."""
    return nn.Conv2d(
        inward,
        outward,
        (1, kernel),
        stride=(1, stride),
        padding=(0, (kernel - 1) // 2 * dilation),
        dilation=(1, dilation),
        bias=False,
    )


def before(channels: int, prelu: bool = False) -> nn.Sequential:
    """Normalisation and activation before a convolution."""
    activation = nn.PReLU(channels) if prelu else nn.ReLU(inplace=True)
    return nn.Sequential(nn.BatchNorm2d(channels), activation)
