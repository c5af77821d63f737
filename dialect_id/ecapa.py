"""ECAPA-TDNN (Desplanques et al., arXiv 2005.07143), small: 320 channels for the paper's 512 or 1024."""

import torch
from torch import Tensor, nn

from dialect_id.dtdnn import tdnn
from dialect_id.pooling import AttentiveStatistics, Embedding, kaiming, mask_of, masked, mean

SCALES = 8
DILATIONS = (2, 3, 4)


def _layer(inward: int, outward: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        tdnn(inward, outward, kernel, dilation), nn.ReLU(inplace=True), nn.BatchNorm2d(outward)
    )


class SERes2Block(nn.Module):
    """1×1, dilated convolutions in a Res2 chain, 1×1, squeeze and excitation, shortcut (section 3.2)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.width = channels // SCALES
        self.enter, self.leave = _layer(channels, channels), _layer(channels, channels)
        self.scales = nn.ModuleList(_layer(self.width, self.width, 3, dilation) for _ in range(SCALES - 1))
        self.excite = nn.Sequential(
            nn.Linear(channels, 128), nn.ReLU(inplace=True), nn.Linear(128, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, channels, 1, frames) in and out."""
        groups = torch.split(masked(self.enter(x), mask), self.width, dim=1)
        maps = [groups[0]]
        for index, layer in enumerate(self.scales, 1):
            heard = groups[index] if index == 1 else groups[index] + masked(maps[-1], mask)
            maps.append(layer(heard))
        y = self.leave(torch.cat(maps, dim=1))
        gates = self.excite(mean(y, mask)).to(y.dtype)
        return torch.as_tensor(x + y * gates[..., None, None])


class ECAPA(nn.Module):
    """Three blocks that all feed the pooling."""

    def __init__(self, mels: int, embedding: int, channels: int = 320) -> None:
        super().__init__()
        if channels % SCALES:
            raise ValueError(f"ECAPA-TDNN wants a multiple of {SCALES} channels, got {channels}")
        self.stem = _layer(mels, channels, 5)
        self.blocks = nn.ModuleList(SERes2Block(channels, dilation) for dilation in DILATIONS)
        wide = len(DILATIONS) * channels
        self.join = nn.Sequential(nn.Conv2d(wide, wide, 1), nn.ReLU(inplace=True))
        self.pooling = AttentiveStatistics(wide)
        self.norm = nn.BatchNorm1d(2 * wide)
        self.embedding = Embedding(2 * wide, embedding)
        kaiming(self)

    def embed(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, frames, mels) utterances of `lengths` frames, all if None, to (batch, embedding)."""
        mask = mask_of(lengths, frames.shape[1])
        x = self.stem(frames.transpose(1, 2).unsqueeze(2))
        maps = []
        for block in self.blocks:
            x = block(x, mask)
            maps.append(x)
        pooled = self.pooling(self.join(torch.cat(maps, dim=1)), mask)
        return torch.as_tensor(self.embedding(self.norm(pooled)))
