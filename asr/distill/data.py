"""Speech without labels: crops of it, amid noise, and what the teacher made of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.distill.recipe import SpeechSpec
from asr.distill.splits import split_recordings
from asr.distill.teachers import Teacher
from training.audio import ClipStore, build_store
from training.utterances import buckets, padded, read_manifest
from training.whisper_cache import Cached, CacheSpec, write_features

RATE = 16_000
_LEAST = 3_200
"""Samples of the shortest recording that is used."""


class Taught(NamedTuple):
    """A batch."""

    waves: Tensor
    """(batch, samples) float32."""
    samples: Tensor
    """(batch,) samples of each."""
    targets: Tensor
    """(batch, frames, layers · width) of the teacher."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Recordings of one split, and their teacher's features."""

    store: ClipStore
    keys: tuple[str, ...]
    """ "folder/audio" of each recording."""
    cached: dict[str, Cached]
    """By folder; empty without a teacher."""
    noise: ClipStore | None
    spec: SpeechSpec
    frame: int = 320
    """Samples to a stored frame of the teacher."""

    def lengths(self) -> NDArray[np.int64]:
        """(recordings,) samples of each, as cropped."""
        whole = np.array([self.store.ends[self.store.numbers[key] + 1] for key in self.keys])
        whole -= np.array([self.store.ends[self.store.numbers[key]] for key in self.keys])
        return np.asarray(np.minimum(whole, int(self.spec.crop_s * RATE)), np.int64)

    def batches(self, count: int, seed: int) -> Iterator[Taught]:
        """`count` batches; the seed fixes them."""
        rng = np.random.default_rng(seed)
        lengths, budget, left = self.lengths(), int(self.spec.batch_s * RATE), count
        while left:
            for numbers in buckets(lengths, budget, rng)[:left]:
                yield self.batch(numbers, rng)
                left -= 1

    def batch(self, numbers: Sequence[int] | NDArray[np.int64], rng: np.random.Generator | None) -> Taught:
        """Some recordings; without a generator their beginnings, and nothing is mixed in."""
        waves, targets = [], []
        for number in numbers:
            key = self.keys[number]
            wave = self.store[key]
            crop = int(self.spec.crop_s * RATE)
            places = max(0, len(wave) - crop) // self.frame
            first = int(rng.integers(places + 1)) if rng and places else 0
            wave = wave[first * self.frame :][:crop]
            if self.cached:
                # as many as the student will have frames of, were they as long as the teacher's
                heard = -(-(1 + (len(wave) - 400) // 320) * 320 // self.frame)
                folder, _, audio = key.partition("/")
                targets.append(self.cached[folder][audio][first:][:heard].astype(np.float32))
            waves.append(self._amid_noise(wave, rng) if rng else wave)
        samples, lengths = padded([wave[:, None] for wave in waves])
        taught = padded(targets)[0] if targets else torch.zeros(0)
        return Taught(samples[..., 0], lengths, taught)

    def _amid_noise(self, wave: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        wave = wave * np.float32(10 ** (rng.uniform(-12, 3) / 20))
        if self.noise is None or rng.random() >= self.spec.noise_chance:
            return wave
        noise = self.noise[int(rng.integers(len(self.noise)))]
        noise = np.take(noise, np.arange(len(wave)) + int(rng.integers(len(noise))), mode="wrap")
        power, level = np.square(wave).mean(), np.square(noise).mean()
        gain = np.sqrt(power / max(float(level), 1e-9) / 10 ** (rng.uniform(*self.spec.snr_db) / 10))
        return np.asarray(wave + noise * np.float32(gain), np.float32)


def load_speech(
    data: Path, spec: SpeechSpec, split: str, cache: Path, *, teacher: Teacher | None, layers: CacheSpec
) -> Speech:
    """Recordings of a split; sound and teacher's features are stored on the first call with a cache folder.

    Args:
        data: folder that the spec's folders stand in.
        spec: which, and how they are cut and mixed.
        split: "train", "dev".
        cache: folder; safe to delete.
        teacher: whose features are wanted; None: nobody's.
        layers: which of them.

    Raises:
        ManifestError, AudioError: speech that is not there.
    """
    clips: list[tuple[str, Path]] = []
    cached: dict[str, Cached] = {}
    for folder in spec.folders:
        recordings = split_recordings(data / folder)[split]
        clips += [(f"{folder}/{each.fields['audio']}", each.audio) for each in recordings]
        if teacher and recordings:
            out = cache / f"{_plain(teacher.name)}-{layers.rate_ms}-{_plain(layers.layers)}-{folder}-{split}"
            write_features(recordings, out, teacher, layers)
            cached[folder] = Cached.open(out)
    name = _plain(spec.folders)
    store = build_store(clips, cache / f"speech-{split}-{name}.npy", RATE)
    noise = None
    if split == "train" and spec.noise and spec.noise_chance:
        sounds = [
            (f"{folder}/{each.fields['audio']}", each.audio)
            for folder in spec.noise
            for each in read_manifest(data / folder)
            if each.split == "train"
        ]
        noise = build_store(sounds, cache / f"noise-{_plain(spec.noise)}.npy", RATE)
    sizes = np.diff(store.ends)
    keys = [key for key, number in store.numbers.items() if sizes[number] >= _LEAST]
    if split != "train":
        keys = keys[:: max(1, len(keys) // spec.dev_recordings)][: spec.dev_recordings]
    return Speech(store, tuple(keys), cached, noise, spec, layers.rate_ms * RATE // 1000)


def _plain(name: object) -> str:
    kept = "".join(c if c.isalnum() else "-" for c in str(name)).strip("-").lower()
    while "--" in kept:
        kept = kept.replace("--", "-")
    return kept
