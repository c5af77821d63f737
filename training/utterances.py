"""Features of recordings of any length, computed once, kept on disk and drawn as batches."""

import hashlib
import json
import multiprocessing
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from stapes.fbank import fbank
from stapes.spec import FbankSpec
from training.atomic import replacing
from training.audio import AudioError, read_audio
from training.rooms import RoomSpec, room_file
from training.variants import VariantSpec, vary

_COPY = 1 << 16
"""Frames copied at a time."""
_FEW = 32
"""Recordings that are not worth starting processes for."""


class ManifestError(ValueError):
    """A manifest that is missing, empty, or has a line that is not understood."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One line of a manifest."""

    audio: Path
    split: str
    fields: Mapping[str, Any]
    """All keys of the line: "text", "language", "speaker", "duration", …"""


@dataclass(frozen=True, slots=True)
class Utterances:
    """Log-mel features of many recordings, in half precision, end to end."""

    features: FbankSpec
    recordings: tuple[Recording, ...]
    frames: NDArray[np.float16]
    """(all frames, mels), memory-mapped."""
    ends: NDArray[np.int64]
    """(recordings · variants + 1,): variant v of recording i lies from ends[i·variants + v] to the next."""
    variants: int
    """Stored versions of each recording: 0 is itself, the others have another speed, room or codec."""

    def __len__(self) -> int:
        return len(self.recordings)

    def get(self, number: int, variant: int = 0) -> NDArray[np.float32]:
        """(frames, mels) of one recording."""
        at = number * self.variants + variant
        return self.frames[self.ends[at] : self.ends[at + 1]].astype(np.float32)

    def lengths(self, variant: int = 0) -> NDArray[np.int64]:
        """(recordings,) frames of each."""
        return np.diff(self.ends)[variant :: self.variants]


def read_manifest(folder: Path) -> list[Recording]:
    """The recordings that `folder`/manifest.jsonl names.

    Raises:
        ManifestError: no such file, no line in it, or a line without "audio"; the message names it.
    """
    path = folder / "manifest.jsonl"
    try:
        # Not splitlines: texts may hold other separators, which JSON does not escape.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from None
    recordings = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            recordings.append(Recording(folder / row["audio"], str(row.get("split", "train")), row))
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(f'{path}, line {number}: wants an object with "audio": {error!r}') from None
    if not recordings:
        raise ManifestError(f"{path} names no recordings")
    return recordings


def build_utterances(
    recordings: Sequence[Recording],
    features: FbankSpec,
    cache: Path,
    *,
    variants: int = 1,
    seed: int = 0,
    rooms: int = 0,
) -> Utterances:
    """Features of recordings; computed on the first call with a cache folder, in all processor cores.

    Args:
        recordings: whose features, in order.
        features: the front end.
        cache: where results are kept; safe to delete.
        variants: stored versions of each (see `Utterances`).
        seed: of the variants.
        rooms: simulated rooms that variants draw from; 0: none.

    Raises:
        AudioError: a recording cannot be read.
        ManifestError: there are no recordings.
    """
    if not recordings:
        raise ManifestError("no recordings were given: is the right split in the manifest?")
    sizes = [f"{each.audio} {each.audio.stat().st_size}" for each in recordings if each.audio.exists()]
    if len(sizes) < len(recordings):
        missing = next(each.audio for each in recordings if not each.audio.exists())
        raise AudioError(f"{len(recordings) - len(sizes)} recordings are missing, the first is {missing}")
    settings = [asdict(features), variants, seed, rooms, asdict(VariantSpec()), sizes]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    path, index = cache / f"utterances-{digest}.npy", cache / f"utterances-{digest}.ends.npy"
    if not (path.exists() and index.exists()):
        cache.mkdir(parents=True, exist_ok=True)
        room = RoomSpec(count=rooms, sample_rate=features.sample_rate, seed=seed)
        responses = room_file(cache, room) if rooms and variants > 1 else None
        make = partial(_variants, features=features, count=variants, seed=seed, rooms=responses)
        ends = [0]
        # The header of a .npy comes first and holds the length, so the frames go to a plain file before.
        with replacing(path) as draft, tempfile.TemporaryFile(dir=cache) as raw:
            for made in _in_processes(make, recordings):
                for part in made:
                    raw.write(part.tobytes())
                    ends.append(ends[-1] + len(part))
            out = np.lib.format.open_memmap(draft, "w+", np.float16, (ends[-1], features.mels))
            raw.seek(0)
            for start in range(0, ends[-1], _COPY):
                count = min(_COPY, ends[-1] - start) * features.mels
                out[start : start + _COPY] = np.fromfile(raw, np.float16, count).reshape(-1, features.mels)
            out.flush()
        with replacing(index) as draft, draft.open("wb") as file:
            np.save(file, np.array(ends, np.int64))
    return Utterances(features, tuple(recordings), np.load(path, mmap_mode="r"), np.load(index), variants)


