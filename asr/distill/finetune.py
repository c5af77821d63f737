"""What an encoder can do when it learns on under a linear map, against the same from random weights."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.distill.downstream import (
    BLANK,
    Downstream,
    Split,
    greedy,
    judge,
    load_downstream,
    load_encoder,
    spell,
)
from asr.distill.tuned import Rate, Tuned
from stapes.fbank import frame_count
from stapes.spec import FbankSpec
from stapes.tasks.edits import error_rates
from training.checkpoint import read
from training.command import add_train_arguments, run_folder
from training.encoder.cif import rate_of
from training.fbank import Fbank
from training.loop import fit
from training.loopspec import LoopSpec
from training.recipe import RecipeError, load, to_dict
from training.utterances import ManifestError, buckets, padded


@dataclass(frozen=True, slots=True)
class FinetuneRecipe:
    """A whole recipe."""

    encoder: str = ""
    """Path of a best.pt of `train` or `pretrain`; a comparison puts in its own."""
    random: bool = False
    """Only its shape, with fresh weights: what pre-training is held against."""
    folder: str = "an4"
    answer: str = "text"
    """Key of the manifest: "text" is spelled by CTC, others are labels."""
    part: int = 1
    """Train on every part-th speaker: 1, 3, 10."""
    batch_s: float = 60.0
    """Seconds of a batch."""
    epoch_steps: int = 0
    """Batches of an epoch, so that parts of the speakers get as many steps as all; 0: all recordings once."""
    encoder_dropout: float = 0.1
    period_ms: float = 20.0
    """Mean period of the frames of an encoder that compresses, 20 to 90. Of texts, recordings with fewer
    frames than characters teach nothing."""
    cost: float = 0.0
    """Weight of the share of frames that such an encoder keeps, for labels: CTC has no loss where there are
    fewer frames than characters. Where it is not 0, λ is learned with the task; it begins at `period_ms`."""
    loop: LoopSpec = field(default_factory=LoopSpec)

    def __post_init__(self) -> None:
        rate_of(self.period_ms)
        if self.cost < 0 or (self.cost and self.answer == "text"):
            raise ValueError(f"cost is {self.cost}: wants none for texts, and nothing below 0 for labels")


class Batch(NamedTuple):
    """What a step is given."""

    inputs: Tensor
    lengths: Tensor
    answers: Tensor
    """(all characters,) or (batch,) labels."""
    sizes: Tensor
    """(batch,) characters of each."""


class FinetuneTask:
    """Implements training.loopspec.Task."""

    name = "finetune"
    metric = "right"
    """Share of labels, or of characters, that are right."""

    def __init__(self, recipe: FinetuneRecipe, data: Path, cache: Path) -> None:
        """Paths only; files are opened by `prepare`."""
        self.spec, self.data, self.cache = recipe, data, cache
        self.recipe: dict[str, Any] = to_dict(recipe)
        self.features: FbankSpec | None = None
        self.downstream: Downstream
        self.fbank: Fbank | None = None

    @property
    def provenance(self) -> dict[str, Any]:
        """What was learned from."""
        train = self.downstream.splits["train"]
        return {
            "data": [self.spec.folder],
            "recordings": len(train.keys),
            "speakers": len(set(train.speakers)),
        }

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch in one process: by the recipe, or those of the first."""
        return self.spec.epoch_steps or max(1, len(self._numbers(0)) // self.spec.loop.devices)

    def prepare(self, device: torch.device) -> None:  # noqa: ARG002 - recordings stay on the CPU
        """Opens the recordings.

        Raises:
            RecipeError: the recipe names no encoder.
        """
        spec = self.spec
        if not spec.encoder:
            raise RecipeError("key 'encoder' is missing: the path of a best.pt")
        self.downstream = load_downstream(self.data, spec.folder, spec.answer, self.cache, spec.part)
        self.features = load_encoder(Path(spec.encoder))[1]
        self.fbank = Fbank(self.features) if self.features else None

    def model(self) -> nn.Module:
        """The encoder under a fresh linear map."""
        encoder, _ = load_encoder(Path(self.spec.encoder), random=self.spec.random)
        for part in encoder.modules():
            if isinstance(part, nn.Dropout):
                part.p = self.spec.encoder_dropout
        outputs = len(self.downstream.symbols) + self.downstream.text
        rate = None
        if encoder.weights is not None:
            encoder.weights.requires_grad_(False)  # else they, not λ, come to set the period
            rate = Rate(self.spec.period_ms, learned=self.spec.cost > 0)
        elif self.spec.cost or self.spec.period_ms != 20.0:
            raise RecipeError("keys 'period_ms' and 'cost' want an encoder that compresses")
        return Tuned(encoder, outputs, text=self.downstream.text, rate=rate)

    def batches(self, epoch: int, rank: int, world: int) -> Iterator[Batch]:
        """All recordings once, and then again; epoch, rank and the recipe's seed fix their order.

        Raises:
            ManifestError: too few recordings are long enough for each process to have some.
        """
        train = self.downstream.splits["train"]
        for again in count():  # lengths are grouped anew each time, so the number of batches varies a little
            mine = self._numbers(epoch + 100_003 * again)[rank::world]
            if not mine:
                raise ManifestError(
                    f"{self.spec.folder}: too few training recordings of at least 50 ms for {world} processes"
                )
            for numbers in mine:
                yield self.batch(train, numbers)

    def batch(self, split: Split, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> Batch:
        """Some recordings."""
        waves, lengths = padded([split.store[split.keys[i]][:, None] for i in numbers])
        inputs = waves[..., 0]
        if self.fbank and self.features:
            inputs = self.fbank(inputs)
            lengths = torch.tensor([frame_count(int(n), self.features) for n in lengths])
        symbols = self.downstream.symbols
        if self.downstream.text:
            spelled = [spell(split.answers[i], symbols) for i in numbers]
            answers = torch.tensor([number for text in spelled for number in text], dtype=torch.long)
            return Batch(inputs, lengths, answers, torch.tensor([len(text) for text in spelled]))
        labels = [symbols.index(split.answers[i]) for i in numbers]
        return Batch(inputs, lengths, torch.tensor(labels), torch.ones(len(numbers)))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """CTC, or cross-entropy and what the frames cost."""
        logits, lengths, kept = model(batch.inputs, batch.lengths)
        if not self.downstream.text:
            return torch.as_tensor(F.cross_entropy(logits.float(), batch.answers) + self.spec.cost * kept)
        logs = logits.float().log_softmax(-1).transpose(0, 1)
        return F.ctc_loss(logs, batch.answers, lengths, batch.sizes, BLANK, zero_infinity=True)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures of the dev split."""
        split = self.downstream.splits["dev"]
        given, period = self.guess(model, "dev")
        figures = {"period_ms": period}
        if self.downstream.text:
            rates = error_rates(split.answers, given)
            return figures | {"right": 1 - rates["cer"], "wer": rates["wer"]}
        right = [a == b for a, b in zip(split.answers, given, strict=True)]
        return figures | {"right": float(np.mean(right))}

    def guess(self, model: nn.Module, name: str) -> tuple[list[str], float]:
        """The model's answers for a split, and the mean period of its frames in ms."""
        split, symbols = self.downstream.splits[name], self.downstream.symbols
        device, given, sizes = next(model.parameters()).device, [], np.zeros(2)
        for number in range(len(split.keys)):
            wave = torch.from_numpy(split.store[split.keys[number]])[None]
            wave = F.pad(wave, (0, max(0, 800 - wave.shape[1])))
            inputs = (self.fbank(wave) if self.fbank else wave).to(device)
            with torch.no_grad():
                logits, frames, _ = model(inputs, torch.tensor([inputs.shape[1]], device=device))
            sizes += (wave.shape[1] / 16, int(frames))
            best = logits[0].argmax(-1)
            given.append(greedy(best.tolist(), symbols) if self.downstream.text else symbols[int(best)])
        return given, round(float(sizes[0] / sizes[1]), 2)

    def _numbers(self, epoch: int) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
        train = self.downstream.splits["train"]
        sizes = np.diff(train.store.ends)
        lengths = np.array([sizes[train.store.numbers[key]] for key in train.keys])
        # those too short for a frame of features teach nothing
        usable = np.flatnonzero(lengths >= 800)
        rng = np.random.default_rng(self.spec.loop.seed * 10_000 + epoch)
        return [usable[some] for some in buckets(lengths[usable], int(self.spec.batch_s * 16_000), rng)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m asr.distill finetune`."""
    add_train_arguments(parser, "asr/distill/recipes/finetune.toml")


def run(args: argparse.Namespace) -> str:
    """Trains, then judges the best weights on the test split: one line of JSON, also in OUT/test.json."""
    recipe = load(FinetuneRecipe, args.recipe, args.set)
    out = run_folder(args)
    figures = tune(FinetuneTask(recipe, args.data, args.cache), out, resume=not args.anew)
    about = {"encoder": recipe.encoder, "random": recipe.random, "folder": recipe.folder, "part": recipe.part}
    line = json.dumps(about | {"seed": recipe.loop.seed} | figures)
    (out / "test.json").write_text(line + "\n", encoding="utf-8")
    return line


def tune(task: FinetuneTask, out: Path, *, resume: bool = True) -> dict[str, Any]:
    """Trains, or goes on training, in the folder `out`; test figures of the best weights."""
    fit(task, task.spec.loop, out, resume=resume)
    model = task.model()
    model.load_state_dict(read(out / "best.pt")["model"])
    given, period = task.guess(model.eval(), "test")
    figures = judge(task.downstream.splits["test"], given, text=task.downstream.text)
    return figures | {"period_ms": period}
