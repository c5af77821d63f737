"""The arrays that flow through the package, and the one check of what a caller hands in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""(samples,) mono audio in [-1, 1]."""
Frames = NDArray[np.float32]
"""(frames, mels) log-mel features."""


def as_samples(samples: NDArray[Any]) -> Samples:
    """One block of mono audio as contiguous float32, copied only where it must be.

    float64 is rounded to float32. Integers are refused: nobody can tell whether a 3 in them means
    3/32768 or an error. Values are not looked at, so NaN and infinity pass.

    Args:
        samples: (samples,) float32 or float64, any length, zero included.

    Raises:
        TypeError: any other dtype.
        ValueError: not one axis.
    """
    block = np.asarray(samples)
    if block.dtype.kind != "f" or block.dtype.itemsize not in (4, 8):
        raise TypeError(f"samples must be float32 in [-1, 1], got {block.dtype} (int16: divide by 32768)")
    if block.ndim != 1:
        raise ValueError(f"samples must have one axis (mono), got shape {block.shape}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        return np.ascontiguousarray(block, dtype=np.float32)


LOUDEST = 32.0
"""No audio in [-1, 1] goes 30 dB over full scale; 16-bit values that were not divided soon do."""


def refuse_loud(samples: Samples) -> None:
    """Checks finite samples.

    Raises:
        ValueError: one is beyond `LOUDEST`.
    """
    loudest = float(np.max(np.abs(samples), initial=0.0))
    if loudest > LOUDEST:
        raise ValueError(f"samples must be in [-1, 1], got {loudest:g} (16-bit values: divide by 32768)")
