"""The x-vector TDNN (Snyder et al., ICASSP 2018, table 1): five TDNN layers, statistics, embedding."""

import torch
from torch import Tensor, nn

from dialect_id.dtdnn import tdnn
from dialect_id.pooling import Embedding, kaiming, mask_of, masked, mean_and_deviation

LAYERS = ((5, 1), (3, 2), (3, 3), (1, 1))
"""Kernel and dilation of the layers before the last, which is a 1×1."""


class XVector(nn.Module):
    """ReLU then normalisation after each layer; the classifier stands on the first segment layer."""

    def __init__(self, mels: int, embedding: int, channels: int = 512, last: int = 1500) -> None:
        super().__init__()
        widths = [mels, *(channels for _ in LAYERS), last]
        kernels = (*LAYERS, (1, 1))
        self.layers = nn.ModuleList(
            nn.Sequential(
                tdnn(inward, outward, kernel, dilation), nn.ReLU(inplace=True), nn.BatchNorm2d(outward)
            )
            for inward, outward, (kernel, dilation) in zip(widths, widths[1:], kernels, strict=False)
        )
        self.embedding = Embedding(2 * last, embedding)
        kaiming(self)

    def embed(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, frames, mels) utterances of `lengths` frames, all if None, to (batch, embedding)."""
        mask = mask_of(lengths, frames.shape[1])
        x = frames.transpose(1, 2).unsqueeze(2)
        for layer in self.layers:
            x = layer(masked(x, mask))
        return torch.as_tensor(self.embedding(mean_and_deviation(x, mask)))
