"""A picture of a training run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.atomic import replacing


def draw(history: Sequence[Mapping[str, Any]], metric: str, path: Path) -> None:
    """Writes loss, learning rate and the dev metric over epochs as a PNG.

    Args:
        history: one mapping an epoch with "epoch", "loss", "lr" and, where the epoch was evaluated, "dev".
        metric: the key of "dev" to draw.
        path: the PNG, replaced atomically.
    """
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no display, no global state
    losses, rates, scores = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in history]
    losses.plot(epochs, [row["loss"] for row in history], marker=".")
    losses.set(title="training loss", xlabel="epoch")
    rates.plot(epochs, [row["lr"] for row in history], marker=".")
    rates.set(title="learning rate at the end of the epoch", xlabel="epoch")
    seen = [row for row in history if "dev" in row]
    scores.plot([row["epoch"] for row in seen], [row["dev"][metric] for row in seen], marker=".")
    scores.set(title=f"dev {metric}", xlabel="epoch")
    for axes in (losses, rates, scores):
        axes.grid(alpha=0.3)
    with replacing(path) as draft:
        figure.savefig(draft)