@dataclass(frozen=True, slots=True)
class NoiseSpec:
    """How recordings are put among noise."""

    chance: float = 0.5
    """Of noise at all."""
    snr_db: tuple[float, float] = (0.0, 25.0)
    """Mean energy of the recording to that of the noise; drawn uniformly, as the gain."""
    gain_db: tuple[float, float] = (-12.0, 6.0)

    def __post_init__(self) -> None:
        if not 0 <= self.chance <= 1:
            raise ValueError(f"chance must be 0 to 1, got {self.chance}")
        for name in ("snr_db", "gain_db"):
            low, high = getattr(self, name)
            if not low <= high:
                raise ValueError(f"{name} must rise, got {low}, {high}")


class Noise:
    """Mixes noise in: energies of sounds add up, but for a cross term of mean zero (our choice)."""

    def __init__(self, frames: NDArray[np.float16], spec: NoiseSpec, floor: float) -> None:
        """Takes (frames, mels) log-mel of noise, end to end; none are needed if the chance is 0."""
        self.frames, self.spec, self.floor = frames, spec, floor

    def add(self, frames: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """(frames, mels) log-mel at another gain and, by chance, over noise."""
        gain = rng.uniform(*self.spec.gain_db) / 10
        noisy = rng.random() < self.spec.chance
        snr = rng.uniform(*self.spec.snr_db) / 10
        if not len(frames):
            return frames
        energy = np.exp(frames) * np.float32(10**gain)
        if noisy and len(self.frames):
            # Wrapped around: an utterance may be longer than all noise there is.
            start = int(rng.integers(len(self.frames)))
            at = np.arange(start, start + len(frames)) % len(self.frames)
            noise = np.exp(self.frames[at].astype(np.float32))
            level = energy.mean() / 10**snr / max(float(noise.mean()), 1e-9)
            energy += noise * np.float32(level)
        return np.log(np.maximum(energy, np.float32(self.floor)))


def buckets(
    lengths: NDArray[np.int64], frames_per_batch: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Every number once, in batches of about equal length, each padded to at most `frames_per_batch` frames.

    A single recording longer than that is a batch by itself. The order of batches is random; recordings of
    about the same length meet in other batches each time.
    """
    jitter = lengths * rng.uniform(0.9, 1.1, len(lengths))
    batches: list[NDArray[np.int64]] = []
    batch: list[int] = []
    longest = 0
    for number in np.argsort(jitter):
        longest = max(longest, int(lengths[number]))
        if batch and longest * (len(batch) + 1) > frames_per_batch:
            batches.append(np.array(batch, np.int64))
            batch, longest = [], int(lengths[number])
        batch.append(int(number))
    if batch:
        batches.append(np.array(batch, np.int64))
    return [batches[i] for i in rng.permutation(len(batches))]


def padded(
    parts: Sequence[NDArray[np.float32]], multiple: int = 1, fill: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Recordings of unequal length as one tensor.

    Args:
        parts: (frames, mels) each.
        multiple: the common length is the next multiple of this.
        fill: the value after a recording's end.

    Returns:
        (batch, frames, mels) float32, and (batch,) the frames of each.
    """
    lengths = [len(part) for part in parts]
    longest = -(-max(lengths) // multiple) * multiple
    out = np.full((len(parts), longest, parts[0].shape[1]), fill, np.float32)
    for row, part in zip(out, parts, strict=True):
        row[: len(part)] = part
    return torch.from_numpy(out), torch.tensor(lengths)


def _variants(
    recording: Recording, features: FbankSpec, count: int, seed: int, rooms: Path | None
) -> list[NDArray[np.float16]]:
    rate = features.sample_rate
    samples = read_audio(recording.audio, rate)
    responses = np.load(rooms, mmap_mode="c") if rooms else None
    digest = hashlib.sha256(f"{seed} {recording.audio.name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    made = [samples] + [vary(samples, rate, VariantSpec(), rng, responses) for _ in range(count - 1)]
    return [fbank(each, features).astype(np.float16) for each in made]


def _in_processes(make: Any, recordings: Sequence[Recording]) -> Iterator[list[NDArray[np.float16]]]:
    if len(recordings) <= _FEW:
        yield from map(make, recordings)
        return
    # Not fork: the parent's torch may hold threads that a forked child would wait for.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(mp_context=context, initializer=partial(torch.set_num_threads, 1)) as pool:
        jobs = pool.map(make, recordings, chunksize=16)
        yield from tqdm(jobs, "features", len(recordings), mininterval=5)
