"""Multiplications of one forward pass, counted by torch as they happen."""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_multiplies(network: nn.Module, frames: int, mels: int) -> int:
    """Of convolutions and products of matrices over (1, frames, mels); normalisation folds into them."""
    was_training = network.training
    network.eval()
    # Fused attention is not counted on a CPU, so it is taken apart into its products.
    with FlopCounterMode(display=False) as flops, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, frames, mels))
    network.train(was_training)
    return int(flops.get_total_flops()) // 2
