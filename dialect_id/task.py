"""Language recognition as the training loop sees it: data, network, loss, dev figures."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dialect_id.batches import NOISE_ALONE, Batch, Sampler, Store, mean_and_deviation
from dialect_id.data import Corpus, Part, gather
from dialect_id.dev import judge
from dialect_id.head import with_margin
from dialect_id.pooled_encoder import begin_with_encoder
from dialect_id.recipe import DialectRecipe, TeachingSpec
from dialect_id.student import Student, make_network
from dialect_id.teaching import Teacher
from training.checkpoint import first_weights
from training.recipe import RecipeError, to_dict
from training.utterances import Utterances, build_utterances


class DialectTask:
    """Implements training.loopspec.Task for a recipe and a data folder."""

    name = "dialect_id"
    metric = "accuracy"

    def __init__(self, recipe: DialectRecipe, data: Path, cache: Path) -> None:
        """Paths only; files are opened by `prepare`.

        Args:
            recipe: the resolved recipe.
            data: folder that the recipe's folders stand in.
            cache: folder for computed features, shared by runs.
        """
        self.spec = recipe
        self.recipe: dict[str, Any] = to_dict(recipe)
        self.data, self.cache = data, cache
        self.corpus: Corpus
        self.stores: list[Store]
        self.noise: NDArray[np.float16]
        self.dev: Store
        self.unknown: Store | None = None
        self.teacher: Teacher | None = None

    @property
    def provenance(self) -> dict[str, Any]:
        """What was trained on, and the labels in the order of the logits."""
        counts = np.zeros(len(self.corpus.labels), np.int64)
        for store in self.stores:
            counts += np.bincount(store.classes[store.classes >= 0], minlength=len(counts))
        hours = {
            store.folder: round(
                float(store.utterances.lengths().sum()) * self.spec.features.hop_ms / 3.6e6, 2
            )
            for store in self.stores
        }
        return {
            "labels": list(self.corpus.labels),
            "data": [*hours, *self.spec.data.noise],
            "hours": hours,
            "recordings": dict(zip(self.corpus.labels, counts.tolist(), strict=True)),
        }

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch in one process."""
        return max(1, self.spec.epoch_clips // (self.spec.loop.batch * self.spec.loop.devices))

    def prepare(self, device: torch.device) -> None:  # noqa: ARG002 - features stay on the CPU
        """Features of all recordings, computed on the first call with a cache folder.

        Raises:
            ManifestError: as `gather` and `Teacher`.
            AudioError: a recording cannot be read.
            RecipeError: mix.weights names a folder that is not trained on.
        """
        spec = self.spec
        named = (spec.data.main, *spec.data.extra, *spec.data.unlabelled)
        if strange := sorted(spec.mix.weights.keys() - set(named)):
            raise RecipeError(f"mix.weights names {', '.join(strange)}; trained on are {', '.join(named)}")
        self.corpus = gather(self.data, spec.data)
        rooms = spec.data.rooms if spec.data.variants > 1 else 0
        self.stores = [self._store(part, spec.data.variants, rooms) for part in self.corpus.train]
        self.dev = self._store(self.corpus.judged)
        if self.corpus.unknown.recordings:
            self.unknown = self._store(self.corpus.unknown)
        self.noise = np.zeros((0, spec.features.mels), np.float16)
        if self.corpus.noise:
            self.noise = build_utterances(self.corpus.noise, spec.features, self.cache).frames
        if spec.teaching.folder:
            folders = [store.folder for store in self.stores]
            self.teacher = Teacher(spec.teaching, folders, self.corpus.labels)

    def _store(self, part: Part, variants: int = 1, rooms: int = 0) -> Store:
        seed = self.spec.data.seed if variants > 1 else 0
        features: Utterances = build_utterances(
            part.recordings, self.spec.features, self.cache, variants=variants, seed=seed, rooms=rooms
        )
        return Store(part.folder, features, part.classes)

    def model(self) -> nn.Module:
        """A fresh network that knows its features' mean and deviation, and its map to the teacher's.

        Raises:
            RecipeError: something is asked of a network that only one that streams has.
            ManifestError: no recording with a label is long enough to be drawn.
            CheckpointError, OSError: as `first_weights`.
        """
        network = make_network(self.spec, len(self.corpus.labels))
        network.normalise(*mean_and_deviation(self._sampler(self.spec.data.seed)))
        if self.spec.hops_weight and not network.streams:
            raise RecipeError(f"hops_weight is for networks that stream, not {self.spec.network.kind!r}")
        width = self.teacher.width if self.teacher else 0
        steps = 0
        if self.spec.teaching.frames:
            if not network.streams:
                raise RecipeError(
                    f"teaching.frames is for networks that stream, not {self.spec.network.kind!r}"
                )
            steps = network.streaming.step_channels
        hops = self.spec.hops_weight > 0
        student = Student(network, self.spec.network.embedding, width, hops=hops, steps=steps)
        if self.spec.init_encoder:
            begin_with_encoder(student, Path(self.spec.init_encoder))
        if self.spec.init:
            first_weights(student, Path(self.spec.init))
        return student

    def batches(self, epoch: int, rank: int, world: int) -> Iterator[Batch]:
        """Examples of one epoch; epoch, rank and the recipe's seed fix them."""
        seed = (self.spec.loop.seed * 10_000 + epoch) * world + rank
        return self._sampler(seed).batches(self.spec.loop.batch, self.steps_per_epoch, epoch)

    def _sampler(self, seed: int) -> Sampler:
        return Sampler(
            self.stores,
            self.noise,
            self.spec.mix,
            features=self.spec.features,
            seed=seed,
            teacher=self.teacher,
        )

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Cross-entropy with the labels, and what the teacher's answers add, in float32."""
        logits, directions, steps = model(batch.frames)
        logits = logits.float()
        weight = self.spec.hops_weight
        loss = self._label_loss(logits[:, -1], batch)
        if weight:
            hops = logits.shape[1]
            each = [self._label_loss(logits[:, hop], batch) for hop in range(hops)]
            loss = (loss + weight * torch.stack(each).mean()) / (1 + weight)
        spoken = batch.classes >= 0
        right = (logits[:, -1].argmax(-1) == batch.classes).float().sum() / spoken.sum().clamp(min=1)
        told = {"train_accuracy": right}
        if self.teacher:
            more = teacher_losses(logits[:, -1], directions.float(), batch, self.teacher)
            teaching = self.spec.teaching
            loss = loss + teaching.posteriors * more["divergence"] + teaching.embedding * more["direction"]
            if teaching.frames:
                step_ms = self.spec.features.hop_ms * self.spec.network.step_frames
                more["frames"] = frames_loss(steps.float(), batch, step_ms, teaching)
                loss = loss + teaching.frames * more["frames"]
            told |= more
        return loss, told

    def _label_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean over the batch; examples without a label add nothing, noise its distance from evenness."""
        head, classes = self.spec.head, batch.classes
        spoken = classes >= 0
        margin = head.margin_at(int(batch.epoch))
        turned = with_margin(logits, classes.clamp(min=0), head.scale, margin) if margin else logits
        losses = F.cross_entropy(
            turned, classes.clamp(min=0), reduction="none", label_smoothing=self.spec.label_smoothing
        )
        even = -logits.log_softmax(-1).mean(-1)
        losses = torch.where(spoken, losses, torch.where(classes == NOISE_ALONE, even, 0.0))
        return losses.mean()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures of the dev recordings (see dialect_id.dev.judge)."""
        return judge(model, self.dev, self.unknown)


def frames_loss(steps: Tensor, batch: Batch, step_ms: float, spec: TeachingSpec) -> Tensor:
    """Mean 1 - cosine between a teacher's frames and the steps heard `spec.delay_ms` after each.

    Args:
        steps: (batch, steps, the teacher's width), of `step_ms`; the mean of those of one frame counts.
        batch: with the teacher's frames and their weights.
        step_ms: a divisor of spec.frame_ms.
        spec: period and delay.
    """
    together = round(spec.frame_ms / step_ms)
    count, late = batch.teacher_frames.shape[1], round(spec.delay_ms / spec.frame_ms)
    found = steps[:, : count * together].reshape(len(steps), count, together, -1).mean(2)[:, late:]
    apart = 1 - F.cosine_similarity(found, batch.teacher_frames[:, : count - late], dim=-1)
    return torch.as_tensor((apart.mean(1) * batch.direction_weights).mean())


def teacher_losses(logits: Tensor, directions: Tensor, batch: Batch, teacher: Teacher) -> dict[str, Tensor]:
    """How far an answer is from the teacher's, as means over the batch.

    Args:
        logits: (batch, labels) float32.
        directions: (batch, the teacher's width or 0).
        batch: with the teacher's answers and their weights.
        teacher: who gave them.

    Returns:
        "divergence": Kullback-Leibler over the labels that the teacher knows, times the temperature squared;
        "direction": 1 - cosine. Those that have no weight in the recipe are left out.
    """
    spec, told = teacher.spec, {"divergence": logits.new_zeros(()), "direction": logits.new_zeros(())}
    if spec.posteriors:
        known = torch.from_numpy(teacher.known).to(logits.device)
        found = (logits[:, known] / spec.temperature).log_softmax(-1)
        # Raised to 1 / temperature and normalised again: the teacher's own softening.
        wanted = (batch.posteriors.clamp(min=1e-8).log() / spec.temperature).log_softmax(-1)
        apart = (wanted.exp() * (wanted - found)).sum(-1) * spec.temperature**2
        told["divergence"] = (batch.posterior_weights * apart).mean()
    if spec.embedding:
        apart = 1 - F.cosine_similarity(directions, batch.directions, dim=-1)
        told["direction"] = (batch.direction_weights * apart).mean()
    return told
