"""The keyword spotter as the training loop sees it: data, network, loss, dev figures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kws.clips import LABELS
from kws.features import Judged, Store, build_store, judged
from kws.mixing import Mixer, warm_up_mean
from kws.network import KeywordNet
from kws.recipe import KwsRecipe
from training.checkpoint import read
from training.recipe import build, to_dict

Batch = tuple[Tensor, Tensor]


class KwsTask:
    """Implements training.loopspec.Task for a recipe and a data folder."""

    name = "kws"
    metric = "accuracy"
    """Not the balanced one: dev has two clips each of `on` and `off`, and one would move it by 4.5 points."""

    def __init__(self, recipe: KwsRecipe, data: Path, cache: Path) -> None:
        """Paths only; files are opened by `prepare`.

        Args:
            recipe: the resolved recipe.
            data: folder that the recipe's folders stand in.
            cache: folder for computed features, shared by runs.
        """
        self.spec = recipe
        self.recipe: dict[str, Any] = to_dict(recipe)
        self.data, self.cache = data, cache
        self.store: Store
        self.dev: Judged
        self.teachers: list[KeywordNet] = []

    @property
    def provenance(self) -> dict[str, Any]:
        """What was trained on."""
        return {
            "data": [
                self.spec.data.main,
                *self.spec.data.extra,
                *self.spec.data.running,
                *self.spec.data.noise,
            ],
            "clips": {
                label: int(n)
                for label, n in zip(LABELS, np.bincount(self.store.labels, minlength=12), strict=True)
            },
            "synthetic_clips": int(self.store.synthetic.sum()),
            "running_hours": round(len(self.store.running) / 360_000, 2),
        }

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch in one process."""
        return max(1, self.spec.epoch_clips // (self.spec.loop.batch * self.spec.loop.devices))

    def prepare(self, device: torch.device) -> None:
        """Teachers, whose absence is told first, and features of all clips, computed on the first call."""
        for path in self.spec.distillation.checkpoints:
            self.teachers.append(load_network(read(Path(path)))[0].to(device))
        self.store = build_store(self.data, self.spec.data, self.spec.features, self.cache)
        self.dev = judged(self.data / self.spec.data.main, "dev", self.spec.features, self.cache)

    def model(self) -> nn.Module:
        """A fresh network that knows its features' mean and deviation."""
        network = KeywordNet(self.spec.network, self.spec.features.mels, len(LABELS))
        network.normalise(*warm_up_mean(self.store, self.spec.mix, self.spec.data.seed))
        return network

    def batches(self, epoch: int, rank: int, world: int) -> Iterator[Batch]:
        """Examples of one epoch; epoch, rank and the recipe's seed fix them."""
        seed = (self.spec.loop.seed * 10_000 + epoch) * world + rank
        return Mixer(self.store, self.spec.mix, seed).batches(self.spec.loop.batch, self.steps_per_epoch)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy with the labels, and with the teachers where there are any."""
        frames, labels = batch
        logits = model(frames).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.spec.label_smoothing)
        if not self.teachers:
            return loss
        with torch.no_grad():
            taught = torch.stack([teacher(frames).float().softmax(-1) for teacher in self.teachers]).mean(0)
        share = self.spec.distillation.weight
        return (1 - share) * loss + share * F.cross_entropy(logits, taught)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Accuracy on the dev speakers, and its mean over the classes: dev has few `on` and `off`."""
        device = next(model.parameters()).device
        batches = torch.split(torch.from_numpy(self.dev.frames), 256)
        guesses = torch.cat([model(frames.to(device)).argmax(-1).cpu() for frames in batches]).numpy()
        right = guesses == self.dev.labels
        classes = [right[self.dev.labels == label].mean() for label in np.unique(self.dev.labels)]
        return {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(classes))}


def load_network(checkpoint: dict[str, Any]) -> tuple[KeywordNet, KwsRecipe]:
    """The network of a checkpoint, in eval mode, and the recipe that it was trained by.

    Raises:
        RecipeError: the checkpoint's recipe has unknown keys.
        RuntimeError: weights that do not fit the recipe's network.
    """
    recipe = build(KwsRecipe, checkpoint["recipe"])
    network = KeywordNet(recipe.network, recipe.features.mels, len(LABELS))
    network.load_state_dict(checkpoint["model"])
    return network.eval(), recipe
