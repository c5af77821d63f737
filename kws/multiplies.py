"""Multiplications of one forward pass, counted as they happen."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kws.cenet import GraphConv
from kws.graph_tcn import GraphTCN
from training import multiplies


@dataclass(frozen=True, slots=True)
class Multiplies:
    """Multiply counts for one window of audio; normalisation folds into the convolutions and costs none."""

    parametric: int
    """Of convolutions and linear maps: what papers quote."""
    between_nodes: int
    """Of the products between nodes in graph convolutions (N × N); published figures lack them."""

    @property
    def total(self) -> int:
        """Both."""
        return self.parametric + self.between_nodes


def count_multiplies(network: nn.Module, frames: int, mels: int = 40) -> Multiplies:
    """Runs `network` once on zeros of (1, frames, mels) and counts.

    For a GraphTCN this is one window from scratch: in a stream only `hop` of its `window` nodes are new.
    """
    between = 0

    def graph(_: nn.Module, __: Any, output: Tensor) -> None:
        nonlocal between
        positions, channels = output[0, 0].numel(), output.shape[1]
        between += positions**2 * (channels // 4 + channels)

    hooks = [
        module.register_forward_hook(graph) for module in network.modules() if isinstance(module, GraphConv)
    ]
    total = multiplies.count_multiplies(network, frames, mels)
    for hook in hooks:
        hook.remove()
    for module in network.modules():
        if isinstance(module, GraphTCN) and module.spec.graph:
            width, window = module.spec.width, module.spec.window
            between += window**2 * (width // 4 + width)
    return Multiplies(total - between, between)
