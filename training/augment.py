"""Cheap augmentation of whole batches, on the CPU or a GPU: no loop over clips.

Every function is deterministic given its torch.Generator, which lives on the device of the data.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from training.rooms import reverberate

POWER_FLOOR = 1e-6
"""Mean square (-60 dB of full scale) below which a clip or a piece of noise counts as silent."""


@dataclass(frozen=True, slots=True)
class WaveSpec:
    """What happens to waveforms; ranges are drawn from uniformly."""

    shift_ms: float = 100.0
    """Largest shift to either side."""
    gain_db: tuple[float, float] = (-10.0, 5.0)
    room_probability: float = 0.3
    """Share of the clips that are put into a room."""
    noise_probability: float = 0.8
    """Share of the clips that get noise."""
    snr_db: tuple[float, float] = (0.0, 20.0)

    def __post_init__(self) -> None:
        if self.shift_ms < 0:
            raise ValueError(f"shift_ms must not be negative, got {self.shift_ms}")
        for name in ("room_probability", "noise_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name, (low, high) in {"gain_db": self.gain_db, "snr_db": self.snr_db}.items():
            if not low <= high:
                raise ValueError(f"{name} must rise, got {low}, {high}")


@dataclass(frozen=True, slots=True)
class MaskSpec:
    """SpecAugment without time warping (arXiv:1904.08779, section 2)."""

    time_masks: int = 2
    time_frames: int = 20
    """Widest time mask."""
    mel_masks: int = 2
    mel_bands: int = 7
    """Widest mask over mel bands."""
    fill: Literal["mean", "zero"] = "mean"
    """mean: of the clip's own features; zero fits features that are normalised already."""

    def __post_init__(self) -> None:
        if min(self.time_masks, self.time_frames, self.mel_masks, self.mel_bands) < 0:
            raise ValueError(f"masks and their widths must not be negative: {self}")


def augment(
    waves: Tensor,
    sample_rate: int,
    spec: WaveSpec,
    generator: torch.Generator,
    *,
    noise: Tensor | None = None,
    rooms: Tensor | None = None,
) -> Tensor:
    """Shifts, reverberates, mixes with noise, then changes the gain, clipping to [-1, 1] as a device would.

    Args:
        waves: (batch, samples) float32.
        sample_rate: in Hz; turns shift_ms into samples.
        spec: ranges and probabilities.
        generator: source of randomness, on the device of `waves`.
        noise: (noise samples,), one long recording or many joined, float32 or int16; None mixes in nothing.
        rooms: (rooms, taps) from `rooms.room_responses`; None leaves all clips dry.

    Returns:
        (batch, samples) float32.
    """
    batch, samples = waves.shape
    limit = round(spec.shift_ms * sample_rate / 1000)
    waves = shift(waves, whole(-limit, limit, batch, generator), limit)
    if rooms is not None:
        wet = uniform(0, 1, batch, generator) < spec.room_probability
        waves[wet] = reverberate(waves[wet], rooms[whole(0, len(rooms) - 1, batch, generator)[wet]])
    if noise is not None:
        snr_db = uniform(*spec.snr_db, batch, generator)
        snr_db[uniform(0, 1, batch, generator) >= spec.noise_probability] = torch.inf
        starts = whole(0, len(noise) - samples, batch, generator)
        waves = mix(waves, noise_crops(noise, starts, samples), snr_db)
    return gain(waves, uniform(*spec.gain_db, batch, generator)).clamp_(-1, 1)


def crop(context: Tensor, starts: Tensor, samples: int) -> Tensor:
    """A piece of each clip.

    Args:
        context: (batch, context samples).
        starts: (batch,) int64, from 0 to context samples - samples.
        samples: length of the pieces.

    Returns:
        (batch, samples)
    """
    rows = torch.arange(len(context), device=context.device)
    return context.unfold(1, samples, 1)[rows, starts]  # a view of all pieces, then a copy of those wanted


