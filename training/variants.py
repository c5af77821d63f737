"""Costly variants of single clips, made once, before training: speed, rooms, codecs."""

import io
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from training.rooms import reverberate

Samples = NDArray[np.float32]
Codec = Literal["opus", "vorbis", "mp3", "gsm", "mulaw", "alaw", "narrow"]
"""gsm, mulaw and alaw run at 8 kHz, as telephones do; narrow is the 8 kHz band limit alone."""

_FORMATS: dict[Codec, tuple[str, str]] = {
    "opus": ("OGG", "OPUS"),
    "vorbis": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "gsm": ("WAV", "GSM610"),
    "mulaw": ("WAV", "ULAW"),
    "alaw": ("WAV", "ALAW"),
}
_LOSSY = ("opus", "vorbis", "mp3")
"""Those with a rate to choose."""


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """What `vary` draws from."""

    speed: tuple[float, float] = (0.85, 1.15)
    """Range of the factor by which a clip is played faster; pitch changes with it."""
    room_probability: float = 0.3
    codec_probability: float = 0.2
    codecs: tuple[Codec, ...] = get_args(Codec)
    compression: tuple[float, float] = (0.5, 1.0)
    """Range for codecs with a rate to choose; 0 is the best quality, 1 the least."""

    def __post_init__(self) -> None:
        if not 0 < self.speed[0] <= self.speed[1]:
            raise ValueError(f"speed must be positive and rise, got {self.speed}")
        if not 0 <= self.compression[0] <= self.compression[1] <= 1:
            raise ValueError(f"compression must rise within [0, 1], got {self.compression}")
        for name in ("room_probability", "codec_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


def vary(
    samples: Samples,
    sample_rate: int,
    spec: VariantSpec,
    rng: np.random.Generator,
    rooms: NDArray[np.float32] | None = None,
) -> Samples:
    """One variant of a clip: another speed, perhaps a room, perhaps a codec, in that order.

    Args:
        samples: (samples,).
        sample_rate: in Hz.
        spec: ranges and probabilities.
        rng: source of randomness; the same state gives the same variant.
        rooms: (rooms, taps) from `room_responses`, at `sample_rate`; None means no rooms.

    Returns:
        (about samples / speed,) in [-1, 1].
    """
    out = speed(samples, rng.uniform(*spec.speed))
    if rooms is not None and rng.random() < spec.room_probability:
        response = torch.from_numpy(rooms[rng.integers(len(rooms))])
        out = reverberate(torch.from_numpy(out)[None], response[None])[0].numpy()
    if spec.codecs and rng.random() < spec.codec_probability:
        kind = spec.codecs[rng.integers(len(spec.codecs))]
        out = through_codec(out, sample_rate, kind, rng.uniform(*spec.compression))
    return np.clip(out, -1, 1)


def speed(samples: Samples, factor: float) -> Samples:
    """The clip played `factor` times as fast (rounded to 1/100): shorter and higher for factors above 1."""
    percent = round(100 * factor)
    if percent < 1:
        raise ValueError(f"speed must be at least 0.01, got {factor}")
    return _resample(samples, 100, percent)


def through_codec(samples: Samples, sample_rate: int, kind: Codec, compression: float = 0.7) -> Samples:
    """Encodes and decodes a clip in memory.

    Args:
        samples: (samples,) in [-1, 1]; values beyond are clipped.
        sample_rate: in Hz; a multiple of 8000, and one that the codec knows (16000 or 48000 for opus).
        kind: which codec.
        compression: of opus, vorbis and mp3: 0 best quality .. 1 smallest.

    Returns:
        (samples,), of the same length and aligned with the input.
    """
    if sample_rate % 8000:
        raise ValueError(f"codecs want a multiple of 8000 Hz, got {sample_rate} Hz")
    down = 1 if kind in _LOSSY else sample_rate // 8000
    out = np.clip(_resample(samples, 1, down), -1, 1)
    if kind != "narrow":
        container, subtype = _FORMATS[kind]
        if kind == "mp3":
            compression = min(compression, 0.99)  # libsndfile refuses 1
        options = {"compression_level": compression} if kind in _LOSSY else {}
        file = io.BytesIO()
        soundfile.write(file, out, sample_rate // down, format=container, subtype=subtype, **options)
        file.seek(0)
        out, _ = soundfile.read(file, dtype="float32")
    out = _resample(out, down, 1)[: len(samples)]
    return np.pad(out, (0, len(samples) - len(out)))


def _resample(samples: Samples, up: int, down: int) -> Samples:
    if up == down:
        return samples
    out: Samples = resample_poly(samples, up, down).astype(np.float32, copy=False)
    return out
