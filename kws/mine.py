"""Hard negatives: stretches of the running speech that training may use in which a model nearly fires.

They are cut out as one-second clips labelled `_unknown_` into a folder that a recipe can name in data.extra.
The speakers that calibration keeps are never heard, and neither is any folder beyond the recipe's
data.running, which calibration may use all of; nor recordings with neither text nor label: "no" and "stop"
are said in many languages.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kws.clips import UNKNOWN, Clip, DataError
from kws.features import is_reserved, running_speech
from kws.negatives import trained_on
from kws.peaks import Listening, Tapped, smoothed
from kws.sets import clip_name, refuse_filled, write_set
from kws.speech import recordings
from stapes.samples import Samples
from training.audio import read_audio
from training.command import count, share


@dataclass(frozen=True, slots=True)
class Near:
    """A stretch in which a keyword was nearly, or falsely, announced."""

    clip: Clip
    keyword: str
    peak: float
    """Highest smoothed posterior of the keyword."""
    end: int
    """Sample at which the window of the surest decision ends, of those whose mean the peak is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m kws mine`."""
    parser.add_argument("model", type=Path, help="an exported .onnx file")
    parser.add_argument("out", type=Path, help="the folder to write, with its manifest.jsonl")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    parser.add_argument(
        "--running",
        nargs="+",
        metavar="FOLDER",
        help="of the recipe's data.running; default: all of them",
    )
    parser.add_argument("--least", type=share, default=0.4, help="smoothed posterior from which on to cut")
    parser.add_argument(
        "--most", type=count, default=2000, help="clips to keep, those with the highest peaks"
    )


def run(args: argparse.Namespace) -> str:
    """Listens, cuts and writes; says how much.

    Raises:
        DataError: a folder is missing, was no running speech in training, or `out` holds something.
        AudioError: a recording that cannot be read.
    """
    model = Tapped.load(args.model)
    known = tuple(trained_on(model.spec).get("running", ()))
    if strange := set(args.running or ()) - set(known):
        raise DataError(
            f"{', '.join(sorted(strange))}: not in {model.spec.name}'s data.running ({', '.join(known)}), "
            "so calibration may use all of it"
        )
    refuse_filled(args.out)
    found: list[Near] = []
    seconds = 0.0
    for folder in args.running or known:
        told = _told(args.data / folder)
        clips = [clip for clip in running_speech(args.data / folder) if not is_reserved(clip)]
        clips = [clip for clip in clips if clip.audio in told]
        seconds += sum(clip.duration for clip in clips)
        found += near_misses(model, clips, args.least)
    rate = model.spec.features.sample_rate
    found = list({_name(near, rate): near for near in found}.values())
    kept = sorted(found, key=lambda near: near.peak, reverse=True)[: args.most]
    cut(kept, args.out, rate)
    hours, lowest = seconds / 3600, f", peaks from {kept[-1].peak:.2f}" if kept else ""
    return f"{len(found)} stretches in {hours:.2f} h; {len(kept)} clips{lowest}, in {args.out}"


def near_misses(model: Tapped, clips: Sequence[Clip], least: float) -> Iterator[Near]:
    """Each stretch in which a keyword's smoothed posterior is at least `least`.

    Args:
        model: heard in a real stream, from each recording's start.
        clips: that hold no keyword.
        least: over 0 and up to 1.

    Raises:
        AudioError: a recording that cannot be read.
    """
    spec = model.spec
    listening, rate = Listening(model), spec.features.sample_rate
    hop, smooth = spec.window.hop * spec.features.hop_samples, int(spec.params["smooth_hops"])
    for clip in tqdm(clips, desc="near misses", mininterval=5):
        scores = listening.scores(read_audio(clip.audio, rate))
        means = smoothed(scores, smooth)
        for column, label in enumerate(spec.labels):
            if label in spec.params["background"]:
                continue
            for at in summits(means[:, column], least):
                first = max(0, at - smooth + 1)
                surest = first + int(scores[first : at + 1, column].argmax())
                yield Near(clip, label, float(means[at, column]), (surest + 1) * hop)


def summits(scores: NDArray[np.float32], least: float) -> list[int]:
    """Where each stretch of (decisions,) `scores` from `least` on is highest."""
    above = np.concatenate(([False], scores >= least, [False]))
    edges = np.flatnonzero(above[1:] != above[:-1])
    return [int(a + scores[a:b].argmax()) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def cut(found: Sequence[Near], out: Path, rate: int) -> None:
    """Writes the second before each peak, and a manifest that says whose it is and which keyword was near."""
    clips = (
        (
            _name(near, rate),
            second_before(read_audio(near.clip.audio, rate), near.end, rate),
            {
                "label": UNKNOWN,
                "speaker": near.clip.speaker,
                "near": near.keyword,
                "peak": round(near.peak, 3),
                "from": near.clip.audio.name,
            },
        )
        for near in found
    )
    write_set(out, rate, clips)


def second_before(samples: Samples, end: int, rate: int) -> Samples:
    """The second of (samples,) that ends at sample `end`; zeros where there is nothing."""
    start = end - rate
    piece = samples[max(0, start) : max(0, min(end, len(samples)))]
    before = max(0, -start)
    return np.pad(piece, (before, rate - before - len(piece)))


def _name(near: Near, rate: int) -> str:
    return clip_name(near.keyword, near.clip.audio, near.end / rate)


def _told(folder: Path) -> frozenset[Path]:
    """The recordings of a folder that say what is said."""
    return frozenset(clip.audio for clip, _, row in recordings(folder) if row.get("text") or row.get("label"))
