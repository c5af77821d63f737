"""`python -m kws noise OUT DIR …`: sounds of any kind, cut to clips that training takes for noise.

Games, toys and desktops that Linux distributions package hold hundreds of kinds of sound and music under free
licences. Speech must stay out of them: a word among the noise would teach a network to miss it.
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase

import numpy as np
from tqdm import tqdm

from kws.clips import DataError
from kws.sets import refuse_filled, write_set
from stapes.samples import Samples
from training.audio import AudioError, read_audio
from training.command import count

RATE = 16_000
SECONDS = 10.0
"""The longest clip."""
_SHORTEST = 0.1
"""Seconds; what is shorter is a click."""
_FAINT = 1e-6
"""Mean power of what cannot be heard (-60 dB)."""
_LONGEST_NAME = 120
_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m kws noise`."""
    parser.add_argument("out", type=Path, help="the folder to write, with its manifest.jsonl")
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="sounds, at any depth")
    parser.add_argument(
        "--most", type=count, default=3, help="clips of one file, evenly spread over it; at most 26"
    )
    parser.add_argument(
        "--without",
        nargs="*",
        default=["voice", "speech"],
        metavar="WORD",
        help="files are left out whose path has one of these in it: those with speech",
    )


def run(args: argparse.Namespace) -> str:
    """Cuts and writes; says how much.

    Raises:
        DataError: a folder is missing, they hold no sound that can be heard, two sounds have one name, or
            `out` holds something.
    """
    refuse_filled(args.out)
    words = [word.lower() for word in args.without]
    for folder in args.folders:
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}")
    files = [file for folder in args.folders for file in sounds(folder, words)]
    names = Counter(name for name, _ in files)
    if twice := [name for name, times in names.items() if times > 1]:
        raise DataError(f"two files would be called {twice[0]}: give their folders other names")
    clips = [
        clip
        for name, path in tqdm(files, desc="sounds", mininterval=5)
        for clip in pieces(name, path, args.most)
    ]
    if not clips:
        raise DataError(f"no sounds to be heard in {', '.join(map(str, args.folders))}")
    write_set(args.out, RATE, ((name, samples, {"label": "noise"}) for name, samples in clips))
    minutes = sum(len(samples) for _, samples in clips) / RATE / 60
    heard = len({name.rpartition("-")[0] for name, _ in clips})
    return f"{len(clips)} clips, {minutes:.0f} min, of {heard} files, in {args.out}"


def sounds(folder: Path, words: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Name and path of each sound file of a folder, in order; none whose path below it has one of `words`."""
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder).as_posix()
        if path.suffix.lower() in _SUFFIXES and not any(word in below.lower() for word in words):
            # With its ending, since hit.wav may lie beside hit.ogg; a digest keeps a long path's name short.
            name = f"{folder.resolve().name}-{below}".replace("/", "-").replace("_", "-")
            short = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
            yield (name if len(name.encode()) <= _LONGEST_NAME else short), path


def pieces(name: str, path: Path, most: int) -> Iterator[tuple[str, Samples]]:
    """At most `most` clips of a file, evenly spread; none that is faint, none of a file that cannot be read.

    Names end as takes do (training.takes), so that the clips of one file stay on one side of a division.
    """
    try:
        samples = read_audio(path, RATE)
    except AudioError:
        return
    longest = int(SECONDS * RATE)
    parts = min(most, len(ascii_uppercase), max(1, len(samples) // longest))
    for part in range(parts):
        start = round((len(samples) - longest) * part / (parts - 1)) if parts > 1 else 0
        piece = samples[start : start + longest]
        if len(piece) >= _SHORTEST * RATE and np.square(piece).mean() > _FAINT:
            yield f"{name}-{ascii_uppercase[part]}", piece.copy()  # a view would keep the whole file
