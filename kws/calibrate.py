"""Thresholds from measurement: false accepts per hour of other speech against missed keywords.

One threshold a keyword. A false accept costs the same whichever keyword it names, so the allowed number of
them is shared among the keywords where it saves most misses (dynamic programming over peaks).
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kws.clips import KEYWORDS, SILENCE, UNKNOWN, Clip, read_folder
from kws.det import draw_det
from kws.negatives import negatives
from stapes import onnxfile
from stapes.fbank import fbank
from stapes.model import Model
from training.atomic import replacing
from training.audio import read_audio

PAUSE_SECONDS = 1.5
"""Silence around each keyword when recall is measured in a stream."""
LOWEST = 0.3
"""Peaks below this are not looked at: no threshold will be set there."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Highest smoothed posteriors of each keyword: one per stretch above `LOWEST`, or per keyword clip."""

    false: dict[str, NDArray[np.float32]]
    """Peaks in speech and noise that does not hold the keyword."""
    hours: float
    """Hours of that."""
    true: dict[str, NDArray[np.float32]]
    """For each clip of the keyword its highest posterior; 0 if another keyword would fire first."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m kws calibrate`."""
    parser.add_argument("model", type=Path, help="an exported .onnx file")
    parser.add_argument("out", type=Path, help="the same model with its thresholds written in")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--negatives", nargs="+", default=["librispeech", "coffee_orders", "noise"])
    parser.add_argument("--positives", default="speech_commands")
    parser.add_argument("--rate", type=float, default=0.5, help="false accepts an hour to allow")
    parser.add_argument("--test-negatives", nargs="*", default=["coffee_orders", "an4", "noise"])
    parser.add_argument("--report", type=Path, help="folder for det.png and calibration.json")


