"""Training examples: pieces of recordings, over noise and through other microphones, a batch at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialect_id.channel import Channel
from dialect_id.data import NO_LABEL
from dialect_id.recipe import MixSpec
from dialect_id.teaching import Teacher
from stapes.spec import FbankSpec
from training.augment import mask
from training.utterances import ManifestError, Noise, Utterances

NOISE_ALONE = -2
"""Class of an example without speech, of which every label is to be equally likely."""
_LEAST_FRAMES = 20
"""Shorter recordings are not drawn."""
_WARM_UP = 512
"""Examples that the features' mean and deviation are measured on."""

Frames = NDArray[np.float32]


class Batch(NamedTuple):
    """What the loop moves to the device."""

    frames: Tensor
    """(batch, frames, mels) log-mel."""
    classes: Tensor
    """(batch,) index of the label, NO_LABEL or NOISE_ALONE."""
    posteriors: Tensor
    """(batch, labels that the teacher knows)."""
    posterior_weights: Tensor
    """(batch,)"""
    directions: Tensor
    """(batch, the teacher's width)."""
    direction_weights: Tensor
    """(batch,)"""
    teacher_frames: Tensor
    """(batch, frames at the recipe's teaching.frame_ms, the teacher's width), none where not asked for."""
    epoch: Tensor
    """() of training, from 0."""


@dataclass(frozen=True, slots=True)
class Store:
    """Features of one folder's recordings, with their classes."""

    folder: str
    utterances: Utterances
    classes: NDArray[np.int64]


