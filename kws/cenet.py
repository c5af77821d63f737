"""CENet and CENet-GCN (arXiv 1912.05124, ASRU 2019), parameter for parameter.

Confirmed by the published counts: the widths, bias-free convolutions each followed by batch
normalisation, a classifier without bias, projection shortcuts in the connection blocks, graph
embeddings of C/4 channels with biases. Our readings, where the paper leaves a choice: the ReLU comes before
the addition and none after it; the last 1×1 convolution of a connection block carries the stride;
γ starts at 0; maps are halved rounding down in the pool and up in the connection blocks; the front end is the
package's 25 ms log-mel up to 8 kHz, not 30 ms MFCC from 20 Hz to 4 kHz.
"""

from typing import Literal

import torch
from torch import Tensor, nn

Depth = Literal[6, 24, 40]
BLOCKS: dict[Depth, tuple[int, int, int]] = {6: (1, 1, 1), 24: (7, 7, 7), 40: (15, 15, 7)}
"""Bottleneck blocks in each stage; with the three connection blocks they give the variant's number."""
STAGES = ((16, 8, 32), (32, 8, 48), (48, 12, 64))
"""Channels in, inner channels of both block kinds, channels out."""


class ConvNorm(nn.Sequential):
    """Bias-free convolution and batch normalisation, with or without ReLU; keeps the size at stride 1."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, relu: bool = True
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(channels_out),
        ]
        super().__init__(*layers, *([nn.ReLU()] if relu else []))


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 around a shortcut; with `channels_out`, the connection block that halves the map."""

    def __init__(self, channels: int, inner: int, channels_out: int | None = None) -> None:
        super().__init__()
        stride = 1 if channels_out is None else 2
        self.path = nn.Sequential(
            ConvNorm(channels, inner, 1),
            ConvNorm(inner, inner, 3),
            ConvNorm(inner, channels_out or channels, 1, stride),
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels_out is not None:
            self.shortcut = ConvNorm(channels, channels_out, 1, stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames, mels) to the same, or (batch, channels_out, ⌈frames/2⌉, ⌈mels/2⌉)."""
        return torch.as_tensor(self.path(x) + self.shortcut(x))


class GraphConv(nn.Module):
    """One graph convolution over all positions of a map, fully connected.

    A = softmax(θ(X) φ(X)ᵀ) row by row, the embedded Gaussian; out = X + γ·ReLU(A X W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = nn.Linear(channels, channels // 4)
        self.phi = nn.Linear(channels, channels // 4)
        self.weight = nn.Linear(channels, channels)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames, mels) in and out."""
        nodes = x.flatten(2).transpose(1, 2)  # (batch, positions, channels)
        edges = torch.softmax(self.theta(nodes) @ self.phi(nodes).transpose(1, 2), dim=-1)
        mixed = torch.relu(edges @ self.weight(nodes))
        return x + self.gamma * mixed.transpose(1, 2).reshape(x.shape)


class CENet(nn.Module):
    """The backbone, with a graph convolution after each stage named in `graph_stages`.

    `CENet(40)` is CENet-40, `CENet(40, graph_stages=(1, 2, 3))` is CENet-GCN-40.
    """

    def __init__(self, depth: Depth = 40, graph_stages: tuple[int, ...] = (), labels: int = 12) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNorm(1, 16, 3), nn.AvgPool2d(2)]
        for stage, (channels, inner, channels_out) in enumerate(STAGES, start=1):
            layers += [Bottleneck(channels, inner) for _ in range(BLOCKS[depth][stage - 1])]
            layers.append(Bottleneck(channels, inner, channels_out))
            if stage in graph_stages:
                layers.append(GraphConv(channels_out))
        self.stages = nn.Sequential(*layers)
        self.classifier = nn.Linear(STAGES[-1][2], labels, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, mels) log-mel to (batch, labels) logits."""
        maps = self.stages(frames.unsqueeze(1))
        return torch.as_tensor(self.classifier(maps.mean((2, 3))))
