"""Features of all clips in several variants, computed once and kept on disk."""

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from kws.clips import Clip, DataError, Split, class_of, gather, read_folder
from kws.noise import training_noise
from kws.speech import recordings, sounds_like_keywords
from stapes.fbank import fbank
from stapes.spec import FbankSpec
from training.atomic import replacing
from training.audio import read_audio
from training.rooms import RoomSpec, room_file
from training.variants import VariantSpec, vary

CLIP_SECONDS = 1
LEAD_FRAMES = 1
"""Silent frames put around a clip to fill a whole window: 98 frames of one second in 100."""
WINDOW_FRAMES = 100


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Folders below the data folder, each with a manifest.jsonl or in the layout of Speech Commands."""

    main: str = "speech_commands"
    """Gives the dev and test parts too."""
    extra: tuple[str, ...] = ()
    """More single words, recorded or synthetic: training only."""
    running: tuple[str, ...] = ("librispeech", "an4", "languages", "arabic_commands", "wake_words")
    """Speech that holds no keyword, as far as its text says; training only, calibration keeps half of it."""
    noise: tuple[str, ...] = ("noise",)
    """Noise, besides the main folder's own."""
    reserve_noise: bool = True
    """Whether calibration and evaluation keep half of the noise (see kws.noise)."""
    variants: int = 4
    """Stored versions of each clip: itself, and others with changed speed, room and codec."""
    rooms: int = 200
    """Simulated rooms that those changes draw from."""
    seed: int = 0
    """Of those changes."""


@dataclass(frozen=True, slots=True)
class Store:
    """Log-mel features in half precision, ready to be mixed."""

    features: FbankSpec
    clips: NDArray[np.float16]
    """(clips, variants, frames, mels) of single words, one second each; variant 0 is the recording itself."""
    labels: NDArray[np.int64]
    """(clips,) index of each clip's class."""
    synthetic: NDArray[np.bool_]
    """(clips,) whether a synthesiser spoke it."""
    running: NDArray[np.float16]
    """(frames, mels) of running speech without keywords, end to end."""
    noise: NDArray[np.float16]
    """(frames, mels) of noise, end to end."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Whole clips to be judged, each filling one window."""

    frames: NDArray[np.float32]
    """(clips, WINDOW_FRAMES, mels)"""
    labels: NDArray[np.int64]
    """(clips,)"""
    clips: tuple[Clip, ...]


def build_store(data: Path, spec: DataSpec, features: FbankSpec, cache: Path) -> Store:
    """All that a recipe trains on; computed once for each combination of clips and settings.

    Args:
        data: the folder that the recipe's folders stand in.
        spec: which folders, how many variants.
        features: the front end.
        cache: where results are kept; safe to delete.

    Raises:
        DataError: a folder is missing or holds no clips.
    """
    clips = gather(data / spec.main, [data / folder for folder in spec.extra])
    words = [clip for clip in clips if clip.split == "train"]
    noise = training_noise(data, (spec.main, *spec.noise), reserve=spec.reserve_noise)
    running = [
        clip for folder in spec.running for clip in running_speech(data / folder) if not is_reserved(clip)
    ]
    rooms = room_file(cache, RoomSpec(count=spec.rooms, sample_rate=features.sample_rate, seed=spec.seed))
    several = partial(_variants, features=features, count=spec.variants, seed=spec.seed, rooms=rooms)
    whole = partial(_frames, features=features)
    settings = {
        "features": asdict(features),
        "variants": spec.variants,
        "seed": spec.seed,
        "rooms": spec.rooms,
        "vary": asdict(VariantSpec()),
    }
    return Store(
        features=features,
        clips=_cached(cache, "words", words, several, settings),
        labels=np.array([class_of(clip.label) for clip in words]),
        synthetic=np.array([bool(clip.engine) for clip in words]),
        running=_cached(cache, "running", running, whole, settings, end_to_end=True),
        noise=_cached(cache, "noise", noise, whole, settings, end_to_end=True),
    )


