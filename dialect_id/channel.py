"""Microphones and band limits, made in the log-mel domain: the channel must not give the language away.

Where a set was recorded and how it was coded differs between languages. Each example therefore gets another
frequency response, and some the band of a telephone. Codecs and rooms come with the stored variants.
"""

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from stapes.spec import FbankSpec
from training.recipe import RecipeError

_NEPER = log(10) / 10
"""Natural logarithm of energy for one decibel."""


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """Ranges are drawn from uniformly; all of this is our choice."""

    tilt_db: float = 6.0
    """Largest fall or rise from the lowest mel band to the highest, either way of the middle."""
    bend_db: float = 4.0
    """Standard deviation of slower and faster ripples of the response, together."""
    bends: int = 4
    """Cosines over the mel axis that ripples are made of: the fastest has so many half periods."""
    band_chance: float = 0.25
    """Of a low-pass, as of speech that once was at 8 kHz."""
    band_hz: tuple[float, float] = (3400.0, 4000.0)
    """Its edge."""
    low_chance: float = 0.4
    """Of a high-pass as telephones have it, where there is a low-pass."""
    low_hz: tuple[float, float] = (100.0, 350.0)
    stop_db: tuple[float, float] = (35.0, 80.0)
    """How far what remains beyond the edges lies below the mean energy."""

    def __post_init__(self) -> None:
        if not 0 <= min(self.band_chance, self.low_chance) <= max(self.band_chance, self.low_chance) <= 1:
            raise RecipeError(
                f"mix.channel: chances must be 0 to 1, got {self.band_chance}, {self.low_chance}"
            )
        for name in ("band_hz", "low_hz", "stop_db"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise RecipeError(f"mix.channel.{name} must rise from 0, got {low}, {high}")


def mel_centres(features: FbankSpec) -> NDArray[np.float64]:
    """(mels,) centre of each filter in Hz: evenly spread on Kaldi's mel scale, 1127 ln(1 + f / 700)."""
    low, high = 1127 * np.log1p(np.array([features.low_hz, features.high_hz]) / 700)
    centres: NDArray[np.float64] = 700 * np.expm1(np.linspace(low, high, features.mels + 2)[1:-1] / 1127)
    return centres


class Channel:
    """Draws channels and sends log-mel frames through them."""

    def __init__(self, spec: ChannelSpec, features: FbankSpec) -> None:
        self.spec = spec
        self.centres = mel_centres(features)
        self.floor = log(features.floor)
        place = (np.arange(features.mels) + 0.5) / features.mels
        self._ripples = np.cos(np.pi * np.arange(1, spec.bends + 1)[:, None] * place)
        self._slope = 2 * place - 1

    def response(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """(mels,) gains, as what is to be added to log energies."""
        spec = self.spec
        heights = rng.normal(0, 1, spec.bends) * spec.bend_db / np.sqrt(max(1, spec.bends) / 2)
        bent = heights @ self._ripples if spec.bends else 0.0
        return ((rng.uniform(-1, 1) * spec.tilt_db * self._slope + bent) * _NEPER).astype(np.float32)

    def send(self, frames: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """(frames, mels) log-mel through another channel; nothing falls below the front end's floor."""
        spec = self.spec
        out: NDArray[np.float32] = np.maximum(frames + self.response(rng), np.float32(self.floor))
        limited = rng.random() < spec.band_chance
        edges = rng.uniform(*spec.band_hz), rng.uniform(*spec.low_hz), rng.uniform(*spec.stop_db)
        narrow = rng.random() < spec.low_chance
        if not limited or not len(out):
            return out
        high, low, stop_db = edges
        beyond = self.centres > high
        if narrow:
            beyond |= self.centres < low
        level = max(float(np.log(np.exp(out).mean())) - stop_db * _NEPER, self.floor)
        rest = level + rng.exponential(0.5, (len(out), int(beyond.sum())))
        # Nothing gets louder by a filter: where speech was fainter than what leaks, it stays.
        out[:, beyond] = np.minimum(out[:, beyond], rest)
        return out
