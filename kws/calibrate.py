"""Thresholds from measurement: false accepts per hour of other speech against missed keywords.

All keywords get the same threshold. One for each, put where it saves most misses, was tried: fitted to ten
extremes of a few hours, it let through ten times as many false accepts in other hours as in its own. The
mean of more decisions is a safer sign and a later one: of the numbers that are given the one is taken with
which most keywords are found. Peaks are not quite events: two keywords may peak together, one may dip and
fire again. So the threshold is then tried in a real stream, and made stricter until its events keep to the
allowed rate.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kws.clips import Clip, DataError, keyword_clips
from kws.conditions import Sound
from kws.det import draw_det
from kws.negatives import other_sound, trained_on
from kws.operating_point import OperatingPoint, observe
from kws.peaks import Peaks, Tapped, measure, pooled
from stapes import onnxfile
from stapes.model import Model
from training.atomic import replacing
from training.command import count

LEAST_THRESHOLD = 0.5
"""So low that a stray posterior fires, none is set."""
MARGIN = 0.001
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
        help="other speech to set thresholds by: what training left over of these folders",
    )
    parser.add_argument("--positives", default="speech_commands", metavar="FOLDER", help="recorded keywords")
    parser.add_argument("--rate", type=float, default=0.5, help="false accepts an hour to allow")
    parser.add_argument(
        "--smooth-hops",
        type=count,
        nargs="+",
        metavar="N",
        help="decisions that a mean is taken of, 100 ms each; of several the best; default: the model's own",
    )
    parser.add_argument(
        "--test-negatives",
        nargs="*",
        default=["coffee_orders", "an4"],
        metavar="FOLDER",
        help="other speech of test parts, to measure with",
    )
    parser.add_argument(
        "--noise",
        nargs="*",
        default=["noise"],
        metavar="FOLDER",
        help="noise, of which what was not trained on is heard alone and amid speech",
    )
    parser.add_argument("--report", type=Path, help="folder for det.png and calibration.json")


def run(args: argparse.Namespace) -> str:
    """Sets thresholds by dev clips and held-back speech, then measures the test parts; gives JSON.

    Raises:
        DataError: a folder is missing, nothing to measure with is left, or no thresholds keep to the rate.
    """
    model = Tapped.load(args.model)
    trained = trained_on(model.spec)
    dev, test = (keyword_clips(args.data / args.positives, split) for split in ("dev", "test"))
    parts, others = other_sound(args.data, args.negatives, args.noise, "train", trained)
    test_parts, test_others = other_sound(args.data, args.test_negatives, args.noise, "test", trained)
    if not dev or not others:
        raise DataError("the folders hold no dev keywords, or no other sound that was not trained on")
    tried = measure(model, dev, others, args.smooth_hops or [int(model.spec.params["smooth_hops"])])
    together = {hops: pooled(list(parts.values())) for hops, parts in tried.items()}
    found = {hops: share_found(peaks, args.rate) for hops, peaks in together.items()}
    hops = max(sorted(found), key=lambda hops: found[hops])
    curves = {f"calibration, {condition}": part for condition, part in tried[hops].items()}
    with replacing(args.out) as draft:
        thresholds, point = settle(
            args.model, draft, together[hops], args.rate, hops=hops, clips=dev, others=others
        )
        figures: dict[str, Any] = {
            "thresholds": thresholds,
            "smooth_hops": {"taken": hops, "found_by_hops": {n: round(x, 4) for n, x in found.items()}},
            "calibration": {**point.figures(), "hours_by_folder": parts},
        }
        if test and test_others:
            tested = observe(Model.load(draft), test, test_others)
            figures["test"] = {**tested.figures(), "hours_by_folder": test_parts}
            measured = measure(model, test, test_others, [hops])[hops]
            curves |= {f"test, {condition}": part for condition, part in measured.items()}
        spec = onnxfile.read_spec(draft)
        provenance = {**spec.provenance, "calibration": figures}
        onnxfile.stamp(args.model, draft, replace(spec, provenance=provenance))
    report = args.report or args.out.parent
    report.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1)
    (report / "calibration.json").write_text(text + "\n", encoding="utf-8")
    draw_det(curves, report / "det.png")
    return text


def share_found(peaks: Peaks, rate: float) -> float:
    """Of keyword clips the share whose peak reaches the threshold that `rate` false accepts an hour allow."""
    thresholds = allot(peaks, int(rate * peaks.hours))
    if thresholds is None:
        return 0.0
    reached = [values >= thresholds[label] for label, values in peaks.true.items()]
    return float(np.concatenate(reached).mean())


def settle(
    source: Path,
    out: Path,
    peaks: Peaks,
    rate: float,
    *,
    hops: int,
    clips: Sequence[Clip],
    others: Sequence[Sound],
) -> tuple[dict[str, float], OperatingPoint]:
    """Writes `source` to `out` with thresholds whose events keep to `rate`, and gives both.

    Args:
        source: a model file.
        out: the file to write.
        peaks: of `others`, and of keywords to choose by.
        rate: false accepts an hour to allow in `others`.
        hops: decisions that the mean is taken of.
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
        params = {**spec.params, "thresholds": thresholds, "smooth_hops": hops}
        onnxfile.stamp(source, out, replace(spec, params=params))
        point = observe(Model.load(out), clips, others)
        if point.together().false.total() <= allowed:
            return thresholds, point
    raise DataError(f"no thresholds keep to {rate} false accepts an hour over these {peaks.hours:.2f} hours")


def allot(peaks: Peaks, budget: int) -> dict[str, float] | None:
    """The lowest threshold, the same for all keywords, that at most `budget` false peaks reach, if any."""
    false = np.sort(np.concatenate(list(peaks.false.values())))[::-1]
    above = float(false[budget]) + MARGIN if budget < len(false) else LEAST_THRESHOLD
    threshold = min(max(round(above, 3), LEAST_THRESHOLD), 1.0)
    return None if (false >= threshold).sum() > budget else dict.fromkeys(peaks.false, threshold)
