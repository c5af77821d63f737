"""A recording for the tests, made here: bursts of low and of high noise with digital silence between."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PATTERN = (("", 0.3), ("low", 0.5), ("", 0.6), ("high", 0.5), ("", 0.3))
"""What sounds, and how many seconds."""
LABELS = tuple(label for label, _ in PATTERN if label)


def sound(rate: int) -> NDArray[np.int16]:
    """(samples,) of 16 bits."""
    generator = np.random.default_rng(3)
    parts = []
    for label, seconds in PATTERN:
        size = round(seconds * rate)
        spectrum = np.fft.rfft(generator.standard_normal(size))
        hz = np.fft.rfftfreq(size, 1 / rate)
        low, high = {"": (0, 0), "low": (100, 1000), "high": (3500, 7000)}[label]
        parts.append(np.fft.irfft(np.where((hz > low) & (hz < high), spectrum, 0), size))
    return np.round(9000 * np.concatenate(parts)).clip(-32_768, 32_767).astype(np.int16)


def write_wav(path: Path, rate: int) -> Path:
    """The sound as a file."""
    return write_samples(path, sound(rate), rate)


def write_samples(path: Path, samples: NDArray[np.int16], rate: int) -> Path:
    """A 16-bit mono file, as the standard library writes it."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        file.writeframes(samples.tobytes())
    return path


def read_wav(path: Path) -> NDArray[np.int16]:
    """(samples,) of a 16-bit mono file, as the standard library reads it."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)
