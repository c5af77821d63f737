"""Thresholds from measurement: false accepts per hour of other speech against missed keywords.

All keywords get the same threshold. One for each, put where it saves most misses, was tried: fitted to ten
extremes of a few hours, it let through ten times as many false accepts in other hours as in its own. Peaks
are not quite events: two keywords may peak together, one may dip and fire again. So the threshold is then
tried in a real stream, and made stricter until its events keep to the allowed rate.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from kws.clips import KEYWORDS, Clip, DataError, read_folder
from kws.det import draw_det
from kws.negatives import negatives
from kws.operating_point import OperatingPoint, observe
from kws.peaks import Peaks, Spoken, Tapped, measure
from stapes import onnxfile
from stapes.model import Model
from stapes.spec import ModelSpec
from training.atomic import replacing

LEAST_THRESHOLD = 0.5
"""So low that a stray posterior fires, none is set."""
MARGIN = 0.005
"""How far above a peak that must not fire a threshold lies."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m kws calibrate`."""
    parser.add_argument("model", type=Path, help="an exported .onnx file")
    parser.add_argument("out", type=Path, help="the same model with its thresholds written in")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    parser.add_argument(
        "--negatives",
        nargs="+",
        default=["librispeech", "coffee_orders", "an4"],
        metavar="FOLDER",
        help="other sound to set thresholds by: what training left over of these folders",
    )
    parser.add_argument("--positives", default="speech_commands", metavar="FOLDER", help="recorded keywords")
    parser.add_argument("--rate", type=float, default=0.5, help="false accepts an hour to allow")
    parser.add_argument(
        "--test-negatives",
        nargs="*",
        default=["coffee_orders", "an4", "noise"],
        metavar="FOLDER",
        help="other sound of test parts, to measure with",
    )
    parser.add_argument("--report", type=Path, help="folder for det.png and calibration.json")


def run(args: argparse.Namespace) -> str:
    """Sets thresholds by dev clips and held-back speech, then measures the test parts; gives JSON.

    Raises:
        DataError: a folder is missing, nothing to measure with is left, or no thresholds keep to the rate.
    """
    model = Tapped.load(args.model)
    trained = _trained_on(model.spec)
    positives = args.data / args.positives
    dev, test = _positives(positives, "dev"), _positives(positives, "test")
    parts = {folder: list(negatives(args.data, [folder], "train", trained)) for folder in args.negatives}
    test_parts = {
        folder: list(negatives(args.data, [folder], "test", trained)) for folder in args.test_negatives
    }
    others, test_others = list(chain(*parts.values())), list(chain(*test_parts.values()))
    if not dev or not others:
        raise DataError("the folders hold no dev keywords, or no other sound that was not trained on")
    peaks = {"calibration": measure(model, dev, others)}
    with replacing(args.out) as draft:
        thresholds, point = settle(
            args.model, draft, peaks["calibration"], args.rate, clips=dev, others=others
        )
        figures: dict[str, Any] = {
            "thresholds": thresholds,
            "calibration": {**point.figures(), "hours_by_folder": _hours(parts)},
        }
        if test and test_others:
            tested = observe(Model.load(draft), test, test_others)
            figures["test"] = {**tested.figures(), "hours_by_folder": _hours(test_parts)}
            peaks["test"] = measure(model, test, test_others)
        spec = onnxfile.read_spec(draft)
        provenance = {**spec.provenance, "calibration": figures}
        onnxfile.stamp(args.model, draft, replace(spec, provenance=provenance))
    report = args.report or args.out.parent
    report.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1)
    (report / "calibration.json").write_text(text + "\n", encoding="utf-8")
    draw_det(peaks, report / "det.png")
    return text


def settle(
    source: Path, out: Path, peaks: Peaks, rate: float, *, clips: Sequence[Clip], others: Sequence[Spoken]
) -> tuple[dict[str, float], OperatingPoint]:
    """Writes `source` to `out` with thresholds whose events keep to `rate`, and gives both.

    Args:
        source: a model file.
        out: the file to write.
        peaks: of `others`, and of keywords to choose by.
        rate: false accepts an hour to allow in `others`.
        clips: keywords whose recall is reported.
        others: other sound, with the keywords said in it.

    Raises:
        DataError: no thresholds do.
    """
    allowed = int(rate * peaks.hours)
    for budget in range(allowed, -1, -1):
        thresholds = allot(peaks, budget)
        if thresholds is None:
            break
        spec = onnxfile.read_spec(source)
        onnxfile.stamp(source, out, replace(spec, params={**spec.params, "thresholds": thresholds}))
        point = observe(Model.load(out), clips, others)
        if point.false.total() <= allowed:
            return thresholds, point
    raise DataError(f"no thresholds keep to {rate} false accepts an hour over these {peaks.hours:.2f} hours")


def allot(peaks: Peaks, budget: int) -> dict[str, float] | None:
    """The lowest threshold, the same for all keywords, that at most `budget` false peaks reach, if any."""
    false = np.sort(np.concatenate(list(peaks.false.values())))[::-1]
    above = float(false[budget]) + MARGIN if budget < len(false) else LEAST_THRESHOLD
    threshold = min(max(round(above, 3), LEAST_THRESHOLD), 1.0)
    return None if (false >= threshold).sum() > budget else dict.fromkeys(peaks.false, threshold)


def _trained_on(spec: ModelSpec) -> Mapping[str, Any]:
    """The "data" table of the recipe in a model's provenance."""
    try:
        table = spec.provenance["recipe"]["data"]
    except (KeyError, TypeError):
        raise DataError(f"{spec.name} does not say what it was trained on (provenance.recipe.data)") from None
    if not isinstance(table, Mapping):
        raise DataError(f"{spec.name}: provenance.recipe.data is no table")
    return table


def _positives(folder: Path, split: str) -> list[Clip]:
    return [clip for clip in read_folder(folder) if clip.split == split and clip.label in KEYWORDS]


def _hours(parts: Mapping[str, Sequence[Spoken]]) -> dict[str, float]:
    return {folder: round(sum(clip.duration for clip, _ in part) / 3600, 3) for folder, part in parts.items()}
