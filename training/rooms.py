"""Simulated rooms: impulse responses by the image-source method, and their application to batches."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyroomacoustics
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from training.atomic import replacing

LEAD = 16
"""Samples kept before the direct sound: the tail of its fractional-delay filter."""


@dataclass(frozen=True, slots=True)
class RoomSpec:
    """Shoebox rooms with one talker and one microphone; ranges are drawn from uniformly."""

    count: int = 200
    """Impulse responses in the pool, each of its own room."""
    sample_rate: int = 16_000
    floor_m: tuple[float, float] = (2.5, 7.0)
    """Length and width of the room."""
    height_m: tuple[float, float] = (2.3, 3.5)
    rt60_s: tuple[float, float] = (0.15, 0.5)
    """Time in which sound falls by 60 dB (Sabine)."""
    distance_m: tuple[float, float] = (0.2, 4.0)
    """From talker to microphone, as far as the room allows."""
    response_ms: int = 400
    """Length to which responses are cut or filled."""
    seed: int = 0


def room_responses(spec: RoomSpec, progress: bool = False) -> NDArray[np.float32]:
    """A pool of impulse responses, the same for the same spec.

    Source: Allen and Berkley, Image method for efficiently simulating small-room acoustics, 1979.

    Args:
        spec: sizes, reverberation times and distances to draw from.
        progress: show a bar on stderr.

    Returns:
        (count, taps) float32. The direct sound arrives after LEAD samples; each response has energy 1, so
        that white noise keeps its power.

    Raises:
        ValueError: the rooms are too large to be as dry as rt60_s asks.
    """
    rng = np.random.default_rng(spec.seed)
    pool = np.zeros((spec.count, spec.sample_rate * spec.response_ms // 1000), np.float32)
    for row in tqdm(pool, desc="rooms", unit="room", disable=not progress):
        response = _response(spec, rng)[: pool.shape[1]]
        row[: len(response)] = response / np.linalg.norm(response)
    return pool


def room_file(cache: Path, spec: RoomSpec) -> Path:
    """The .npy file of `room_responses` in a cache folder, made on the first call."""
    digest = hashlib.sha256(json.dumps(asdict(spec)).encode()).hexdigest()[:16]
    path = cache / f"rooms-{digest}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft, draft.open("wb") as file:
            np.save(file, room_responses(spec, progress=True))
    return path


def reverberate(waves: Tensor, responses: Tensor) -> Tensor:
    """Puts each clip into a room; the power of each clip stays what it was.

    Args:
        waves: (batch, samples).
        responses: (batch, taps), a room for each clip, from `room_responses`.

    Returns:
        (batch, samples); the reverberation after the end is cut off.
    """
    samples = waves.shape[1]
    size = 1 << (samples + responses.shape[1] - 2).bit_length()  # linear, not circular, convolution
    spectrum = torch.fft.rfft(waves, size) * torch.fft.rfft(responses, size)
    wet = torch.fft.irfft(spectrum, size)[:, LEAD : LEAD + samples]
    factor = waves.square().mean(1) / wet.square().mean(1).clamp_min(1e-12)
    louder: Tensor = wet * factor.sqrt()[:, None]
    return louder


def _response(spec: RoomSpec, rng: np.random.Generator) -> NDArray[np.float64]:
    for _ in range(100):
        size = np.array([*rng.uniform(*spec.floor_m, 2), rng.uniform(*spec.height_m)])
        try:
            absorption, order = pyroomacoustics.inverse_sabine(rng.uniform(*spec.rt60_s), size)
        except ValueError:  # too large to be that dry: another room
            continue
        break
    else:
        raise ValueError(f"no room of {spec.floor_m} m is as dry as {spec.rt60_s} s: raise rt60_s")
    talker, microphone = _places(spec, rng, size)
    room = pyroomacoustics.ShoeBox(
        size, fs=spec.sample_rate, materials=pyroomacoustics.Material(absorption), max_order=order
    )
    room.add_source(talker)
    room.add_microphone(microphone)
    room.compute_rir()
    delay = pyroomacoustics.constants.get("frac_delay_length") // 2
    arrival = np.linalg.norm(talker - microphone) / room.c * spec.sample_rate + delay
    response: NDArray[np.float64] = room.rir[0][0][round(arrival) - LEAD :]
    return response


def _places(
    spec: RoomSpec, rng: np.random.Generator, size: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Talker and microphone, 20 cm or more from every wall, at the drawn distance if that fits."""
    margin = 0.2
    microphone = rng.uniform(margin, size - margin)
    direction = rng.standard_normal(3) * (1, 1, 0.3)  # mouths and devices are at similar heights
    wanted = rng.uniform(*spec.distance_m) * direction / np.linalg.norm(direction)
    return np.clip(microphone + wanted, margin, size - margin), microphone
