"""The networks to beat, built here so that they meet the same data and recipe."""

import torch
from torch import Tensor, nn


class SubSpectralNorm(nn.Module):
    """Batch normalisation apart in each of `bands` frequency bands (Chang et al., ICASSP 2021)."""

    def __init__(self, channels: int, bands: int = 5) -> None:
        super().__init__()
        self.bands = bands
        self.norm = nn.BatchNorm2d(channels * bands)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, mels, frames) in and out; `bands` must divide mels."""
        batch, channels, mels, frames = x.shape
        split = x.reshape(batch, channels * self.bands, mels // self.bands, frames)
        return torch.as_tensor(self.norm(split).reshape(batch, channels, mels, frames))


class BroadcastBlock(nn.Module):
    """One BC-ResNet block: a 2-D part, and a 1-D part on the frequency mean that is broadcast back."""

    def __init__(self, channels_in: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.keeps_width = channels_in == channels
        self.widen = (
            nn.Identity()
            if self.keeps_width
            else nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
            )
        )
        self.frequency = nn.Sequential(
            nn.Conv2d(channels, channels, (3, 1), (stride, 1), (1, 0), groups=channels, bias=False),
            SubSpectralNorm(channels),
        )
        self.time = nn.Sequential(
            nn.Conv2d(
                channels,
                channels,
                (1, 3),
                padding=(0, dilation),
                dilation=(1, dilation),
                groups=channels,
                bias=False,
            ),
            nn.BatchNorm2d(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.Dropout2d(0.1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, mels, frames) to (batch, channels, ⌈mels/stride⌉, frames)."""
        maps = self.frequency(self.widen(x))
        out = maps + self.time(maps.mean(2, keepdim=True))
        return torch.relu(out + x if self.keeps_width else out)


class BCResNet(nn.Module):
    """Broadcasted residual network BC-ResNet-τ (Kim et al., Interspeech 2021).

    Parameters are the published 9.2 k and 54.2 k for τ = 1 and 3; we count 2.5 M and 14.4 M multiplies
    for 100 frames, where 3.1 M and 16.2 M are quoted.
    """

    STAGES = ((2, 8, 1, 1), (2, 12, 2, 2), (4, 16, 2, 4), (4, 20, 1, 8))
    """Blocks, channels at τ = 1, frequency stride of the first block, time dilation."""

    def __init__(self, tau: float = 1.0, labels: int = 12) -> None:
        super().__init__()
        width = int(16 * tau)
        layers: list[nn.Module] = [
            nn.Conv2d(1, width, 5, (2, 1), 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        for blocks, base, stride, dilation in self.STAGES:
            channels = int(base * tau)
            for index in range(blocks):
                layers.append(BroadcastBlock(width, channels, stride if index == 0 else 1, dilation))
                width = channels
        last = int(32 * tau)
        layers += [
            nn.Conv2d(width, width, 5, padding=(0, 2), groups=width, bias=False),
            nn.Conv2d(width, last, 1, bias=False),
            nn.BatchNorm2d(last),
            nn.ReLU(),
        ]
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(last, labels)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, mels) log-mel, 40 mels, to (batch, labels) logits."""
        maps = self.layers(frames.transpose(1, 2).unsqueeze(1))
        return torch.as_tensor(self.classifier(maps.mean((2, 3))))


class DSCNN(nn.Module):
    """Depthwise-separable network DS-CNN-S (Zhang et al., arXiv 1711.07128): 64 channels, four blocks.

    On our input of 40 log-mels each 10 ms, larger than its own of 10 MFCC each 20 ms: hence 21.7 M
    multiplies.
    """

    def __init__(self, channels: int = 64, blocks: int = 4, labels: int = 12) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(1, channels, (10, 4), 2, (5, 1), bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
        for _ in range(blocks):
            layers += [
                nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, labels)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, mels) log-mel to (batch, labels) logits."""
        return torch.as_tensor(self.classifier(self.layers(frames.unsqueeze(1)).mean((2, 3))))
