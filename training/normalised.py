"""Features are normalised inside the network, so that a model file needs nothing beside it."""

import torch
from torch import Tensor, nn


class Normalised(nn.Module):
    """A network that takes raw log-mel; their mean and scale, (mels,) each, travel with the weights."""

    mean: Tensor
    scale: Tensor
    """One over the standard deviation."""

    def __init__(self, mels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(mels))
        self.register_buffer("scale", torch.ones(mels))

    def normalise(self, mean: Tensor, std: Tensor) -> None:
        """Sets the features' mean and standard deviation, (mels,) each."""
        self.mean.copy_(mean)
        self.scale.copy_(1 / std)

    def normalised(self, frames: Tensor) -> Tensor:
        """Frames (…, mels) less the mean, by the standard deviation."""
        return (frames - self.mean) * self.scale