def shift(waves: Tensor, offsets: Tensor, limit: int) -> Tensor:
    """Moves each clip later (offset > 0) or earlier, filling with zeros.

    Args:
        waves: (batch, samples).
        offsets: (batch,) int64 in samples, from -limit to limit.
        limit: bound of the offsets (given, not measured: measuring would make a GPU wait).

    Returns:
        (batch, samples)
    """
    return crop(F.pad(waves, (limit, limit)), limit - offsets, waves.shape[1])


def gain(waves: Tensor, gain_db: Tensor) -> Tensor:
    """Each clip of `waves` (batch, samples) louder by `gain_db` (batch,)."""
    return waves * torch.pow(10.0, gain_db / 20)[:, None]


def noise_crops(noise: Tensor, starts: Tensor, samples: int) -> Tensor:
    """Pieces of one long noise.

    Args:
        noise: (noise samples,), float32 or int16.
        starts: (batch,) int64, from 0 to noise samples - samples.
        samples: length of the pieces.

    Returns:
        (batch, samples) float32 in [-1, 1].
    """
    pieces = noise.unfold(0, samples, 1)[starts]
    return pieces.float() / 32768 if noise.dtype == torch.int16 else pieces


def mix(waves: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Adds noise so that power of the clip / power of the noise, over the whole clip, is `snr_db`.

    A silent clip (below POWER_FLOOR) is taken as loud as the floor, so that its noise is faint, not absent;
    silent noise is never blown up beyond what noise at the floor would be.

    Args:
        waves: (batch, samples).
        noise: (batch, samples).
        snr_db: (batch,); inf adds nothing.

    Returns:
        (batch, samples)
    """
    wanted = power(waves).clamp_min(POWER_FLOOR) * torch.pow(10.0, -snr_db / 10)
    factor = (wanted / power(noise).clamp_min(POWER_FLOOR)).sqrt()
    return torch.addcmul(waves, noise, factor[:, None])


def power(waves: Tensor) -> Tensor:
    """Mean square of each clip: (batch, samples) -> (batch,)."""
    return waves.square().mean(1)


def mask(features: Tensor, spec: MaskSpec, generator: torch.Generator) -> Tensor:
    """SpecAugment: masks of random width (0 up to the widest) at random places, other ones for each clip.

    Args:
        features: (batch, frames, mels); not changed.
        spec: number and width of masks.
        generator: source of randomness, on the device of `features`.

    Returns:
        (batch, frames, mels)
    """
    batch, frames, mels = features.shape
    times = _spans(spec.time_masks, spec.time_frames, batch, frames, generator)
    bands = _spans(spec.mel_masks, spec.mel_bands, batch, mels, generator)
    hidden = times[:, :, None] | bands[:, None, :]
    if spec.fill == "zero":
        return features.masked_fill(hidden, 0.0)
    return torch.where(hidden, features.mean((1, 2), keepdim=True), features)


def _spans(count: int, widest: int, batch: int, length: int, generator: torch.Generator) -> Tensor:
    """(batch, length) bool: the union of `count` spans in each row."""
    size = (batch, count, 1)
    widths = torch.rand(size, generator=generator, device=generator.device) * (min(widest, length) + 1)
    widths = widths.floor()
    starts = torch.rand(size, generator=generator, device=generator.device) * (length - widths + 1)
    starts = starts.floor()
    places = torch.arange(length, device=generator.device)
    return ((places >= starts) & (places < starts + widths)).any(1)


def uniform(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    """(count,) float32 in [low, high)."""
    return torch.rand(count, generator=generator, device=generator.device) * (high - low) + low


def whole(low: int, high: int, count: int, generator: torch.Generator) -> Tensor:
    """(count,) int64 from low to high, both included.

    Raises:
        ValueError: low > high; for noise, it is shorter than a clip.
    """
    if low > high:
        raise ValueError(f"nothing lies between {low} and {high}: is the noise shorter than a clip?")
    return torch.randint(low, high + 1, (count,), generator=generator, device=generator.device)
