"""Statistics over the frames of whole utterances, for the networks that do not stream.

Maps are (batch, channels, 1, frames); a mask is (batch, 1, 1, frames), 1 where a frame belongs to its
utterance, and None where all do.
"""

import torch
from torch import Tensor, nn

VARIANCE_FLOOR = 1e-4
"""Smallest variance: keeps the gradient of its root finite where a channel is constant."""


def mask_of(lengths: Tensor | None, frames: int) -> Tensor | None:
    """(batch,) lengths to a mask of `frames` frames."""
    if lengths is None:
        return None
    there = torch.arange(frames, device=lengths.device) < lengths[:, None]
    return there[:, None, None].float()


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero after each utterance's end, like a convolution's own padding: so a batch's length is no matter."""
    return x if mask is None else x * mask.to(x.dtype)


def mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """(batch, channels, 1, frames) to (batch, channels) in float32."""
    x = x.float()
    return x.mean((2, 3)) if mask is None else (x * mask).sum((2, 3)) / mask.sum((2, 3))


def mean_and_deviation(x: Tensor, mask: Tensor | None) -> Tensor:
    """(batch, channels, 1, frames) to (batch, 2·channels) in float32."""
    average, variance = _moments(x, mask)
    return torch.cat((average, variance.sqrt()), dim=1)


def four_moments(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean, deviation, skewness, kurtosis: (batch, channels, 1, frames) to (batch, 4·channels)."""
    average, variance = _moments(x, mask)
    deviation = variance.sqrt()
    standard = (x.float() - average[..., None, None]) / deviation[..., None, None]
    squares = standard.square()
    skewness, kurtosis = mean(squares * standard, mask), mean(squares.square(), mask)
    return torch.cat((average, deviation, skewness, kurtosis), dim=1)


def _moments(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    average = mean(x, mask)
    variance = mean((x.float() - average[..., None, None]).square(), mask)
    return average, variance.clamp(min=VARIANCE_FLOOR)


class AttentiveStatistics(nn.Module):
    """Mean and deviation under attention, by channel and in view of the whole utterance.

    Desplanques et al., ECAPA-TDNN, arXiv 2005.07143, section 3.1.
    """

    def __init__(self, channels: int, width: int = 128) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv2d(3 * channels, width, 1),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(width),
            nn.Tanh(),
            nn.Conv2d(width, channels, 1),
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, channels, 1, frames) to (batch, 2·channels) in float32."""
        whole = mean_and_deviation(x, mask).to(x.dtype)[..., None, None].expand(-1, -1, 1, x.shape[3])
        scores = self.attention(torch.cat((x, whole), dim=1)).float()
        if mask is not None:
            scores = scores.masked_fill(mask == 0, -torch.inf)
        weights = torch.softmax(scores, dim=3)
        average = (weights * x.float()).sum((2, 3))
        apart = (x.float() - average[..., None, None]).square()
        variance = (weights * apart).sum((2, 3)).clamp(min=VARIANCE_FLOOR)
        return torch.cat((average, variance.sqrt()), dim=1)


class Embedding(nn.Module):
    """Pooled statistics to an embedding: a linear map without bias, normalised without scale and shift."""

    def __init__(self, statistics: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(statistics, width, bias=False)
        self.norm = nn.BatchNorm1d(width, affine=False)

    def forward(self, statistics: Tensor) -> Tensor:
        """(batch, statistics) to (batch, width)."""
        return torch.as_tensor(self.norm(self.linear(statistics)))


def kaiming(network: nn.Module) -> None:
    """He et al.'s normal initialisation of all convolutions and linear maps; biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
