"""Multiplications of one forward pass, counted as they happen."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kws.cenet import GraphConv
from kws.graph_tcn import GraphTCN


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
    totals = {"parametric": 0, "between": 0}

    def weighted(module: nn.Module, _: Any, output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            totals["parametric"] += output.numel() * module.in_features
        elif isinstance(module, nn.Conv1d | nn.Conv2d):
            totals["parametric"] += output.numel() * module.weight[0].numel()

    def graph(_: nn.Module, __: Any, output: Tensor) -> None:
        positions, channels = output[0, 0].numel(), output.shape[1]
        totals["between"] += positions**2 * (channels // 4 + channels)

    hooks = []
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            hooks.append(module.register_forward_hook(weighted))
        elif isinstance(module, GraphConv):
            hooks.append(module.register_forward_hook(graph))
    was_training = network.training
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, frames, mels))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    for module in network.modules():
        if isinstance(module, GraphTCN) and module.spec.graph:
            width, window = module.spec.width, module.spec.window
            totals["between"] += window**2 * (width // 4 + width)
    return Multiplies(totals["parametric"], totals["between"])
