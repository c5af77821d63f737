"""The detection error trade-off, drawn: misses against false accepts per hour as thresholds move together."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kws.peaks import LOWEST, Peaks


def curve(peaks: Peaks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False accepts per hour and missed share, at thresholds from LOWEST to 1, the same for all keywords."""
    false = np.sort(np.concatenate(list(peaks.false.values())))
    true = np.sort(np.concatenate(list(peaks.true.values())))
    thresholds = np.concatenate((np.linspace(LOWEST, 0.99, 70), 1 - np.geomspace(0.009, 1e-4, 30)))
    accepted = len(false) - np.searchsorted(false, thresholds)
    return accepted / peaks.hours, np.searchsorted(true, thresholds) / max(1, len(true))


def draw_det(parts: Mapping[str, Peaks], path: Path) -> None:
    """Writes a PNG with one curve a part; the keywords missed are clips as recorded, whatever the part."""
    mpl.use("Agg")
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, peaks in parts.items():
        rate, missed = curve(peaks)
        axes.plot(rate, 100 * missed, drawstyle="steps-post", label=f"{name} ({peaks.hours:.1f} h)")
    axes.axvline(0.5, color="0.6", linestyle=":", linewidth=1)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xlabel("false accepts per hour of other speech and noise")
    axes.set_ylabel("missed keywords (clips as recorded), %")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
