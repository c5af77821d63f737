"""`python -m dialect_id evaluate`: all figures of an exported model on recordings, by duration, drawn.

The same code judges clips here and in `stapes score`, so the figures agree.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from dialect_id.duration import DURATIONS
from dialect_id.figures import draw_confusion, draw_det, draw_durations, draw_reliability
from dialect_id.intervals import bootstrap, wilson
from dialect_id.judged import Judged, gather, judge
from dialect_id.live import observe
from stapes.model import Model
from stapes.spec import ModelSpec
from stapes.tasks.detection import UNKNOWN_CLASS, det
from stapes.tasks.dialect_id import UNKNOWN, clip, figures_of, metrics
from training.variants import Codec

_DRAWN = {"accuracy": "accuracy", "eer": "EER", "cavg": "Cavg × 100"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m dialect_id evaluate`."""
    parser.add_argument("model", help="an exported .onnx file, or a bundled name")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    parser.add_argument(
        "--sets",
        nargs="+",
        default=["languages"],
        metavar="FOLDER[:SPLIT]",
        help="recordings to judge; languages that the model does not know count as unknown",
    )
    parser.add_argument(
        "--unknown",
        nargs="*",
        default=[],
        metavar="FOLDER[:SPLIT]",
        help="of these only what the model does not know: other languages, noise",
    )
    parser.add_argument("--split", default="test", help="of the folders that name none")
    parser.add_argument("--out", type=Path, required=True, help="folder for evaluation.json and the drawings")
    parser.add_argument(
        "--codecs",
        nargs="*",
        choices=get_args(Codec),
        default=[],
        help="judge whole recordings through these too; narrow is the band of a telephone alone",
    )
    parser.add_argument("--draws", type=int, default=200, help="of the bootstrap; 0: no intervals by it")


def run(args: argparse.Namespace) -> str:
    """Judges all recordings, whole and cut, and writes and draws the figures; gives them as JSON.

    Raises:
        ManifestError: a folder is missing or empty.
        AudioError: a recording cannot be read.
        ModelFileError, SpecError: a model that cannot be loaded, or is of another task.
    """
    model = Model.load(args.model)
    spec = model.spec
    recordings = gather(args.data, args.sets, args.unknown, args.split, spec)
    parts = {"all": list(judge(model, recordings))}
    for seconds in DURATIONS:
        cut = list(judge(model, recordings, seconds))
        if cut:
            parts[f"{seconds:g}"] = cut
    figures: dict[str, Any] = {
        "model": spec.name,
        "sets": args.sets,
        "unknown": args.unknown,
        "split": args.split,
    }
    figures |= measure(parts["all"], spec, args.draws)
    figures["by_seconds"] = {
        name: {key: value for key, value in measure(part, spec, args.draws).items() if key != "confusion"}
        for name, part in parts.items()
        if name != "all"
    }
    if args.codecs:
        figures["by_codec"] = {
            codec: beside(parts["all"], list(judge(model, recordings, codec=codec)), spec)
            for codec in args.codecs
        }
    figures["live"] = observe(parts["all"], spec)
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1)
    (args.out / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    _draw(parts, figures, spec, args.out)
    return text


def measure(judged: Sequence[Judged], spec: ModelSpec, draws: int = 0) -> dict[str, Any]:
    """The task's metrics, and their 95 % intervals.

    "interval" has those by resampling speakers or sources, and "accuracy_wilson" one that takes recordings
    to be independent.
    """
    results, answers = _results(judged, spec)
    found = metrics(results, answers, spec)
    right = sum(result["label"] == answer for result, answer in zip(results, answers, strict=True))
    found["accuracy_wilson"] = [round(x, 4) for x in wilson(right, len(results))]
    if draws:
        scores, classes, said = _arrays(judged, results, spec)

        def drawn(numbers: Any) -> Mapping[str, float | None]:
            exact = {"accuracy": float((said[numbers] == classes[numbers]).mean())}
            return exact | figures_of(scores[numbers], classes[numbers])

        intervals = bootstrap([each.group for each in judged], drawn, draws)
        found["interval"] = {name: [round(x, 4) for x in ends] for name, ends in intervals.items()}
    return found


def beside(whole: Sequence[Judged], changed: Sequence[Judged], spec: ModelSpec) -> dict[str, float]:
    """Of recordings that were changed: the share told right, and of answers that stayed the same."""
    (before, answers), (after, _) = _results(whole, spec), _results(changed, spec)
    return {
        "accuracy": round(float(np.mean([r["label"] == a for r, a in zip(after, answers, strict=True)])), 4),
        "same": round(
            float(np.mean([a["label"] == b["label"] for a, b in zip(before, after, strict=True)])), 4
        ),
    }


def _results(judged: Sequence[Judged], spec: ModelSpec) -> tuple[list[dict[str, Any]], list[str]]:
    """What `stapes score` would say of each, and its right label."""
    answers = [UNKNOWN if each.truth == UNKNOWN_CLASS else spec.labels[each.truth] for each in judged]
    return [clip(each.scores, spec) for each in judged], answers


def _arrays(
    judged: Sequence[Judged], results: Sequence[Mapping[str, Any]], spec: ModelSpec
) -> tuple[Any, Any, Any]:
    """Scores (recordings, labels), true classes and found ones (recordings,)."""
    numbers = {label: number for number, label in enumerate(spec.labels)} | {UNKNOWN: UNKNOWN_CLASS}
    scores = np.array([[result["scores"][label] for label in spec.labels] for result in results])
    classes = np.array([each.truth for each in judged], np.int64)
    return scores, classes, np.array([numbers[result["label"]] for result in results], np.int64)


def _draw(
    parts: Mapping[str, Sequence[Judged]], figures: Mapping[str, Any], spec: ModelSpec, out: Path
) -> None:
    draw_confusion(figures["confusion"], out / "confusion.png")
    curves, answers = {}, {}
    for name, judged in parts.items():
        title = "all" if name == "all" else f"{name} s"
        scores, classes, _ = _arrays(judged, _results(judged, spec)[0], spec)
        told = classes != UNKNOWN_CLASS
        present = np.unique(classes[told])
        targets = classes[:, None] == present
        if targets.any() and not targets.all():
            curves[title] = det(scores[:, present], targets)
        if told.any():
            best = scores[told].argmax(axis=1)
            answers[title] = (scores[told].max(axis=1), best == classes[told])
        if name == "all" and told.any() and not told.all():
            curves["known or unknown"] = det(-scores.max(axis=1), ~told)
    draw_det(curves, out / "det.png")
    draw_reliability(answers, out / "reliability.png")
    points = partial(_points, figures["by_seconds"])
    drawn = {title: points(name) for name, title in _DRAWN.items() if points(name)}
    draw_durations(drawn, out / "durations.png")


def _points(by_seconds: Mapping[str, Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    """(seconds, percent) of one figure."""
    found = [(float(seconds), part[name]) for seconds, part in by_seconds.items()]
    return [(seconds, 100 * value) for seconds, value in found if value is not None]
