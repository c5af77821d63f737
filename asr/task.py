"""The recogniser as the training loop sees it: data, network, loss, dev figures."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asr import ctc, loss
from asr.batches import Batch, Batches, Corpus, Teacher
from asr.errors import error_rate
from asr.recipe import AsrRecipe, Part
from asr.search import greedy
from asr.stbd import Stbd
from asr.text import NORMALISERS
from asr.vocabulary import L2R, R2L, Vocabulary
from training.checkpoint import beginning_with, first_weights
from training.recipe import build, to_dict
from training.utterances import ManifestError, Noise, Recording, build_utterances, read_manifest

HELD = "held"
DEV_SECONDS = 60.0
"""Of a batch of dev recordings."""
MOMENTS = 2000
"""Recordings that the features' mean and deviation are measured on."""


class AsrTask:
    """Implements training.loopspec.Task for a recipe and folders of data."""

    name = "asr"
    metric = "accuracy"
    """1 − the mean of the dev parts' error rates; negative where nothing is right yet."""

    def __init__(self, recipe: AsrRecipe, data: Sequence[Path], cache: Path) -> None:
        """Paths only; files are opened by `prepare`.

        Args:
            recipe: the resolved recipe.
            data: folders that the recipe's folders stand in; the first that has one counts.
            cache: folder for computed features, shared by runs.
        """
        self.spec = recipe
        self.data, self.cache = tuple(data), cache
        self.vocabulary: Vocabulary
        if recipe.symbols:  # of a checkpoint; `prepare` reads the file
            self.vocabulary = Vocabulary(recipe.symbols)
        self.train: Batches
        self.dev: dict[str, Batches]
        self.mean: Tensor
        self.deviation: Tensor

    @property
    def recipe(self) -> dict[str, Any]:
        """With the vocabulary, once it is read."""
        return to_dict(self.spec)

    @property
    def provenance(self) -> dict[str, Any]:
        """What was trained on, in hours."""
        corpora = zip(self.spec.data.train, self.train.corpora, strict=True)
        hop_ms = self.spec.features.hop_ms
        return {
            "data": [*self.spec.data.train, *self.spec.data.noise],
            "hours": {
                name: round(float(corpus.utterances.lengths().sum()) * hop_ms / 3.6e6, 2)
                for name, corpus in corpora
            },
        }

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch in one process."""
        frames = self.spec.epoch_hours * 3.6e6 / self.spec.features.hop_ms or self.train.frames
        return max(1, int(frames / (self.train.budget * self.spec.loop.devices)))

    def prepare(self, device: torch.device) -> None:  # noqa: ARG002
        """Features of all recordings, computed on the first call with a cache folder.

        Raises:
            ManifestError: a folder is missing or nothing is left of it.
        """
        spec, data = self.spec, self.spec.data
        self.vocabulary = Vocabulary.load(self._find(data.vocabulary))
        self.spec = replace(spec, symbols=self.vocabulary.symbols)
        noises = [each for name in data.noise for each in read_manifest(self._find(name))]
        noise = None
        if noises:
            sounds = build_utterances(noises, spec.features, self.cache).frames
            noise = Noise(sounds, spec.noise, spec.features.floor)
        corpora = [self._corpus(name, part, True) for name, part in data.train.items()]
        if not corpora:
            raise ManifestError("the recipe names nothing to train on: data.train is empty")
        self.mean, self.deviation = moments(corpora)
        self.train = Batches(
            corpora,
            seconds=spec.loop.batch,
            stack=spec.network.encoder.stack,
            directions=spec.directions,
            noise=noise,
            masks=spec.masks,
            mean=self.mean,
            seed=spec.loop.seed,
        )
        self.dev = {name: self.judged(name, part) for name, part in data.dev.items()}

    def judged(self, name: str, part: Part) -> Batches:
        """Recordings to judge on, as they are.

        Raises:
            ManifestError: as for `prepare`.
        """
        return Batches(
            [self._corpus(name, part, False)],
            seconds=DEV_SECONDS,
            stack=self.spec.network.encoder.stack,
            directions=self.spec.directions,
        )

    def model(self) -> nn.Module:
        """A fresh network that knows its features' mean and deviation, or one with another's weights.

        Raises:
            RecipeError: no weight's name begins with one of the recipe's `init_parts` or `frozen`.
            CheckpointError, OSError: as `training.checkpoint.first_weights`.
        """
        spec = self.spec
        network = Stbd(spec.network, len(self.vocabulary))
        network.normalise(self.mean, self.deviation)
        if spec.init:
            first_weights(network, Path(spec.init), spec.init_parts)
        parameters = dict(network.named_parameters())
        for name in beginning_with(parameters, spec.frozen, "frozen"):
            parameters[name].requires_grad_(False)
        return network

    def batches(self, epoch: int, rank: int, world: int) -> Iterator[Batch]:
        """Examples of one epoch; epoch, rank and the recipe's seed fix them."""
        return self.train.drawn(epoch, self.steps_per_epoch, rank, world)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The decoder's, CTC's and the teacher's losses by the recipe's weights, and each of them."""
        spec, batch = self.spec, Batch(*batch)
        outputs = model(batch.frames, batch.lengths, batch.inputs)
        parts: dict[str, Tensor] = {}
        total = torch.zeros((), device=batch.frames.device)
        share = (
            spec.ctc_weight if spec.network.ctc and spec.network.decoder.blocks else float(spec.network.ctc)
        )
        if outputs.logits is not None:
            parts["decoder"] = loss.two_directions(outputs.logits, batch.targets, spec.label_smoothing)
            total = total + (1 - share) * parts["decoder"]
        if outputs.ctc is not None:
            parts["ctc"] = loss.ctc(outputs.ctc, outputs.steps, batch.labels, batch.counts)
            total = total + share * parts["ctc"]
        if outputs.middle_ctc is not None:
            parts["middle_ctc"] = loss.ctc(outputs.middle_ctc, outputs.steps, batch.labels, batch.counts)
            total = total + spec.middle_ctc_weight * parts["middle_ctc"]
        if outputs.teacher is not None and batch.features.shape[-1]:
            parts["teacher"] = loss.taught(outputs.teacher, outputs.steps, batch.features, batch.known)
            total = total + spec.teacher_weight * parts["teacher"]
        return total, parts if model.training else {}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Error rates of each dev part and their mean, and the mean loss of its batches."""
        if not isinstance(model, Stbd):
            raise TypeError(f"an Stbd is evaluated, not a {type(model).__name__}")
        figures: dict[str, float] = {}
        losses: list[float] = []
        rates: list[float] = []
        write = self.spec.evaluate_attention or not self.spec.network.ctc
        for name, part in self.dev.items():
            texts, by_ctc, by_decoder = self._write(model, part, losses, write)
            unit = self.spec.data.unit
            if by_ctc:
                figures[f"error/{name}"] = error_rate(texts, by_ctc, unit)
            if by_decoder:
                figures[f"decoder_error/{name}"] = error_rate(texts, by_decoder, unit)
            rates.append(error_rate(texts, by_ctc or by_decoder, unit))
        return {
            "accuracy": 1 - float(np.mean(rates)) if rates else 0.0,
            "loss": float(np.mean(losses)) if losses else 0.0,
            **figures,
        }

    def _write(
        self, model: Stbd, part: Batches, losses: list[float], write: bool
    ) -> tuple[list[str], list[str], list[str]]:
        """The texts of a dev part as they are, as CTC reads them and as the decoder writes them."""
        device = model.mean.device
        wanted: list[str] = []
        by_ctc: list[str] = []
        by_decoder: list[str] = []
        start = R2L if self.spec.directions == "r2l" else L2R
        for _, cpu_batch in part.in_order():
            batch = Batch(*(each.to(device) for each in cpu_batch))
            with torch.autocast(device.type, torch.bfloat16, self.spec.loop.precision == "bf16-mixed"):
                total, _ = self.loss(model, batch)
                outputs = model(batch.frames, batch.lengths)
                guesses = greedy(model, batch.frames, batch.lengths, start) if write else []
            losses.append(float(total))
            for text, count in zip(batch.labels, batch.counts, strict=True):
                wanted.append(self.vocabulary.decode(text[: int(count)].tolist()))
            if outputs.ctc is not None:
                by_ctc += [self.vocabulary.decode(ids) for ids in ctc.greedy(outputs.ctc, outputs.steps)]
            by_decoder += [self.vocabulary.decode(ids) for ids in guesses]
        return wanted, by_ctc, by_decoder

    def _find(self, name: str) -> Path:
        """The file or folder `name` of the first data folder that has it, or of none."""
        places = [*(folder / name for folder in self.data), Path(name)]
        for place in places:
            if place.exists():
                return place
        raise ManifestError(f"{name!r} is not in {', '.join(map(str, self.data))}")

    def _corpus(self, name: str, part: Part, training: bool) -> Corpus:
        spec, folder = self.spec.data, self._find(name)
        normalise = NORMALISERS[spec.normaliser]
        chosen = [
            (each, tuple(self.vocabulary.encode(text)))
            for each in read_manifest(folder)
            if split_of(each, spec.held.get(name, 0.0)) in part.splits
            and (text := normalise(str(each.fields.get("text", ""))))
            and (not training or spec.shortest_s <= _seconds(each, spec.shortest_s) <= spec.longest_s)
        ]
        if part.most and len(chosen) > part.most:
            chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, part.most).astype(int)]
        if not chosen:
            raise ManifestError(f"{folder}: no recording of {', '.join(part.splits)} has a text")
        utterances = build_utterances(
            [each for each, _ in chosen],
            self.spec.features,
            self.cache,
            variants=spec.variants if training else 1,
            seed=spec.seed,
            rooms=spec.rooms,
        )
        teacher = Teacher(self._find(part.teacher)) if part.teacher else None
        return Corpus(utterances, tuple(text for _, text in chosen), part.repeats, teacher)


