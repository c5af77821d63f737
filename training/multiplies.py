"""Multiplications of one forward pass, counted by torch as they happen."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

Result = TypeVar("Result")


def multiplies_of(run: Callable[[], Result]) -> tuple[int, Result]:
    """Those of convolutions and products of matrices in `run`, without gradients; and what it gives."""
    # Fused attention is not counted on a CPU, so it is taken apart into its products.
    with FlopCounterMode(display=False) as flops, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        result = run()
    return int(flops.get_total_flops()) // 2, result


def count_multiplies(network: nn.Module, frames: int, mels: int) -> int:
    """Of convolutions and products of matrices over (1, frames, mels); normalisation folds into them."""
    was_training = network.training
    network.eval()
    count, _ = multiplies_of(lambda: network(torch.zeros(1, frames, mels)))
    network.train(was_training)
    return count