class Sampler:
    """Draws examples; the seed fixes all of them."""

    def __init__(
        self,
        stores: Sequence[Store],
        noise: NDArray[np.float16],
        mix: MixSpec,
        *,
        features: FbankSpec,
        seed: int,
        teacher: Teacher | None = None,
    ) -> None:
        """Takes features of the training part.

        Args:
            stores: folders; recordings without a label come from those where none has one.
            noise: (frames, mels), end to end.
            mix: how examples are made.
            features: the front end.
            seed: of all choices.
            teacher: whose answers go with the examples.

        Raises:
            ManifestError: no recording with a label can be drawn.
        """
        self.stores, self.mix, self.teacher, self.hop_ms = stores, mix, teacher, features.hop_ms
        self.noise, self.channel = Noise(noise, mix.noise, features.floor), Channel(mix.channel, features)
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.place = [(s, i) for s, store in enumerate(stores) for i in range(len(store.utterances))]
        classes = np.concatenate([store.classes for store in stores])
        weights = drawing_weights(stores, mix)
        self.labelled = _Drawer(np.flatnonzero(classes >= 0), weights)
        if not len(self.labelled.numbers):
            raise ManifestError(
                f"no labelled recording has {_LEAST_FRAMES} frames or more and a weight over 0 (mix.weights)"
            )
        self.unlabelled = _Drawer(np.flatnonzero(classes == NO_LABEL), weights)

    def batches(self, batch: int, count: int, epoch: int = 0) -> Iterator[Batch]:
        """`count` batches of `batch` examples each."""
        low, high = self.mix.crop_frames
        for _ in range(count):
            length = int(self.rng.integers(low, high + 1))
            made = [self._example(length) for _ in range(batch)]
            frames = mask(
                torch.from_numpy(np.stack([each[0] for each in made])), self.mix.masks, self.generator
            )
            columns = [
                torch.from_numpy(np.stack(column)) for column in zip(*(each[1] for each in made), strict=True)
            ]
            yield Batch._make([frames, *columns, torch.tensor(epoch)])

    def _example(self, length: int) -> tuple[Frames, tuple[NDArray[np.generic] | np.generic, ...]]:
        kind = self.rng.random()
        if kind < self.mix.noise_share and len(self.noise.frames):
            start = int(self.rng.integers(len(self.noise.frames)))
            at = np.arange(start, start + length) % len(self.noise.frames)
            frames = self.noise.frames[at].astype(np.float32)
            return self._outside(frames), (np.int64(NOISE_ALONE), *self._untaught(length))
        spoken = self.labelled
        if kind > 1 - self.mix.unlabelled_share and len(self.unlabelled.numbers):
            spoken = self.unlabelled
        number, index = self.place[spoken.draw(self.rng)]
        store = self.stores[number]
        variant = int(self.rng.integers(store.utterances.variants))
        frames, places = crop(store.utterances.get(index, variant), length, self.rng)
        frames = self._outside(self.noise.add(frames, self.rng))
        label = store.classes[index]
        if not self.teacher:
            return frames, (label, *self._untaught(length))
        recording = store.utterances.recordings[index]
        posterior = self.teacher.posterior(store.folder, recording, int(label))
        direction = self.teacher.direction(store.folder, recording, places.min(), places.max())
        told = self.teacher.frames(store.folder, recording, self._told(places))
        return frames, (label, *posterior, *direction, told)

    def _told(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Those of a piece's places, one each frame, that the teacher's frames are asked for."""
        if not (self.teacher and self.teacher.spec.frames):
            return places[:0]
        step = round(self.teacher.spec.frame_ms / self.hop_ms)
        return places[step // 2 :: step][: len(places) // step]

    def _outside(self, frames: Frames) -> Frames:
        sent = self.channel.send(frames, self.rng)
        tail = int(self.rng.integers(self.mix.tail_frames + 1))
        sent[len(sent) - tail :] = self.channel.floor
        return sent

    def _untaught(self, length: int) -> tuple[NDArray[np.float32] | np.float32, ...]:
        known, width = (len(self.teacher.known), self.teacher.width) if self.teacher else (0, 0)
        even = np.full(known, 1 / max(1, known), np.float32)
        steps = len(self._told(np.zeros(length)))
        frames = np.zeros((steps, width), np.float32)
        return even, np.float32(0), np.zeros(width, np.float32), np.float32(0), frames


class _Drawer:
    """Numbers with weights."""

    def __init__(self, numbers: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        self.numbers = numbers[weights[numbers] > 0]
        self.sums = np.cumsum(weights[self.numbers])

    def draw(self, rng: np.random.Generator) -> int:
        at = np.searchsorted(self.sums, rng.random() * self.sums[-1], side="right")
        return int(self.numbers[min(int(at), len(self.numbers) - 1)])


def drawing_weights(stores: Sequence[Store], mix: MixSpec) -> NDArray[np.float64]:
    """(recordings of all stores,) how often each is drawn, against the others of its kind.

    A recording weighs what its folder says, times (the sum of that over its label's recordings)^-balance.
    """
    folder = np.concatenate(
        [
            np.where(store.utterances.lengths() < _LEAST_FRAMES, 0.0, mix.weights.get(store.folder, 1.0))
            for store in stores
        ]
    )
    classes = np.concatenate([store.classes for store in stores])
    spoken = classes >= 0
    sums = np.bincount(classes[spoken], folder[spoken])
    factor = np.zeros(len(sums))
    np.power(sums, -mix.balance, where=sums > 0, out=factor)
    weights = folder.copy()
    weights[spoken] *= factor[classes[spoken]]
    return weights


def crop(frames: Frames, length: int, rng: np.random.Generator) -> tuple[Frames, NDArray[np.float64]]:
    """A random piece, and the place, 0 to 1, of each frame; a recording too short goes round and round."""
    total = len(frames)
    start = int(rng.integers(max(total - length, 0) + 1)) if total >= length else int(rng.integers(total))
    at = np.arange(start, start + length) % total
    return frames[at], (at + 0.5) / total


def mean_and_deviation(sampler: Sampler) -> tuple[Tensor, Tensor]:
    """(mels,) each, over examples as training will see them."""
    frames = torch.cat([batch.frames.flatten(0, 1) for batch in sampler.batches(32, _WARM_UP // 32)])
    return frames.mean(0), frames.std(0).clamp_min(1e-3)
