"""A block's frame: each part of it with residual, norm and dropout."""

import torch
from torch import Tensor, nn

from asr.attention import GatedFeedForward
from asr.dropout import Dropout


class Block(nn.Module):
    """What the encoder's and the decoder's blocks share; they make the parts, feed-forward the last."""

    feed_forward: GatedFeedForward
    feed_forward_norm: nn.LayerNorm
    dropout: Dropout

    def __init__(self, *, pre: bool) -> None:
        super().__init__()
        self.pre = pre
        """Whether norms stand before the parts, or after the sums."""

    def _before(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        return torch.as_tensor(norm(x)) if self.pre else x

    def _after(self, x: Tensor, y: Tensor, norm: nn.LayerNorm) -> Tensor:
        x = x + self.dropout(y)
        return x if self.pre else torch.as_tensor(norm(x))

    def _last(self, x: Tensor) -> Tensor:
        norm = self.feed_forward_norm
        return self._after(x, self.feed_forward(self._before(x, norm)), norm)
