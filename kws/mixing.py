"""Training batches, made from stored features: words over noise at any level, in any surroundings.

Mixing happens on mel energies: the energies of a word and of noise add up, but for a cross term of mean
zero. So a batch costs a few array operations, no transforms, and two CPU cores train a network in minutes.
(Our choice; speed, rooms and codecs, which energies cannot express, are in the stored variants: features.py.)
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from kws.clips import LABELS, SILENCE, UNKNOWN, DataError
from kws.features import Store
from training.augment import MaskSpec, mask


@dataclass(frozen=True, slots=True)
class MixSpec:
    """How batches are put together. Levels in decibels, lengths in frames of 10 ms."""

    frames: int = 140
    """Length of a training example; the last window of it is judged."""
    shift_early: int = 25
    """The word's recording ends at most this long before the example does."""
    shift_late: int = 10
    """At most this much of the recording's end is cut off."""
    start_late: float = 0.2
    """Chance that a batch starts in the middle, so that networks meet the start of a stream."""
    gain_db: tuple[float, float] = (-15.0, 6.0)
    noise_chance: float = 0.8
    snr_db: tuple[float, float] = (-2.0, 30.0)
    before_chance: float = 0.4
    """Chance that other speech comes before the word."""
    silence_share: float = 0.06
    unknown_share: float = 0.12
    """Share of single words that are no keyword."""
    running_share: float = 0.10
    """Share of running speech, labelled `_unknown_` too."""
    synthetic_weight: float = 0.25
    """Weight of a synthetic clip beside a recorded one of 1."""
    masks: MaskSpec = field(default_factory=lambda: MaskSpec(time_frames=20, mel_bands=5))


class Mixer:
    """Draws batches of (features, labels) without end; the same seed draws the same batches."""

    def __init__(self, store: Store, spec: MixSpec, seed: int) -> None:
        self.store = store
        self.spec = spec
        self.numpy = np.random.default_rng(seed)
        self.torch = torch.Generator().manual_seed(seed)
        self.floor = store.features.floor
        self.mels = store.features.mels
        for name, share in (
            ("running", spec.running_share + spec.before_chance),
            ("noise", spec.noise_chance + spec.silence_share),
        ):
            if share and len(getattr(store, name)) <= spec.frames:
                raise DataError(f"the recipe mixes in data.{name}, which has no {spec.frames} frames")
        labels = store.labels
        weights = np.where(store.synthetic, spec.synthetic_weight, 1.0)
        totals = np.bincount(labels, weights, minlength=len(LABELS))
        rest = 1 - spec.silence_share - spec.unknown_share - spec.running_share
        shares = np.full(len(LABELS), rest / (len(LABELS) - 2))
        shares[LABELS.index(SILENCE)] = 0
        shares[LABELS.index(UNKNOWN)] = spec.unknown_share
        self.odds = np.cumsum(weights * (shares / np.maximum(totals, 1e-9))[labels])

    def batches(self, size: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """`count` batches of (size, frames, mels) log-mel and (size,) labels."""
        for _ in range(count):
            yield self.batch(size)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """One batch; fewer frames when it starts in the middle."""
        spec, rng = self.spec, self.numpy
        kind = rng.random(size)
        silent = kind < spec.silence_share
        running = (kind >= spec.silence_share) & (kind < spec.silence_share + spec.running_share)
        picks = np.minimum(
            np.searchsorted(self.odds, rng.random(size) * self.odds[-1]), len(self.store.labels) - 1
        )
        labels = self.store.labels[picks].copy()
        labels[silent] = LABELS.index(SILENCE)
        labels[running] = LABELS.index(UNKNOWN)

        energy = np.zeros((size, spec.frames, self.mels), np.float32)
        before = rng.random(size) < spec.before_chance
        ends = spec.frames - rng.integers(-spec.shift_late, spec.shift_early + 1, size)
        words = self.store.clips[picks, rng.integers(0, self.store.clips.shape[1], size)]
        levels = self._gains(size)
        for row in range(size):
            if silent[row]:
                continue
            if running[row]:
                energy[row] = self._crop(self.store.running, spec.frames) * levels[row]
                continue
            start = ends[row] - words.shape[1]
            first, stop = max(start, 0), min(ends[row], spec.frames)
            word = words[row, first - start : stop - start]
            energy[row, first:stop] = np.exp(word.astype(np.float32)) * levels[row]
            if before[row] and start > 0:
                energy[row, :start] = self._crop(self.store.running, start) * levels[row]
        energy += self._noise(energy, silent)
        features = torch.from_numpy(np.log(np.maximum(energy, self.floor)))
        if rng.random() < spec.start_late:
            features = features[:, 10 * int(rng.integers(1, 5)) :]
        return mask(features, spec.masks, self.torch), torch.from_numpy(labels)

    def _gains(self, size: int) -> np.ndarray:
        low, high = self.spec.gain_db
        return np.float32(10) ** (self.numpy.uniform(low, high, size).astype(np.float32) / 10)

    def _crop(self, source: np.ndarray, frames: int) -> np.ndarray:
        start = int(self.numpy.integers(0, len(source) - frames))
        return np.asarray(np.exp(source[start : start + frames].astype(np.float32)))

    def _noise(self, energy: np.ndarray, silent: np.ndarray) -> np.ndarray:
        """Noise for each row at a random ratio to its mean energy; silent rows get noise at any level."""
        spec, rng = self.spec, self.numpy
        size = len(energy)
        noise = np.stack([self._crop(self.store.noise, spec.frames) for _ in range(size)])
        snr = rng.uniform(*spec.snr_db, size)
        level = energy.mean((1, 2)) / 10 ** (snr / 10)
        own = 10 ** rng.uniform(-7, 0, size)
        level = np.where(silent, own, level)
        level *= silent | (rng.random(size) < spec.noise_chance)
        gain = (level / np.maximum(noise.mean((1, 2)), 1e-9)).astype(np.float32)
        return np.asarray(noise * gain[:, None, None])


def warm_up_mean(store: Store, spec: MixSpec, seed: int, examples: int = 2000) -> tuple[Tensor, Tensor]:
    """(mels,) mean and standard deviation of the features that a network will meet in training."""
    mixer = Mixer(store, spec, seed)
    features = torch.cat([mixer.batch(100)[0].flatten(0, 1) for _ in range(math.ceil(examples / 100))])
    return features.mean(0), features.std(0)