def judged(folder: Path, split: Split, features: FbankSpec, cache: Path | None = None) -> Judged:
    """The clips of one split alone, each amid a window of silence, as `stapes score` puts them.

    Args:
        folder: of words.
        split: of it.
        features: the front end.
        cache: where features are kept; None: they are computed in this process and not kept.

    Raises:
        DataError: the folder is missing, or has no such clips.
    """
    clips = [clip for clip in read_folder(folder) if clip.split == split]
    single = partial(_variants, features=features, count=1, seed=0, rooms=None)
    if not clips:
        raise DataError(f"{folder} holds no {split} clips")
    if cache is None:
        stored = np.stack([single(clip) for clip in tqdm(clips, f"features of {split}", mininterval=5)])
    else:
        stored = _cached(cache, split, clips, single, {"features": asdict(features)})
    frames = np.full((len(clips), WINDOW_FRAMES, features.mels), np.log(features.floor), np.float32)
    frames[:, LEAD_FRAMES : LEAD_FRAMES + stored.shape[2]] = stored[:, 0]
    return Judged(frames, np.array([class_of(clip.label) for clip in clips]), tuple(clips))


def running_speech(folder: Path) -> list[Clip]:
    """Training clips of running speech without a keyword in their text; English without text is left out.

    A keyword in the manifest's "label" or "text", or a word that sounds like one, drops the clip: `_unknown_`
    would teach the network to miss it.
    """
    return [
        clip
        for clip, said, row in recordings(folder)
        if clip.split == "train"
        and not said
        and not sounds_like_keywords(row)
        and (row.get("text") or row.get("language") != "en")
    ]


def is_reserved(clip: Clip) -> bool:
    """Whether calibration keeps this speaker's running speech for itself: every second one, by SHA-1."""
    return hashlib.sha1(clip.speaker.encode()).digest()[0] % 2 == 1  # noqa: S324


def second_of(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Exactly one second: the middle of a longer clip, or a shorter one amid silence."""
    wanted = rate * CLIP_SECONDS
    if len(samples) >= wanted:
        start = (len(samples) - wanted) // 2
        return samples[start : start + wanted]
    before = (wanted - len(samples)) // 2
    return np.pad(samples, (before, wanted - len(samples) - before))


def _variants(
    clip: Clip, features: FbankSpec, count: int, seed: int, rooms: Path | None
) -> NDArray[np.float16]:
    rate = features.sample_rate
    samples = second_of(read_audio(clip.audio, rate), rate)
    responses = np.load(rooms, mmap_mode="c") if rooms else None
    digest = hashlib.sha256(f"{seed} {clip.label} {clip.audio.name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    made = [samples]
    for _ in range(count - 1):
        varied = second_of(vary(samples, rate, VariantSpec(), rng, responses), rate)
        # Frames land elsewhere in the word: shifts by less than a hop, which mixing cannot make.
        made.append(
            np.roll(varied, int(rng.integers(-features.hop_samples // 2, features.hop_samples // 2 + 1)))
        )
    return np.stack([fbank(each, features) for each in made]).astype(np.float16)


def _frames(clip: Clip, features: FbankSpec) -> NDArray[np.float16]:
    return fbank(read_audio(clip.audio, features.sample_rate), features).astype(np.float16)


def _cached(
    cache: Path,
    name: str,
    clips: Sequence[Clip],
    make: Callable[[Clip], NDArray[np.float16]],
    settings: dict[str, Any],
    *,
    end_to_end: bool = False,
) -> NDArray[np.float16]:
    """The features of `clips`, stacked (words) or end to end (frames); memory-mapped from the cache."""
    known = [f"{clip.label}/{clip.audio.name} {clip.audio.stat().st_size}" for clip in clips]
    key = json.dumps([settings, known], sort_keys=True)
    path = cache / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Not fork: the parent's torch may hold threads that a forked child would wait for.
        with ProcessPoolExecutor(
            mp_context=multiprocessing.get_context("forkserver"), initializer=_one_thread
        ) as pool:
            parts = list(
                tqdm(_ordered(pool, make, clips), total=len(clips), desc=f"features of {name}", mininterval=5)
            )
        empty = np.zeros((0, settings["features"]["mels"]), np.float16)
        joined = np.concatenate([empty, *parts]) if end_to_end else np.stack(parts)
        with replacing(path) as draft, draft.open("wb") as file:
            np.save(file, joined)
    loaded: NDArray[np.float16] = np.load(path, mmap_mode="r")
    return loaded


def _one_thread() -> None:
    torch.set_num_threads(1)


def _ordered(
    pool: ProcessPoolExecutor, make: Callable[[Clip], NDArray[np.float16]], clips: Sequence[Clip]
) -> Iterable[NDArray[np.float16]]:
    return pool.map(make, clips, chunksize=32)
