"""The twelve-class protocol: ten keywords, as much `_silence_` and as much `_unknown_`; and false accepts.

Silence is cut from noise; it and the unknown words are each as many as a keyword has on average (as Kim et
al., Interspeech 2021, rebalance them). Ours: noise at the level it was recorded with, from recordings of
which nothing was trained on, and no second in which nothing can be heard.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest
from tqdm import tqdm

from kws.clips import SILENCE, UNKNOWN, Clip, DataError, keyword_clips, read_folder
from kws.conditions import Samples
from kws.negatives import other_sound, trained_on
from kws.noise import held_noise
from kws.operating_point import observe
from stapes.model import Model
from stapes.scoring import score
from stapes.tasks import kws
from training.audio import read_audio

AUDIBLE = 1e-3
"""Root mean square, of full scale 1, below which a second is too easy a silence (-60 dB)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m kws evaluate`."""
    parser.add_argument("model", help="a model file, or a bundled model's name")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--words", default="speech_commands", metavar="FOLDER", help="recorded words")
    parser.add_argument("--noise", nargs="+", default=["noise"], metavar="FOLDER", help="noise")
    parser.add_argument(
        "--negatives",
        nargs="*",
        default=[],
        metavar="FOLDER",
        help="also count false accepts, by the model's own thresholds, in this speech and the noise",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice of silence and unknown words")
    parser.add_argument("--report", type=Path, help="a JSON file to write the figures to")


def run(args: argparse.Namespace) -> str:
    """Measures; gives tables for people.

    Raises:
        DataError: a folder is missing, there are no keywords, or no noise that was not trained on.
        AudioError: a recording that cannot be read.
    """
    model = Model.load(args.model)
    trained = trained_on(model.spec)
    part: Literal["train", "test"] = "test" if args.split == "test" else "train"
    # A set with no test noise of its own, as the official one: noise reserved from training serves.
    noise = held_noise(args.data, args.noise, part, trained) or held_noise(
        args.data, args.noise, "train", trained
    )
    found = twelve_classes(model, args.data / args.words, args.split, noise, args.seed)
    figures: dict[str, Any] = {"model": model.spec.name, "split": args.split, "seed": args.seed, **found}
    text = tables(figures)
    if args.negatives:
        hours, sounds = other_sound(args.data, args.negatives, args.noise, part, trained)
        point = observe(model, keyword_clips(args.data / args.words, args.split), sounds).figures()
        figures["stream"] = {**point, "hours_by_folder": hours}
        text += "\n\n" + stream_table(point)
    if args.report:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        args.report.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return text


@dataclass(frozen=True, slots=True)
class Cut:
    """A whole clip, or one second of it."""

    clip: Clip
    label: str
    start: int = 0
    """Second at which a silence begins."""

    def read(self, rate: int) -> Samples:
        """(samples,) at `rate` Hz."""
        samples = read_audio(self.clip.audio, rate)
        return samples[self.start * rate : (self.start + 1) * rate] if self.label == SILENCE else samples


def chosen(
    clips: Sequence[Clip], keywords: Sequence[str], noise: Sequence[Clip], rate: int, seed: int
) -> tuple[list[Cut], int]:
    """All clips of keywords, and at random as many unknown words and silences as a keyword has on average.

    Args:
        clips: of words, of one split.
        keywords: the model's.
        noise: to cut seconds from, none twice.
        rate: to read noise at, in Hz.
        seed: of the choice.

    Returns:
        What to judge, and how many of each of the two other classes there should be; there are fewer where
        the data has fewer.

    Raises:
        DataError: no keywords, or no noise.
    """
    words = [Cut(clip, clip.label) for clip in clips if clip.label in keywords]
    others = [Cut(clip, UNKNOWN) for clip in clips if clip.label not in keywords and clip.split != "noise"]
    if not words:
        raise DataError("there are no keywords to judge")
    wanted = round(len(words) / len(keywords))
    rng = np.random.default_rng(seed)
    unknown = [others[i] for i in sorted(rng.permutation(len(others))[:wanted])]
    silence = []
    for clip in noise:
        samples = read_audio(clip.audio, rate)
        seconds = samples[: len(samples) // rate * rate].reshape(-1, rate)
        loud = np.sqrt(np.mean(np.square(seconds, dtype=np.float64), axis=1)) >= AUDIBLE
        silence += [Cut(clip, SILENCE, int(start)) for start in np.flatnonzero(loud)]
    if not silence:
        raise DataError("there is no noise that the model was not trained on, to cut silence from")
    return words + unknown + [silence[i] for i in sorted(rng.permutation(len(silence))[:wanted])], wanted


def twelve_classes(
    model: Model, folder: Path, split: str, noise: Sequence[Clip], seed: int
) -> dict[str, Any]:
    """Figures over whole clips, each judged by itself as `stapes score` does.

    Args:
        model: to judge.
        folder: of recorded words.
        split: of these.
        noise: to cut silence from.
        seed: of the choice of silences and unknown words.

    Raises:
        DataError: as `chosen`.
        AudioError: a recording that cannot be read.
    """
    spec = model.spec
    rate = spec.features.sample_rate
    keywords = [label for label in spec.labels if label not in spec.params["background"]]
    clips = [clip for clip in read_folder(folder) if clip.split == split]
    cuts, wanted = chosen(clips, keywords, noise, rate, seed)
    results = [
        kws.clip(score(model, cut.read(rate), rate), spec) for cut in tqdm(cuts, "clips", mininterval=5)
    ]
    found = kws.metrics(results, [cut.label for cut in cuts], spec)
    confusion: dict[str, dict[str, int]] = found["confusion"]
    by_class = {
        label: rate_of(confusion[label].get(label, 0), sum(confusion[label].values()))
        for label in spec.labels
        if label in confusion
    }
    return {
        **rate_of(sum(row["right"] for row in by_class.values()), len(cuts)),
        "wanted_of_silence_and_unknown": wanted,
        "noise_recordings": len(noise),
        "classes": by_class,
        "confusion": confusion,
    }


def rate_of(right: int, n: int) -> dict[str, Any]:
    """A share with its 95 % interval (Wilson)."""
    interval = binomtest(right, n).proportion_ci(0.95, "wilson")
    return {
        "n": n,
        "right": right,
        "accuracy": round(right / n, 6),
        "interval": [round(float(interval.low), 6), round(float(interval.high), 6)],
    }


def tables(figures: Mapping[str, Any]) -> str:
    """Markdown: accuracy, and the confusion by class."""
    classes, confusion = figures["classes"], figures["confusion"]
    wanted = figures["wanted_of_silence_and_unknown"]
    short = [
        f"{classes.get(label, {'n': 0})['n']} of {label} where {wanted} were wanted"
        for label in (SILENCE, UNKNOWN)
        if classes.get(label, {"n": 0})["n"] < wanted
    ]
    lines = [
        f"{figures['model']}, {figures['split']}, {len(classes)} classes, {figures['n']} clips: "
        f"{_percent(figures)} right; silence from {figures['noise_recordings']} recordings of noise"
        + "".join(f"; only {each}" for each in short),
        "",
        f"| spoken | clips | right (95 %) | {' | '.join(classes)} |",
        f"| --- | ---: | ---: |{' ---: |' * len(classes)}",
    ]
    for label, row in classes.items():
        cells = " | ".join(str(confusion[label].get(guess, "")) for guess in classes)
        lines.append(f"| {label} | {row['n']} | {_percent(row)} | {cells} |")
    return "\n".join(lines)


def stream_table(point: Mapping[str, Any]) -> str:
    """Markdown: false accepts by condition, and the keywords announced."""
    lines = [
        "| other sound | hours | false accepts | an hour | at most (90 % interval) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, row in (*point["conditions"].items(), ("all", point)):
        rates = (row["false_accepts_per_hour"], row["false_accepts_per_hour_at_most"])
        told = " | ".join("–" if rate is None else f"{rate:.2f}" for rate in rates)
        lines.append(f"| {name} | {row['hours']:.2f} | {row['false_accepts']} | {told} |")
    by_word = ", ".join(f"{word} {100 * share:.0f} %" for word, share in point["recall_by_keyword"].items())
    lines += ["", f"Announced: {100 * point['recall']:.1f} % of {point['keywords']} keywords: {by_word}."]
    return "\n".join(lines)


def _percent(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"{100 * row['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
