"""Where a step stands: sinusoids added to it, or a rotation of its queries and keys."""

import math

import torch
from torch import Tensor

LONGEST = 1e5
"""Longest timescale of the sinusoids, in steps; the shortest is 1 (arXiv 2008.04481's code)."""
ROTARY_BASE = 10_000.0


def sinusoids(at: Tensor, width: int) -> Tensor:
    """Positions as sines of `width` / 2 timescales, then their cosines.

    Args:
        at: (...,) positions, whole or not.
        width: an even number.

    Returns:
        (..., width) float32
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=at.device)
    rates = torch.exp(steps * (-math.log(LONGEST) / max(1, half - 1)))
    angles = at.float().unsqueeze(-1) * rates
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def rotation(first: int, end: int, width: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Cosines and sines, (end - first, width) each, that `rotate` turns positions `first` up to `end` by.

    Only differences of positions matter to attention (arXiv 2104.09864, equation 16), so `first` may be
    negative: a cache is before the chunk, whatever the time.
    """
    rates = ROTARY_BASE ** (-torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
    angles = torch.arange(first, end, dtype=torch.float32, device=device)[:, None] * rates
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turns queries or keys (..., steps, width) by their positions; same dtype as `x`."""
    half = x.shape[-1] // 2
    cos, sin = turn[0].to(x.dtype), turn[1].to(x.dtype)
    swapped = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + swapped * sin