def run(args: argparse.Namespace) -> str:
    """Sets thresholds by dev clips and held-back speech, then measures the test parts; gives JSON."""
    model = Model.load(args.model)
    dev = _positives(args.data / args.positives, "dev")
    # The dev part has two clips each of `on` and `off`. Training clips stand in, which flatters the two.
    rare = [clip for clip in _positives(args.data / args.positives, "train") if clip.label in ("on", "off")]
    peaks = measure(model, dev + rare, list(negatives(args.data, args.negatives, "train")))
    thresholds = allot(peaks, args.rate)
    params = dict(model.spec.params) | {"thresholds": thresholds}
    tuned = replace(model.spec, params=params)
    test = measure(
        model,
        _positives(args.data / args.positives, "test"),
        list(negatives(args.data, args.test_negatives, "test")),
    )
    figures = {
        "thresholds": thresholds,
        "calibration": operating_point(peaks, thresholds),
        "test": operating_point(test, thresholds),
    }
    calibrated = replace(tuned, provenance=dict(tuned.provenance) | {"calibration": figures})
    with replacing(args.out) as draft:
        onnxfile.stamp(args.model, draft, calibrated)
    report = args.report or args.out.parent
    report.mkdir(parents=True, exist_ok=True)
    (report / "calibration.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    draw_det({"calibration": peaks, "test": test}, report / "det.png")
    return json.dumps(figures, indent=1)


def _positives(folder: Path, split: str) -> list[Clip]:
    return [clip for clip in read_folder(folder) if clip.split == split and clip.label in KEYWORDS]


def hop_scores(model: Model, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(hops, labels) posteriors of a stream of `samples`, as `Stream` computes them."""
    spec = model.spec
    frames = fbank(samples, spec.features)
    hop = spec.window.hop
    model.reset()
    if spec.window.mode == "stateful":
        chunks: Iterator[NDArray[np.float32]] = (
            frames[i : i + hop] for i in range(0, len(frames) - hop + 1, hop)
        )
    else:
        width = spec.window.frames
        chunks = (frames[i : i + width] for i in range(0, len(frames) - width + 1, hop))
    scores = [model(chunk) for chunk in chunks]
    return np.concatenate(scores) if scores else np.zeros((0, len(spec.labels)), np.float32)


def smoothed(scores: NDArray[np.float32], hops: int) -> NDArray[np.float32]:
    """Mean of the last `hops` decisions, as the decoder takes it: before the first there were zeros."""
    if not len(scores):
        return scores
    padded = np.pad(scores, ((hops - 1, 0), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, hops, axis=0)
    return np.asarray(windows.mean(axis=2, dtype=np.float64), np.float32)


def measure(model: Model, clips: Sequence[Clip], others: Sequence[tuple[Clip, frozenset[str]]]) -> Peaks:
    """Peaks of `clips` of keywords, and of other audio with the keywords that its text holds."""
    spec = model.spec
    labels, rate = spec.labels, spec.features.sample_rate
    smooth = int(spec.params["smooth_hops"])
    keywords = [label for label in labels if label not in (SILENCE, UNKNOWN)]
    false: dict[str, list[float]] = {label: [] for label in keywords}
    true: dict[str, list[float]] = {label: [] for label in keywords}
    hours = 0.0
    pause = np.zeros(round(PAUSE_SECONDS * rate), np.float32)
    for clip, said in tqdm(others, desc="other speech and noise", mininterval=5):
        samples = read_audio(clip.audio, rate)
        hours += len(samples) / rate / 3600
        scores = smoothed(hop_scores(model, np.concatenate((samples, pause))), smooth)
        for label in keywords:
            if label not in said:
                false[label] += stretches(scores[:, labels.index(label)])
    for clip in tqdm(clips, desc="keywords", mininterval=5):
        samples = np.concatenate((pause, read_audio(clip.audio, rate), pause))
        scores = smoothed(hop_scores(model, samples), smooth)
        column = scores[:, [labels.index(label) for label in keywords]]
        best = column.max(axis=0)
        winner = keywords[int(best.argmax())]
        true[clip.label].append(float(best.max()) if winner == clip.label else 0.0)
    return Peaks(
        {label: np.sort(np.array(peaks, np.float32))[::-1] for label, peaks in false.items()},
        hours,
        {label: np.array(peaks, np.float32) for label, peaks in true.items()},
    )


def stretches(scores: NDArray[np.float32]) -> list[float]:
    """The highest value of each stretch of (hops,) `scores` above LOWEST."""
    above = np.concatenate(([False], scores >= LOWEST, [False]))
    edges = np.flatnonzero(above[1:] != above[:-1])
    return [float(scores[a:b].max()) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def allot(peaks: Peaks, rate: float) -> dict[str, float]:
    """Thresholds that miss fewest keywords with at most `rate` false accepts an hour on these peaks."""
    budget = int(rate * peaks.hours)
    best: dict[int, tuple[int, dict[str, float]]] = {0: (0, {})}
    for label, false in peaks.false.items():
        options = []
        for spent in range(min(budget, len(false)) + 1):
            # Just above the first peak that is not paid for; never so low that a stray posterior fires.
            first = float(false[spent]) if spent < len(false) else LOWEST
            threshold = min(max(round(first + 0.005, 3), 0.5), 0.999)
            options.append((spent, threshold, int((peaks.true[label] < threshold).sum())))
        merged: dict[int, tuple[int, dict[str, float]]] = {}
        for used, (misses, chosen) in best.items():
            for spent, threshold, missed in options:
                total = used + spent
                if total <= budget and (total not in merged or misses + missed < merged[total][0]):
                    merged[total] = (misses + missed, chosen | {label: threshold})
        best = merged
    return min(best.values(), key=lambda pair: pair[0])[1]


def operating_point(peaks: Peaks, thresholds: dict[str, float]) -> dict[str, object]:
    """False accepts per hour and recall at `thresholds`."""
    false = {label: int((peaks.false[label] >= t).sum()) for label, t in thresholds.items()}
    recall = {
        label: round(float((peaks.true[label] >= t).mean()), 4)
        for label, t in thresholds.items()
        if len(peaks.true[label])
    }
    hits = sum(int((peaks.true[label] >= t).sum()) for label, t in thresholds.items())
    return {
        "hours": round(peaks.hours, 3),
        "false_accepts": sum(false.values()),
        "false_accepts_per_hour": round(sum(false.values()) / peaks.hours, 3),
        "false_by_keyword": false,
        "keywords": sum(map(len, peaks.true.values())),
        "recall": round(hits / max(1, sum(map(len, peaks.true.values()))), 4),
        "recall_by_keyword": recall,
    }
