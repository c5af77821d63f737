"""`python -m dialect_id calibrate`: a model's temperature, floor and early threshold, from measurement.

All three are fitted to recordings that the model was not trained on. The temperature makes its posteriors as
sure as they are right. The floor, below which the answer is "unknown", is as high as it can be without
costing more than a few right answers; what it then keeps out of other languages and of noise is reported.
The threshold of early guesses is the lowest at which they are right as often as wanted.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from dialect_id.calibration import Heard, choose_floor, choose_sure, fit_temperature, log_loss
from dialect_id.duration import DURATIONS, steps_after
from dialect_id.figures import draw_reliability
from dialect_id.judged import Judged, gather, judge, last_posteriors, trained_by, truths
from dialect_id.live import observe
from stapes import onnxfile
from stapes.model import Model
from stapes.spec import ModelSpec
from stapes.tasks.detection import UNKNOWN_CLASS, ece, eer
from stapes.tasks.dialect_id import DialectParams
from training.atomic import replacing
from training.command import share
from training.naming import told_name
from training.utterances import ManifestError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m dialect_id calibrate`."""
    parser.add_argument("model", type=Path, help="an exported .onnx file")
    parser.add_argument("out", type=Path, help="the same model with its params written in")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    parser.add_argument(
        "--sets",
        nargs="+",
        default=["languages"],
        metavar="FOLDER[:SPLIT]",
        help="recordings to calibrate with; languages that the model does not know count as unknown",
    )
    parser.add_argument(
        "--unknown",
        nargs="*",
        default=["languages:train", "noise:test"],
        metavar="FOLDER[:SPLIT]",
        help="of these only what the model does not know: languages left out of its training, noise",
    )
    parser.add_argument("--split", default="dev", help="of the folders that name none; not trained on")
    parser.add_argument(
        "--cost", type=share, default=0.01, help="share of right answers that the floor may cost"
    )
    parser.add_argument("--accuracy", type=share, default=0.95, help="share of early guesses to be right")
    parser.add_argument("--report", type=Path, help="folder for calibration.json and reliability.png")


def run(args: argparse.Namespace) -> str:
    """Fits and writes the params; gives the figures as JSON.

    Raises:
        ManifestError: a folder is missing, empty or was trained on; none of the languages is known.
        AudioError: a recording cannot be read.
        ModelFileError, SpecError: a model that cannot be loaded, or is of another task.
    """
    model = Model.load(args.model)
    _refuse_trained(args.sets, args.split, model.spec)
    judged = list(judge(model, gather(args.data, args.sets, args.unknown, args.split, model.spec)))
    params, figures = settle(judged, model.spec, args.cost, args.accuracy)
    spec = replace(model.spec, params=asdict(params))
    figures["live"] = observe(judged, spec)
    with replacing(args.out) as draft:
        provenance = {**spec.provenance, "calibration": figures}
        onnxfile.stamp(args.model, draft, replace(spec, provenance=provenance))
    report = args.report or args.out.parent
    report.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1)
    (report / "calibration.json").write_text(text + "\n", encoding="utf-8")
    known = [each for each in judged if each.truth != UNKNOWN_CLASS]
    answers = {
        name: _answers(known, temperature)
        for name, temperature in (("before", 1.0), (f"temperature {params.temperature}", params.temperature))
    }
    draw_reliability(answers, report / "reliability.png")
    return text


def _refuse_trained(sets: Sequence[str], split: str, spec: ModelSpec) -> None:
    """On what a model was trained on it is surer, and more often right, than on anything else."""
    data = trained_by(spec)
    for name in sets:
        folder, _, other = name.partition(":")
        if (other or split) == "train" and told_name(folder) in (data.main, *data.extra, *data.unlabelled):
            raise ManifestError(f"{spec.name} was trained on the split 'train' of {folder}")


def settle(
    judged: Sequence[Judged], spec: ModelSpec, cost: float, accuracy: float
) -> tuple[DialectParams, dict[str, Any]]:
    """Params for a model, and the figures that speak for them.

    Args:
        judged: recordings of known and of unknown languages.
        spec: of the model; when it may speak and how it revises a guess is kept.
        cost: share of known recordings whose right answer may become "unknown".
        accuracy: wanted share of right ones among early guesses.

    Raises:
        ManifestError: no recording is of a language that the model knows.
    """
    known = [each for each in judged if each.truth != UNKNOWN_CLASS]
    others = [each for each in judged if each.truth == UNKNOWN_CLASS]
    if not known:
        raise ManifestError(
            f"no recording is of a language that {spec.name} knows ({', '.join(spec.labels)})"
        )
    hop_ms = spec.window.hop * spec.features.hop_ms
    # As a language is asked for after more or less speech, the temperature is to suit all durations.
    rows, classes = _at_durations(known, hop_ms)
    temperature = fit_temperature(rows, classes)
    sureness, right = _answers(known, temperature)
    floor = choose_floor(sureness, right, cost)
    old = DialectParams.of(spec)
    heard = [Heard.of(each.scores, each.truth, temperature) for each in known]
    start, stop = (-(-ms // hop_ms) - 1 for ms in (max(1, old.min_speech_ms), max(1, old.decide_ms)))
    early = choose_sure(heard, accuracy, floor, int(start), int(stop))
    params = replace(old, temperature=temperature, floor=floor, sure=early.sure)
    was_sure, was_right = _answers(known, 1.0)
    figures: dict[str, Any] = {
        "params": asdict(params),
        "recordings": len(known),
        "log_loss": {
            "before": round(log_loss(rows, classes, 1.0), 4),
            "after": round(log_loss(rows, classes, temperature), 4),
        },
        "ece": {"before": round(ece(was_sure, was_right), 4), "after": round(ece(sureness, right), 4)},
        "accuracy": round(float((right & (sureness >= floor)).mean()), 4),
        "accuracy_without_floor": round(float(right.mean()), 4),
        "early": {
            "guessed": round(early.guessed / len(known), 4),
            "right_of_these": round(early.share, 4),
        },
        "unknown": {
            folder: _unknown([each for each in others if each.folder == folder], sureness, params)
            for folder in sorted({each.folder for each in others})
        },
    }
    return params, figures


def _answers(known: Sequence[Judged], temperature: float) -> tuple[Any, Any]:
    """Sureness of the likeliest label after all of each recording, and whether it is right."""
    posteriors = last_posteriors(known, temperature)
    return posteriors.max(axis=1), posteriors.argmax(axis=1) == truths(known)


def _at_durations(known: Sequence[Judged], hop_ms: float) -> tuple[Any, Any]:
    """Posteriors after DURATIONS seconds, where recordings are so long, and at their end."""
    rows, classes = [], []
    for each in known:
        steps = {step for s in DURATIONS if 0 < (step := steps_after(s, hop_ms)) < len(each.scores)}
        for step in (*sorted(steps), len(each.scores)):
            rows.append(each.scores[step - 1])
            classes.append(each.truth)
    return np.array(rows), np.array(classes)


def _unknown(others: Sequence[Judged], known_sureness: Any, params: DialectParams) -> dict[str, Any]:
    """How well one data set of other languages, or noise, is told from the known ones."""
    sureness = last_posteriors(others, params.temperature).max(axis=1)
    is_unknown = np.arange(len(sureness) + len(known_sureness)) < len(sureness)
    return {
        "recordings": len(others),
        "eer": round(eer(-np.concatenate((sureness, known_sureness)), is_unknown), 4),
        "rejected": round(float((sureness < params.floor).mean()), 4),
    }
