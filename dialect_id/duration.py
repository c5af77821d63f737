"""Results against how much of a recording is heard."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

DURATIONS: Final = (1.0, 2.0, 3.0, 5.0, 10.0)
"""Seconds from the start of a recording."""


def cut(samples: NDArray[np.float32], sample_rate: int, seconds: float | None) -> NDArray[np.float32] | None:
    """The first seconds of a recording; None if it is shorter, so that durations are never mixed.

    Args:
        samples: (samples,) of the recording.
        sample_rate: of them.
        seconds: wanted; None: the whole recording, whatever its length.
    """
    if seconds is None:
        return samples
    wanted = round(seconds * sample_rate)
    return samples[:wanted] if len(samples) >= wanted else None


def steps_after(seconds: float, hop_ms: float) -> int:
    """Whole steps of `hop_ms` in so many seconds."""
    return int(seconds * 1000 / hop_ms + 1e-9)
