"""Distillation as the training loop sees it: speech, teacher, pupil, the two stages, dev figures."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from asr.distill import losses
from asr.distill.data import Speech, Taught, load_speech
from asr.distill.heads import Predicted, Pupil
from asr.distill.kmeans import kmeans
from asr.distill.recipe import DistillRecipe
from asr.distill.teachers import EncoderTeacher, Teacher, load_teacher
from asr.distill.units import Units
from stapes.fbank import frame_count
from training.atomic import replacing
from training.checkpoint import first_weights
from training.encoder import cif
from training.encoder.front import FbankFront
from training.encoder.network import Encoder, inherit
from training.fbank import Fbank
from training.recipe import build, to_dict
from training.whisper_cache import CacheSpec

_SAMPLE = 200_000
"""Teacher's frames that units are made of."""


class Batch(NamedTuple):
    """What a step is given."""

    inputs: Tensor
    """(batch, samples) or (batch, frames, mels)."""
    lengths: Tensor
    """(batch,) samples or frames."""
    targets: Tensor
    """(batch, frames, layers, teacher's width): of the layers in `DistillTask.layers`."""
    stage: Tensor
    """1 or 2, a scalar."""
    rate: Tensor
    """λ, a scalar; 0 for a student that does not compress."""


class DistillTask:
    """Implements training.loopspec.Task."""

    name = "distill"

    def __init__(self, recipe: DistillRecipe, data: Path, cache: Path, weights: str = "") -> None:
        """Paths only; files are opened by `prepare`.

        Args:
            recipe: the resolved recipe.
            data: folder that the recipe's folders stand in.
            cache: folder for sound and teacher's features, shared by runs.
            weights: where the teacher's are.
        """
        self.spec, self.data, self.cache, self.weights = recipe, data, cache, weights
        self.recipe: dict[str, Any] = to_dict(recipe)
        self.metric = "cosine" if recipe.heads.teachers else "agreement"
        self.teacher: Teacher
        self.units: Units | None = None
        self.train: Speech
        self.dev: Speech
        self.fbank = Fbank(recipe.features)

    @property
    def provenance(self) -> dict[str, Any]:
        """What was learned, and from whom."""
        hours = int(self.train.lengths().sum()) / 16_000 / 3600
        return {
            "teacher": self.teacher.name,
            "data": [*self.spec.speech.folders, *self.spec.speech.noise],
            "recordings": len(self.train.keys),
            "hours_cropped": round(hours, 2),
        }

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch in one process."""
        return self.spec.epoch_steps

    @property
    def layers(self) -> tuple[int, ...]:
        """The teacher's layers that are stored: those predicted, and what stage 1 and units are made of."""
        first = {0} if self.spec.teaching.front_steps else set()
        last = {self.teacher.depth} if self.spec.heads.units != "none" else set()
        return tuple(sorted(first | last | set(self.spec.heads.teachers)))

    def prepare(self, device: torch.device) -> None:
        """Loads the teacher and stores its features of all recordings; they are computed once."""
        self.teacher, units = load_teacher(f"{self.spec.teacher}:{self.weights}")
        wanted = CacheSpec(self.layers, self.spec.teaching.rate_ms)
        both = [
            load_speech(self.data, self.spec.speech, split, self.cache, teacher=self.teacher, layers=wanted)
            for split in ("train", "dev")
        ]
        self.train, self.dev = both
        if self.spec.heads.units != "none":
            self.units = (units or self._own_units()).to(device)

    def model(self) -> nn.Module:
        """A fresh pupil, whose front end knows its features' mean and deviation, or one begun by `init`.

        Raises:
            CheckpointError, OSError: as `training.checkpoint.first_weights`.
        """
        pool = 1 if self.spec.student.compress else self.spec.teaching.rate_ms // 20
        pupil = Pupil(self.spec.student, self.spec.heads, self.teacher.width, self.units, pool)
        if self.spec.teaching.from_teacher and isinstance(self.teacher, EncoderTeacher):
            inherit(pupil.student, self.teacher.encoder)
        if isinstance(pupil.student.front, FbankFront):
            pupil.student.front.normalise(*self._statistics())
        if self.spec.init:
            first_weights(pupil, Path(self.spec.init))
        return pupil

    def batches(self, epoch: int, rank: int, world: int) -> Iterator[Batch]:
        """Batches of one epoch; epoch, rank and the recipe's seed fix them."""
        seed = (self.spec.loop.seed * 10_000 + epoch) * world + rank
        rates = np.random.default_rng(seed)
        for step, taught in enumerate(self.train.batches(self.steps_per_epoch, seed)):
            stage = 1 if epoch * self.steps_per_epoch + step < self.spec.teaching.front_steps else 2
            yield self._batch(taught, stage, float(rates.uniform()) if self.spec.student.compress else 0.0)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Stage 1: the front end's L1. Stage 2: regression, and units where they have a weight."""
        told: Predicted = model(batch.inputs, batch.lengths, int(batch.stage), batch.rate)
        # A student in chunks leaves out the last frame where only half of it was heard, and of the teacher's
        # long frames, each taught twice, the last may be half over the end.
        heard = (told.alpha[..., None], told.front, told.layers, told.units)
        targets = batch.targets[:, : next(x.shape[-2] for x in heard if x.numel())]
        if int(batch.stage) == 1:
            loss = losses.front_end(told.front, targets[:, :, self.layers.index(0)], told.lengths)
            return loss, {"front": loss}
        teaching = self.spec.teaching
        logged: dict[str, Tensor] = {}
        loss = targets.new_zeros(())
        if told.weights.numel():
            loss = loss + self._compression(told, batch, logged)
            targets = (told.weights @ targets.flatten(2)).reshape(*told.weights.shape[:2], *targets.shape[2:])
        if told.layers.numel():
            chosen = [self.layers.index(layer) for layer in self.spec.heads.teachers]
            taught = targets[:, :, chosen].transpose(1, 2)
            weights = {"distance": teaching.distance, "cosine": teaching.cosine}
            regression, logged["cosine"] = losses.regression(told.layers, taught, told.lengths, **weights)
            loss = loss + regression
        if self.units is not None and told.units.numel():
            taught = self.units(targets[:, :, -1])
            kind = losses.hard_units if self.spec.heads.units == "hard" else losses.soft_units
            logged["units"] = kind(told.units, taught, told.lengths)
            logged["agreement"] = losses.agreement(told.units, taught, told.lengths)
            loss = loss + teaching.units * logged["units"]
        return loss, logged

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Means over the dev recordings' batches, whole beginnings and no noise; λ = 0."""
        device = next(model.parameters()).device
        sums: dict[str, float] = {}
        batches = np.array_split(np.argsort(self.dev.lengths()), max(1, len(self.dev.keys) // 8))
        for numbers in batches:
            batch = self._batch(self.dev.batch(numbers, None), 2, 0.0)
            loss, logged = self.loss(model, Batch(*(part.to(device) for part in batch)))
            for key, value in {"loss": loss, **logged}.items():
                sums[key] = sums.get(key, 0.0) + float(value) / len(batches)
        return sums

    def _batch(self, taught: Taught, stage: int, rate: float) -> Batch:
        inputs, lengths = taught.waves, taught.samples
        if self.spec.student.front == "fbank":
            inputs = self.fbank(inputs)
            lengths = torch.tensor([frame_count(int(n), self.spec.features) for n in lengths])
        targets = taught.targets.reshape(*taught.targets.shape[:2], len(self.layers), self.teacher.width)
        if self.spec.student.compress:
            targets = targets.repeat_interleave(self.spec.teaching.rate_ms // 20, 1)
        return Batch(inputs, lengths, targets, torch.tensor(stage), torch.tensor(rate))

    def _compression(self, told: Predicted, batch: Batch, logged: dict[str, Tensor]) -> Tensor:
        """What the weights learn beside the student's losses: a mean of 2/9, and segments of equal units."""
        spec, alpha = self.spec.teaching, told.alpha
        known = (told.weights.sum(1) > 0)[..., : alpha.shape[1]]
        logged["alpha"] = alpha[known].mean().detach()
        loss = spec.cardinality * (alpha[known].mean() - 2 / 9).abs()
        if spec.guidance and self.units is not None:
            lengths = known.sum(1)
            starts = cif.runs(self.units(batch.targets[:, : alpha.shape[1], -1]).argmax(-1))
            loss = loss + spec.guidance * cif.guidance(alpha, starts, lengths)
        return loss

    def _statistics(self) -> tuple[Tensor, Tensor]:
        some = np.random.default_rng(0).permutation(len(self.train.keys))[:200]
        frames = torch.cat([self.fbank(self.train.batch([i], None).waves)[0] for i in some])
        return frames.mean(0), frames.std(0).clamp_min(1e-3)

    def _own_units(self) -> Units:
        """Centroids of the teacher's last layer, made once."""
        teaching = self.spec.teaching
        wanted = [self.teacher.name, self.spec.speech.folders, teaching.clusters, teaching.rate_ms]
        digest = hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]
        path = self.cache / f"units-{digest}.pt"
        if not path.exists():
            width, parts = self.teacher.width, []
            share = _SAMPLE // len(self.train.cached)
            for cached in self.train.cached.values():
                at = np.sort(np.random.default_rng(0).permutation(len(cached.frames))[:share])
                parts.append(torch.from_numpy(cached.frames[at, -width:].astype(np.float32)))
            with replacing(path) as draft:
                torch.save(kmeans(torch.cat(parts), teaching.clusters), draft)
        return Units(torch.load(path, weights_only=True), tau=teaching.tau)


def load_student(checkpoint: dict[str, Any]) -> tuple[Encoder, DistillRecipe]:
    """The student of a checkpoint, its heads dropped, in eval mode, and the recipe that it was taught by.

    Raises:
        RecipeError: the checkpoint's recipe has unknown keys.
        RuntimeError: weights that do not fit the recipe's student.
    """
    recipe = build(DistillRecipe, checkpoint["recipe"])
    student = Encoder(recipe.student)
    kept = {k.removeprefix("student."): v for k, v in checkpoint["model"].items() if k.startswith("student.")}
    student.load_state_dict(kept)
    return student.eval(), recipe
