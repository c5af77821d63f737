"""A task small enough for tests, and a command to train it in several processes."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.loop import LoopSpec, fit


@dataclass
class TinyTask:
    """Tells points left of a line from those right of it, through dropout and a BatchNorm."""

    seed: int = 0
    steps_per_epoch: int = 5
    stop_at: tuple[int, int] | None = None
    """Raise KeyboardInterrupt in the loss of this (epoch, step)."""
    name: str = "tiny"
    metric: str = "accuracy"
    provenance: dict[str, Any] = field(default_factory=lambda: {"data": "points"})
    now: tuple[int, int] = (0, 0)

    @property
    def recipe(self) -> dict[str, Any]:
        return {"seed": self.seed, "loop": {}}

    def prepare(self, device: torch.device) -> None:
        self.device = device

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2)
        )

    def points(self, seed: int) -> tuple[Tensor, Tensor]:
        points = torch.randn(32, 2, generator=torch.Generator().manual_seed(seed))
        return points, (points.sum(1) > 0).long()

    def batches(self, epoch: int, rank: int, world: int) -> Iterator[tuple[Tensor, Tensor]]:
        for step in range(self.steps_per_epoch):
            self.now = (epoch, step)
            yield self.points(1 + rank + world * (step + 1000 * epoch))

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if self.now == self.stop_at:
            raise KeyboardInterrupt
        scores = model(batch[0])
        return F.cross_entropy(scores, batch[1]), {"right": (scores.argmax(1) == batch[1]).float().mean()}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        points, sides = self.points(0)
        return {"accuracy": float((model(points.to(self.device)).argmax(1).cpu() == sides).float().mean())}


def main() -> None:
    """Trains in two processes; each leaves its weights and its result in the folder of argv."""
    out = Path(sys.argv[1])
    task = TinyTask()
    made: list[nn.Module] = []
    build = task.model

    def model() -> nn.Module:
        made.append(build())
        return made[0]

    task.model = model  # type: ignore[method-assign]
    spec = LoopSpec(epochs=2, devices=2, accelerator="cpu", precision="32-true", lr=0.05, threads=1)
    result = fit(task, spec, out)
    rank = torch.distributed.get_rank()
    torch.save({"weights": made[0].state_dict(), "result": result}, out / f"rank{rank}.saved")


if __name__ == "__main__":
    main()
