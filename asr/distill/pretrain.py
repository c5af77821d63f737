"""A HuBERT of our own: units by k-means on cepstra, masked prediction, then again on its own features."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from asr.distill.data import Speech, Taught, load_speech
from asr.distill.kmeans import assign, kmeans
from asr.distill.masking import Masked, guessed, spans
from asr.distill.mfcc import Mfcc
from asr.distill.recipe import SpeechSpec
from asr.distill.teachers import EncoderTeacher, Teacher
from asr.distill.units import Units
from stapes.fbank import frame_count
from stapes.spec import FbankSpec
from training.atomic import replacing
from training.checkpoint import read
from training.encoder.front import FbankFront
from training.encoder.spec import EncoderSpec
from training.fbank import Fbank
from training.loopspec import LoopSpec
from training.recipe import build, to_dict
from training.whisper_cache import CacheSpec

_SAMPLE = 200_000
"""Frames that units are made of."""


@dataclass(frozen=True, slots=True)
class PretrainRecipe:
    """A whole recipe."""

    name: str = "hubert-small"
    speech: SpeechSpec = field(default_factory=SpeechSpec)
    features: FbankSpec = field(default_factory=lambda: FbankSpec(mels=80))
    encoder: EncoderSpec = field(default_factory=EncoderSpec)
    previous: str = ""
    """Path of the best.pt whose features make the units of a second iteration; "": the first, on cepstra."""
    layer: int = 6
    """Of the previous one."""
    clusters: int = 100
    """100 on cepstra, 500 in the second iteration (HuBERT Base)."""
    chance: float = 0.08
    """That a frame begins a hidden span."""
    span: int = 10
    """Frames of 20 ms."""
    epoch_steps: int = 200
    loop: LoopSpec = field(default_factory=LoopSpec)

    def __post_init__(self) -> None:
        if self.encoder.front == "fbank" and self.features.mels != self.encoder.mels:
            raise ValueError(f"features of {self.features.mels} mels, the encoder wants {self.encoder.mels}")
        if self.encoder.compress:
            raise ValueError("an encoder that compresses has no frames to hide")


class Batch(NamedTuple):
    """What a step is given."""

    inputs: Tensor
    lengths: Tensor
    units: Tensor
    """(batch, frames)."""
    hidden: Tensor
    """(batch, frames), True where hidden."""


class PretrainTask:
    """Implements training.loopspec.Task."""

    name = "pretrain"
    metric = "accuracy"

    def __init__(self, recipe: PretrainRecipe, data: Path, cache: Path) -> None:
        """Paths only; files are opened by `prepare`."""
        self.spec, self.data, self.cache = recipe, data, cache
        self.recipe: dict[str, Any] = to_dict(recipe)
        self.fbank = Fbank(recipe.features)
        self.teacher: Teacher
        self.train: Speech
        self.dev: Speech
        self.centroids: Tensor

    @property
    def provenance(self) -> dict[str, Any]:
        """What was learned from."""
        hours = int(self.train.lengths().sum()) / 16_000 / 3600
        return {
            "units": f"{self.spec.clusters} of {self.teacher.name}",
            "data": list(self.spec.speech.folders),
            "recordings": len(self.train.keys),
            "hours_cropped": round(hours, 2),
        }

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch in one process."""
        return self.spec.epoch_steps

    def prepare(self, device: torch.device) -> None:  # noqa: ARG002 - units are assigned on the CPU
        """Stores the frames that units are made of, and makes these once."""
        spec = self.spec
        self.teacher = load_pretrained(Path(spec.previous))[0] if spec.previous else Mfcc()
        wanted = CacheSpec((spec.layer if spec.previous else 0,))
        both = [
            load_speech(self.data, spec.speech, split, self.cache, teacher=self.teacher, layers=wanted)
            for split in ("train", "dev")
        ]
        self.train, self.dev = both
        named = repr([self.teacher.name, spec.speech.folders, spec.clusters, wanted.layers])
        path = self.cache / f"centroids-{hashlib.sha256(named.encode()).hexdigest()[:12]}.pt"
        if not path.exists():
            parts, share = [], _SAMPLE // len(self.train.cached)
            for cached in self.train.cached.values():
                at = np.sort(np.random.default_rng(0).permutation(len(cached.frames))[:share])
                parts.append(torch.from_numpy(cached.frames[at].astype(np.float32)))
            with replacing(path) as draft:
                torch.save(kmeans(torch.cat(parts), spec.clusters), draft)
        self.centroids = torch.load(path, weights_only=True)

    def model(self) -> nn.Module:
        """A fresh one, whose front end knows its features' mean and deviation."""
        model = Masked(self.spec.encoder, self.spec.clusters)
        if isinstance(model.encoder.front, FbankFront):
            some = np.random.default_rng(0).permutation(len(self.train.keys))[:200]
            frames = torch.cat([self.fbank(self.train.batch([i], None).waves)[0] for i in some])
            model.encoder.front.normalise(frames.mean(0), frames.std(0).clamp_min(1e-3))
        return model

    def batches(self, epoch: int, rank: int, world: int) -> Iterator[Batch]:
        """Batches of one epoch; epoch, rank and the recipe's seed fix them."""
        seed = (self.spec.loop.seed * 10_000 + epoch) * world + rank
        rng = np.random.default_rng(seed)
        for taught in self.train.batches(self.steps_per_epoch, seed):
            yield self._batch(taught, rng)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy over the hidden frames."""
        logits, lengths = model(batch.inputs, batch.lengths, batch.hidden)
        loss, accuracy = guessed(logits, batch.units, batch.hidden, lengths)
        return loss, {"accuracy": accuracy.detach()}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Means over the dev recordings' batches, the same frames hidden each time."""
        device, rng = next(model.parameters()).device, np.random.default_rng(0)
        sums = {"loss": 0.0, "accuracy": 0.0}
        batches = np.array_split(np.argsort(self.dev.lengths()), max(1, len(self.dev.keys) // 8))
        for numbers in batches:
            batch = self._batch(self.dev.batch(numbers, None), rng)
            loss, logged = self.loss(model, Batch(*(part.to(device) for part in batch)))
            for key, value in {"loss": loss, **logged}.items():
                sums[key] += float(value) / len(batches)
        return sums

    def _batch(self, taught: Taught, rng: np.random.Generator) -> Batch:
        inputs, lengths = taught.waves, taught.samples
        frames = (lengths - 400).div(320, rounding_mode="floor") + 1
        if self.spec.encoder.front == "fbank":
            inputs = self.fbank(inputs)
            lengths = torch.tensor([frame_count(int(n), self.spec.features) for n in lengths])
            if self.spec.encoder.chunk:  # frames in whole pairs
                frames = lengths // 2
        most = int(frames.max())
        targets = taught.targets[:, :most]
        units = assign(targets.flatten(0, 1), self.centroids).reshape(targets.shape[:2])
        hidden = spans(frames.numpy(), self.spec.chance, self.spec.span, rng)
        return Batch(inputs, lengths, units, torch.from_numpy(hidden))


def load_pretrained(path: Path) -> tuple[EncoderTeacher, Units]:
    """The encoder of a run, as a teacher, and its units: what it learned to guess."""
    checkpoint = read(path)
    recipe = build(PretrainRecipe, checkpoint["recipe"])
    model = Masked(recipe.encoder, recipe.clusters)
    model.load_state_dict(checkpoint["model"])
    features = recipe.features if recipe.encoder.front == "fbank" else None
    # Named by its weights too: what is stored of its features must not be taken for another run's.
    digest = hashlib.sha256(model.project.weight.detach().numpy().tobytes()).hexdigest()[:6]
    name = f"{recipe.name}, {recipe.encoder.layers} × {recipe.encoder.width}, our own ({digest})"
    project = model.project
    units = Units.of(model.embeddings.detach(), project.weight.detach(), project.bias.detach(), model.tau)
    return EncoderTeacher(model.encoder, name, features), units
