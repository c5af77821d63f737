"""Sound that should make no keyword fire, in three conditions: speech, speech amid noise, noise."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kws.clips import Clip, DataError
from training.audio import read_audio

SPEECH, NOISY, NOISE = "speech", "noisy speech", "noise"
SNR_DB = (5.0, 20.0)
"""Of noisy speech, drawn evenly for each recording: mean power of the speech to mean power of the noise."""
_FAINT = 1e-8
"""Mean power of noise below which it counts as none (-80 dB): clips padded with silence have such parts."""

Samples = NDArray[np.float32]
Spoken = tuple[Clip, frozenset[str]]
"""A recording, and the keywords that are said in it."""


@dataclass(frozen=True, slots=True)
class Sound:
    """One recording in one condition."""

    clip: Clip
    said: frozenset[str]
    """Keywords said in it: they cannot be falsely accepted."""
    condition: str
    noise: tuple[Path, ...] = ()
    """Files of which noise is mixed in, drawn by the recording's name; none: the recording as it is."""

    def read(self, rate: int) -> Samples:
        """(samples,) at `rate` Hz, the same at every call.

        Raises:
            AudioError: a file that cannot be read.
            DataError: none of the noise can be heard.
        """
        samples = read_audio(self.clip.audio, rate)
        if not self.noise or not samples.any():
            return samples
        digest = hashlib.sha256(self.clip.audio.name.encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        return mixed(samples, bed(self.noise, rate, len(samples), rng), float(rng.uniform(*SNR_DB)))


def in_conditions(speech: Sequence[Spoken], noise: Sequence[Clip]) -> list[Sound]:
    """Every recording of speech clean and, if there is noise, amid noise; then the noise alone."""
    sounds = [Sound(clip, said, SPEECH) for clip, said in speech]
    if noise:
        files = tuple(clip.audio for clip in noise)
        sounds += [Sound(clip, said, NOISY, files) for clip, said in speech]
    return sounds + [Sound(clip, frozenset(), NOISE) for clip in noise]


def bed(files: Sequence[Path], rate: int, length: int, rng: np.random.Generator) -> Samples:
    """(length,) of noise: ends of files drawn at random, from random places on, one after the other.

    Raises:
        DataError: a hundred draws in a row could not be heard.
    """
    parts: list[Samples] = []
    missing, misses = length, 0
    while missing > 0:
        samples = _noise(files[int(rng.integers(len(files)))], rate)
        part = samples[rng.integers(len(samples) or 1) :][:missing]
        if _power(part) < _FAINT:
            misses += 1
            if misses == 100:
                raise DataError(f"the noise to mix in, such as {files[0]}, cannot be heard")
            continue
        parts.append(part)
        missing, misses = missing - len(part), 0
    return np.concatenate(parts)


def mixed(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Speech and noise of one length at a ratio of mean powers; turned down as a whole where too loud."""
    gain = np.sqrt(_power(samples) / max(_power(noise), _FAINT) / 10 ** (snr_db / 10))
    both = samples + np.float32(gain) * noise
    return np.asarray(both / max(1.0, float(np.abs(both).max(initial=0))), np.float32)


@lru_cache(maxsize=256)
def _noise(file: Path, rate: int) -> Samples:
    """A few files of noise are mixed into thousands of recordings."""
    return read_audio(file, rate)


def _power(samples: Samples) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
