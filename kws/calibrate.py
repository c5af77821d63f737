"""Thresholds from measurement: false accepts per hour of other speech against missed keywords.

One threshold a keyword. A false accept costs the same whichever keyword it names, so the allowed number of
them is shared among the keywords where it saves most misses (dynamic programming over peaks). Peaks are not
quite events: two keywords may peak together, one may dip and fire again. So the thresholds are then tried in
a real stream, and made stricter until its events keep to the allowed rate.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    # The dev part has two clips each of `on` and `off`. Training clips stand in when thresholds are chosen,
    # which flatters the two; the recall that is reported is without them.
    rare = [clip for clip in _positives(positives, "train") if clip.label in ("on", "off")]
    peaks = {"calibration": measure(model, dev + rare, others)}
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
    """Thresholds that miss fewest keywords while at most `budget` false peaks reach them; None if none do."""
    best: dict[int, tuple[int, dict[str, float]]] = {0: (0, {})}
    for label, false in peaks.false.items():
        merged: dict[int, tuple[int, dict[str, float]]] = {}
        for threshold in _candidates(false[: budget + 1]):
            cost = int((false >= threshold).sum())
            missed = int((peaks.true[label] < threshold).sum())
            for used, (misses, chosen) in best.items():
                total = used + cost
                if total <= budget and (total not in merged or misses + missed < merged[total][0]):
                    merged[total] = (misses + missed, chosen | {label: threshold})
        best = merged
    # Of equals the one with fewest false accepts.
    return min(best.items(), key=lambda item: (item[1][0], item[0]))[1][1] if best else None


def _candidates(false: NDArray[np.float32]) -> list[float]:
    """Thresholds just above each of these false peaks, and the least."""
    above = {min(max(round(float(peak) + MARGIN, 3), LEAST_THRESHOLD), 1.0) for peak in false}
    return sorted(above | {LEAST_THRESHOLD}, reverse=True)


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