def _seconds(recording: Recording, unknown: float) -> float:
    return float(recording.fields.get("duration", unknown))


def split_of(recording: Recording, held: float) -> str:
    """The manifest's split, or HELD for the share `held` of train speakers, by a hash of their names."""
    if recording.split != "train" or not held:
        return recording.split
    digest = hashlib.sha256(str(recording.fields.get("speaker", recording.audio.name)).encode()).digest()
    return HELD if digest[0] / 256 < held else recording.split


def moments(corpora: Sequence[Corpus]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (mels,) each, of recordings as they are, drawn evenly from each corpus."""
    parts = []
    for corpus in corpora:
        count = len(corpus.texts)
        at = np.linspace(0, count - 1, min(count, max(1, MOMENTS // len(corpora)))).astype(int)
        parts += [corpus.utterances.get(int(number)) for number in at]
    frames = np.concatenate(parts)
    return torch.from_numpy(frames.mean(0)), torch.from_numpy(frames.std(0).clip(1e-3))


def load_network(checkpoint: dict[str, Any]) -> tuple[Stbd, AsrRecipe]:
    """The network of a checkpoint, in eval mode, and the recipe that it was trained by.

    The layer that foretold a teacher's features is left out.

    Raises:
        RecipeError: the checkpoint's recipe has unknown keys.
        RuntimeError: weights that do not fit the recipe's network.
    """
    recipe = build(AsrRecipe, checkpoint["recipe"])
    network = Stbd(replace(recipe.network, teacher_block=0), len(recipe.symbols))
    weights = {name: w for name, w in checkpoint["model"].items() if not name.startswith("teacher.")}
    network.load_state_dict(weights)
    return network.eval(), recipe
