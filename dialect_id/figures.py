"""Drawings of how a model does: confusion, detection error trade-off, calibration, duration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtri

from stapes.tasks.detection import ece, reliability

Reals = NDArray[np.float64]
_TICKS = (0.1, 0.5, 2, 5, 10, 20, 40, 60, 80)
"""Percent."""


def draw_confusion(confusion: Mapping[str, Mapping[str, int]], path: Path) -> None:
    """Writes a PNG: true labels down, found ones across, each row's share as a shade."""
    labels = sorted(confusion.keys() | {found for row in confusion.values() for found in row})
    counts = np.array([[confusion.get(true, {}).get(found, 0) for found in labels] for true in labels])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, 0.28 * len(labels) + 1.5)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("found")
    axes.set_ylabel("true")
    for true, found in zip(*(at.tolist() for at in np.nonzero(counts)), strict=True):
        color = "white" if shares[true, found] > 0.5 else "black"
        axes.text(found, true, str(counts[true, found]), ha="center", va="center", fontsize=6, color=color)
    figure.savefig(path, dpi=120)


def draw_det(curves: Mapping[str, tuple[Reals, Reals]], path: Path) -> None:
    """Writes a PNG with one detection error trade-off a name, on normal deviates.

    Args:
        curves: name to what `stapes.tasks.detection.det` gives.
        path: of the picture.
    """
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes = figure.subplots()
    low, high = float(ndtri(_TICKS[0] / 200)), float(ndtri(_TICKS[-1] / 100))
    for name, shares in curves.items():
        accepts, misses = (np.clip(ndtri(np.clip(x, 1e-9, 1 - 1e-9)), low, high) for x in shares)
        axes.plot(accepts, misses, label=name)
    at = [float(ndtri(tick / 100)) for tick in _TICKS]
    axes.plot([low, high], [low, high], color="0.7", linestyle=":", linewidth=1)
    axes.set_xticks(at, [f"{tick:g}" for tick in _TICKS])
    axes.set_yticks(at, [f"{tick:g}" for tick in _TICKS])
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_xlabel("false accepts, %")
    axes.set_ylabel("misses, %")
    axes.grid(alpha=0.3)
    if curves:
        axes.legend()
    figure.savefig(path, dpi=120)


def draw_reliability(answers: Mapping[str, tuple[Any, Any]], path: Path) -> None:
    """Writes a PNG: share of right answers against sureness, a line a name; dots as large as bins are full.

    Args:
        answers: name to sureness (answers,) and whether each was right.
        path: of the picture.
    """
    figure = Figure(figsize=(5.2, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    for name, (sureness, right) in answers.items():
        counts, sure, share = reliability(sureness, right)
        filled = counts > 0
        sizes = 200 * counts[filled] / counts.sum()
        (line,) = axes.plot(sure[filled], share[filled], label=f"{name} (ECE {ece(sureness, right):.3f})")
        axes.scatter(sure[filled], share[filled], s=sizes, color=line.get_color())
    axes.set_xlabel("posterior of the likeliest label")
    axes.set_ylabel("share that is right")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    if answers:
        axes.legend()
    figure.savefig(path, dpi=120)


def draw_durations(lines: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """Writes a PNG: for each figure by name, (seconds, percent) as points of a line."""
    figure = Figure(figsize=(5.6, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
    axes.set_xlabel("seconds heard")
    axes.set_ylabel("%")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    if lines:
        axes.legend()
    figure.savefig(path, dpi=120)
