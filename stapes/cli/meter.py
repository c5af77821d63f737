"""The level meter: one line on a terminal that shows what is heard."""

import math
from typing import Final, TextIO

import numpy as np

from stapes.samples import Samples

WIDTH: Final = 30
FLOOR_DBFS: Final = -60.0
CLIPPING: Final = 0.999


class LevelMeter:
    """Shows the peak of each tenth of a second, by rewriting one line."""

    def __init__(self, terminal: TextIO, sample_rate: int) -> None:
        self._terminal = terminal
        self._every = sample_rate // 10
        self._heard = 0
        self._peak = 0.0

    def hear(self, samples: Samples) -> None:
        """Take a block; draw when a tenth of a second has gathered."""
        self._heard += len(samples)
        self._peak = max(self._peak, float(np.abs(samples).max(initial=0.0)))
        if self._heard >= self._every:
            self._terminal.write(f"\r{bar(self._peak)}")
            self._terminal.flush()
            self._heard, self._peak = 0, 0.0

    def clear(self) -> None:
        """Empty the line, so that something else can be printed there."""
        self._terminal.write(f"\r{' ' * len(bar(1.0))}\r")
        self._terminal.flush()


def bar(peak: float) -> str:
    """The peak, 0 to 1, as a bar on a decibel scale; always equally wide."""
    decibels = 20 * math.log10(peak) if peak > 0 else -math.inf
    full = round(WIDTH * min(max(1 - decibels / FLOOR_DBFS, 0.0), 1.0))
    word = "CLIPPING" if peak >= CLIPPING else "silent" if peak == 0 else f"{decibels:.0f} dBFS"
    return f"[{'#' * full}{'.' * (WIDTH - full)}] {word:<9}"
