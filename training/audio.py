"""Audio files in, one memory-mapped array of many clips out."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import gcd
from multiprocessing import get_context
from pathlib import Path
from typing import Self

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly
from tqdm import tqdm

from training.atomic import replacing

Samples = NDArray[np.float32]
PART = 256
"""Clips of one part: what an interruption can cost."""


class AudioError(ValueError):
    """A recording that cannot be read; the message names the file."""


def read_audio(path: Path | str, sample_rate: int) -> Samples:
    """Any file that libsndfile knows, as mono at a rate.

    Args:
        path: WAV, FLAC, OGG, Opus, MP3, ...; several channels are averaged.
        sample_rate: wanted, in Hz.

    Returns:
        (samples,) float32 in [-1, 1].

    Raises:
        AudioError: the file is missing or no audio.
    """
    try:
        raw, source_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path} cannot be read as audio: {error}") from None
    mono = raw.mean(1, dtype=np.float32)
    if source_rate == sample_rate or not len(mono):
        return np.ascontiguousarray(mono)
    common = gcd(source_rate, sample_rate)
    # resample_poly, not the streaming resampler: no delay, and its Kaiser filter is the field's default
    mono = resample_poly(mono, sample_rate // common, source_rate // common).astype(np.float32)
    return np.asarray(np.clip(mono, -1, 1), np.float32)


@dataclass(frozen=True, slots=True)
class ClipStore:
    """Many clips in one int16 .npy file, memory-mapped; look them up by key or by number."""

    samples: NDArray[np.int16]
    """(all samples,): the clips one after the other."""
    ends: NDArray[np.int64]
    """(clips + 1,): clip i lies from ends[i] to ends[i + 1]."""
    numbers: dict[str, int]
    """Key to number, in the order of the manifest."""
    sample_rate: int

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """A store that `build_store` wrote.

        Raises:
            AudioError: it is missing, or its two files do not belong together.
        """
        path = Path(path)
        try:
            index = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            samples = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise AudioError(f"{path} is no store of clips: {error}") from None
        ends = np.concatenate([[0], np.cumsum(index["lengths"], dtype=np.int64)])
        if len(samples) != ends[-1]:
            raise AudioError(f"{path} holds {len(samples)} samples, its index {ends[-1]}: build it again")
        return cls(samples, ends, {key: i for i, key in enumerate(index["keys"])}, index["sample_rate"])

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, clip: str | int) -> Samples:
        """One clip, (samples,) float32 in [-1, 1]."""
        number = self.numbers[clip] if isinstance(clip, str) else clip
        return self.samples[self.ends[number] : self.ends[number + 1]].astype(np.float32) / np.float32(32768)

    def block(self, numbers: Sequence[int] | NDArray[np.int64], samples: int) -> NDArray[np.int16]:
        """Clips of one length, cut or filled with zeros on both sides alike: (clips, samples) int16."""
        out = np.zeros((len(numbers), samples), np.int16)
        for row, number in zip(out, numbers, strict=True):
            clip = self.samples[self.ends[number] : self.ends[number + 1]]
            cut, fill = max(0, len(clip) - samples) // 2, max(0, samples - len(clip)) // 2
            clip = clip[cut : cut + samples]
            row[fill : fill + len(clip)] = clip
        return out


def build_store(
    clips: Sequence[tuple[str, Path]],
    path: Path | str,
    sample_rate: int,
    processes: int = 2,
    progress: bool = True,
) -> ClipStore:
    """Reads all clips once into a store; an interrupted build goes on where it was, a finished one is kept.

    Args:
        clips: key (a manifest's "audio", say) and file of each clip, keys all different.
        path: the .npy to write; its index lies beside it as .json.
        sample_rate: in Hz.
        processes: that read in parallel.
        progress: show a bar on stderr.

    Raises:
        AudioError: a file cannot be read, a key comes twice, or there are no clips.
    """
    path = Path(path)
    keys = [key for key, _ in clips]
    if not keys:
        raise AudioError(f"no clips were given for {path}")
    if len(set(keys)) != len(keys):
        raise AudioError(f"{len(keys) - len(set(keys))} keys of {path.name} come twice")
    wanted = json.dumps([sample_rate, [[key, str(file)] for key, file in clips]])
    digest = hashlib.sha256(wanted.encode()).hexdigest()
    index_path = path.with_suffix(".json")
    if path.exists() and index_path.exists():
        if json.loads(index_path.read_text(encoding="utf-8")).get("digest") == digest:
            return ClipStore.open(path)
        index_path.unlink()  # first: an index beside other samples would lie

    parts = path.with_name(f".{path.stem}.parts-{digest[:16]}")
    parts.mkdir(parents=True, exist_ok=True)
    jobs = [
        (parts / f"{number:06d}.npz", [file for _, file in some], sample_rate)
        for number, some in enumerate(clips[at : at + PART] for at in range(0, len(clips), PART))
    ]
    missing = [job for job in jobs if not job[0].exists()]
    if missing:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            written = pool.map(_write_part, missing)
            for _ in tqdm(
                written, path.name, len(jobs), initial=len(jobs) - len(missing), disable=not progress
            ):
                pass

    lengths = [int(n) for part, _, _ in jobs for n in np.load(part)["lengths"]]
    with replacing(path) as draft:
        out = np.lib.format.open_memmap(draft, "w+", np.int16, (sum(lengths),))
        at = 0
        for part, _, _ in jobs:
            samples = np.load(part)["samples"]
            out[at : at + len(samples)] = samples
            at += len(samples)
        out.flush()
    with replacing(index_path) as draft:
        index = {"sample_rate": sample_rate, "digest": digest, "keys": keys, "lengths": lengths}
        draft.write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")
    # also the parts of an interrupted build of other clips
    for done in path.parent.glob(f".{path.stem}.parts-*"):
        shutil.rmtree(done)
    return ClipStore.open(path)


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """[-1, 1] to 16 bits, rounded; beyond is clipped."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def _write_part(job: tuple[Path, list[Path], int]) -> None:
    part, files, sample_rate = job
    clips = [to_int16(read_audio(file, sample_rate)) for file in files]
    with replacing(part) as draft:
        np.savez(draft, samples=np.concatenate(clips), lengths=[len(clip) for clip in clips])
