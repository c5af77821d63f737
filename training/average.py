"""Means of a model's weights: over training steps, exponentially, and over its best epochs."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.checkpoint import read, save

RUNNING = ("running_mean", "running_var")
"""BatchNorm's buffers: averaged like weights, for they belong to the averaged weights' activations."""


class Average:
    """Weights averaged over training steps; `module` is the averaged model, always in eval mode.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that the first steps, when the weights are
    still random, are forgotten quickly. Running statistics of BatchNorm are averaged too; other buffers
    (counters, constant tables) are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, got {decay}")
        self.decay = decay
        self.updates = 0
        self.module = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes one step towards the weights of `model`, which has the structure given at the start."""
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        averaged: list[torch.Tensor] = list(self.module.parameters())
        current: list[torch.Tensor] = list(model.parameters())
        for (name, mine), theirs in zip(self.module.named_buffers(), model.buffers(), strict=True):
            if name.endswith(RUNNING):
                averaged.append(mine)
                current.append(theirs)
            else:
                mine.copy_(theirs)
        torch._foreach_lerp_(averaged, current, 1 - keep)

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on to the bit."""
        return {"updates": self.updates, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up where `state_dict` was called."""
        self.updates = int(state["updates"])
        self.module.load_state_dict(state["module"])


def keep(
    folder: Path, weights: dict[str, Tensor], epoch: int, score: float, most: int
) -> tuple[bool, dict[str, Tensor]]:
    """Files an epoch's weights if it is among the best.

    Args:
        folder: of the files; one call's survivors are the next one's rivals.
        weights: a state_dict.
        epoch: names the file; an epoch that a resumed run repeats replaces itself.
        score: to maximise; of equals the earlier epoch stays.
        most: files to keep.

    Returns:
        Whether this epoch is among the best, and the mean of the kept weights (counters: the best epoch's).
    """
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / f"{epoch}.pt", {"score": score, "model": weights})
    paths = sorted(folder.glob("*.pt"), key=lambda path: int(path.stem))
    files = sorted(((read(path), path) for path in paths), key=lambda file: -file[0]["score"])
    for _, path in files[most:]:
        path.unlink()
    best = [file["model"] for file, _ in files[:most]]
    mean = {
        name: torch.stack([each[name] for each in best]).mean(0) if value.is_floating_point() else value
        for name, value in best[0].items()
    }
    return epoch in [int(path.stem) for _, path in files[:most]], mean
