"""Which of several branches to listen to, channel by channel, from statistics of all of them.

Statistics and selection (SS) of D-TDNN-SS (Yu & Li, Interspeech 2020); the dynamic kernel convolution of
arXiv 2108.07787 is, in our reading, the same choice between two temporal kernels.
"""

import torch
from torch import Tensor, nn


class Selection(nn.Module):
    """Statistics to one weight a branch and channel; the weights of a channel sum to one."""

    def __init__(self, statistics: int, channels: int, branches: int, reduction: int = 2) -> None:
        """Sizes.

        Args:
            statistics: values that the choice is made from.
            channels: of each branch.
            branches: 2 or more.
            reduction: the layer between has `channels // reduction` values.
        """
        super().__init__()
        self.branches = branches
        self.squeeze = nn.Conv1d(statistics, channels // reduction, 1)
        self.choose = nn.Conv1d(channels // reduction, branches * channels, 1)

    def forward(self, statistics: Tensor) -> Tensor:
        """(batch, statistics, places) to (batch, branches, channels, places)."""
        logits = self.choose(self.squeeze(statistics))
        batch, places = statistics.shape[0], statistics.shape[2]
        return torch.softmax(logits.reshape(batch, self.branches, -1, places), dim=1)
