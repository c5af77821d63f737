"""Multiplications of convolutions and linear maps by their sizes: what a counter is held against."""

from typing import Any

import torch
from torch import Tensor, nn


def multiplies_by_layer(network: nn.Module, frames: Tensor) -> int:
    """Of those layers that are modules, in one forward pass."""
    total = 0

    def weighted(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, nn.Conv1d | nn.Conv2d):
            total += output.numel() * module.weight[0].numel()

    hooks = [
        module.register_forward_hook(weighted)
        for module in network.modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)
    ]
    with torch.no_grad():
        network(frames)
    for hook in hooks:
        hook.remove()
    return total
