"""Multiplications of one forward pass, counted as they happen."""

from typing import Any

import torch
from torch import Tensor, nn


def count_multiplies(network: nn.Module, frames: int, mels: int) -> int:
    """Of convolutions and linear maps over (1, frames, mels); normalisation folds into them."""
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
    was_training = network.training
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, frames, mels))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return total
