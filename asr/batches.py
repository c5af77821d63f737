"""Recordings with text as padded, augmented batches, the same for the same seed and epoch."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.recipe import Directions
from asr.vocabulary import END, L2R, PAD, R2L
from training.augment import MaskSpec, mask
from training.utterances import Noise, Utterances, buckets, padded

MASK_FRAMES = 1000
"""A batch of this length or a longer one has MaskSpec.time_masks masks; a shorter one has fewer."""


class Batch(NamedTuple):
    """What `AsrTask.loss` takes."""

    frames: Tensor
    """(batch, frames, mels) log-mel."""
    lengths: Tensor
    """(batch,) frames."""
    inputs: Tensor
    """(batch, streams, tokens): start symbol, then the text in the stream's direction."""
    targets: Tensor
    """(batch, streams, tokens): the text, END, PAD."""
    labels: Tensor
    """(batch, labels): the text forwards, for CTC."""
    counts: Tensor
    """(batch,) labels."""
    features: Tensor
    """(batch, steps, width) of a teacher; width 0 if there is none."""
    known: Tensor
    """(batch,) bool: whose features are there."""


class Teacher:
    """Features that another model computed of a folder's recordings.

    The folder has frames.npy, float16 (frames, width), and index.json: the manifest's "audio" to the first
    frame and the one after the last. The time between frames does not matter, as they are spread over the
    recording. Each channel is brought to mean 0 and deviation 1.
    """

    def __init__(self, folder: Path) -> None:
        self.frames = np.load(folder / "frames.npy", mmap_mode="r")
        self.index: dict[str, list[int]] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        sample = self.frames[:: max(1, len(self.frames) // 20_000)].astype(np.float32)
        self.mean, self.deviation = sample.mean(0), sample.std(0).clip(1e-3)

    def get(self, key: str, steps: int) -> NDArray[np.float32] | None:
        """(steps, width) of a recording, of any speed: frames nearest to the middle of each step."""
        if key not in self.index:
            return None
        start, end = self.index[key]
        at = start + ((np.arange(steps) + 0.5) * (end - start) / steps).astype(np.int64)
        return np.asarray((self.frames[at].astype(np.float32) - self.mean) / self.deviation)


@dataclass(frozen=True, slots=True)
class Corpus:
    """One folder's recordings with the ids of their texts."""

    utterances: Utterances
    texts: tuple[tuple[int, ...], ...]
    repeats: float = 1.0
    teacher: Teacher | None = None


def streams(texts: Sequence[Sequence[int]], directions: Directions) -> tuple[Tensor, Tensor]:
    """Decoder inputs and targets, (texts, streams, longest + 1) each; both streams of a text are as long."""
    starts = {"both": (L2R, R2L), "l2r": (L2R,), "r2l": (R2L,)}[directions]
    inputs = torch.full((len(texts), len(starts), max(map(len, texts)) + 1), PAD)
    targets = inputs.clone()
    for row, text in enumerate(texts):
        for stream, start in enumerate(starts):
            ids = torch.tensor(text if start == L2R else text[::-1], dtype=torch.long)
            inputs[row, stream, 0], inputs[row, stream, 1 : len(ids) + 1] = start, ids
            targets[row, stream, : len(ids)], targets[row, stream, len(ids)] = ids, END
    return inputs, targets


class Batches:
    """Draws batches of several corpora; a recording's variant, noise and masks are new each time."""

    def __init__(
        self,
        corpora: Sequence[Corpus],
        *,
        seconds: float,
        stack: int,
        directions: Directions = "both",
        noise: Noise | None = None,
        masks: MaskSpec | None = None,
        mean: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        """Takes what to draw from.

        Args:
            corpora: all with the same features.
            seconds: of audio in a batch, padding included.
            stack: frames of an encoder step.
            directions: streams of the decoder.
            noise: to mix in, or None.
            masks: SpecAugment, or None.
            mean: (mels,) of the features, which masks are filled with.
            seed: of all choices.
        """
        self.corpora, self.stack, self.directions = corpora, stack, directions
        self.noise, self.masks, self.mean, self.seed = noise, masks, mean, seed
        self.budget = round(seconds * 1000 / corpora[0].utterances.features.hop_ms)
        counts = [len(corpus.texts) for corpus in corpora]
        self.corpus = np.repeat(np.arange(len(corpora)), counts)
        self.number = np.concatenate([np.arange(count) for count in counts])
        self.repeats = np.repeat([corpus.repeats for corpus in corpora], counts)
        most = max(corpus.utterances.variants for corpus in corpora)
        # (variants, recordings); a corpus with fewer variants repeats its own
        self.variants = np.repeat([corpus.utterances.variants for corpus in corpora], counts)
        self.lengths = np.stack(
            [
                np.concatenate([c.utterances.lengths(v % c.utterances.variants) for c in corpora])
                for v in range(most)
            ]
        )

    @property
    def frames(self) -> float:
        """Expected frames of a pass."""
        return float((self.lengths[0] * self.repeats).sum())

    def drawn(self, epoch: int, count: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """`count` batches of one epoch for one process, passing over all recordings as often as it takes."""
        rng = np.random.default_rng([self.seed, epoch])
        made = 0
        while True:
            chosen = np.repeat(
                np.arange(len(self.number)),
                np.floor(self.repeats + rng.random(len(self.repeats))).astype(np.int64),
            )
            variants = rng.integers(self.variants[chosen])
            for batch in buckets(self.lengths[variants, chosen], self.budget, rng):
                if made % world == rank:
                    yield self.batch(chosen[batch], variants[batch], [self.seed, epoch, made])
                made += 1
                if made == count * world:
                    return

    def in_order(self) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """Every recording once, as it is, with its place; shortest first."""
        order = np.argsort(self.lengths[0], kind="stable")
        batch: list[int] = []
        for place in order:
            if batch and self.lengths[0, place] * (len(batch) + 1) > self.budget:
                yield np.array(batch), self.batch(np.array(batch), np.zeros(len(batch), np.int64), None)
                batch = []
            batch.append(int(place))
        yield np.array(batch), self.batch(np.array(batch), np.zeros(len(batch), np.int64), None)

    def batch(self, places: NDArray[np.int64], variants: NDArray[np.int64], seed: list[int] | None) -> Batch:
        """The recordings at `places`; augmented, unless the seed is None."""
        rng = np.random.default_rng(seed)
        parts, texts, taught = [], [], []
        for place, variant in zip(places, variants, strict=True):
            corpus, number = self.corpora[self.corpus[place]], int(self.number[place])
            part = corpus.utterances.get(number, int(variant))
            if self.noise and seed is not None:
                part = self.noise.add(part, rng)
            parts.append(part)
            texts.append(corpus.texts[number])
            if corpus.teacher:
                key = str(corpus.utterances.recordings[number].fields["audio"])
                taught.append(corpus.teacher.get(key, max(1, len(part) // self.stack)))
            else:
                taught.append(None)
        frames, lengths = padded(parts, self.stack)
        if self.masks and seed is not None:
            frames = self._masked(frames, self.masks, int(rng.integers(1 << 62)))
        inputs, targets = streams(texts, self.directions)
        return Batch(
            frames,
            lengths,
            inputs,
            targets,
            torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], True, PAD),
            torch.tensor([len(text) for text in texts]),
            *_features(taught, frames.shape[1] // self.stack),
        )

    def _masked(self, frames: Tensor, spec: MaskSpec, seed: int) -> Tensor:
        count = max(1, round(spec.time_masks * frames.shape[1] / MASK_FRAMES))
        spec = replace(spec, fill="zero", time_masks=min(count, spec.time_masks))
        mean = torch.zeros(frames.shape[2]) if self.mean is None else self.mean
        return mask(frames - mean, spec, torch.Generator().manual_seed(seed)) + mean


def _features(parts: Sequence[NDArray[np.float32] | None], steps: int) -> tuple[Tensor, Tensor]:
    known = torch.tensor([part is not None for part in parts])
    width = next((part.shape[1] for part in parts if part is not None), 0)
    out = torch.zeros(len(parts), steps if width else 0, width)
    for row, part in zip(out, parts, strict=True):
        if part is not None:
            row[: len(part)] = torch.from_numpy(part)
    return out, known
