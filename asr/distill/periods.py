"""What an encoder that compresses can do, and what it costs, over the period of its frames."""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from asr.distill.compare import column
from asr.distill.downstream import (
    RATE,
    Downstream,
    hearable,
    load_downstream,
    load_encoder,
    load_source,
    period,
)
from asr.distill.probes import probe
from training.atomic import replacing
from training.encoder import cif
from training.encoder.network import Encoder
from training.fbank import Fbank
from training.multiplies import multiplies_of
from training.recipe import RecipeError

PERIODS = (20.0, 30.0, 45.0, 60.0, 75.0, 90.0)
_COUNTED = 40
"""Recordings whose frames and multiplies are counted."""


class Asked(NamedTuple):
    """A probe of labels, as "FOLDER:LABEL:PART" of the command line."""

    folder: str
    answer: str
    part: int

    @classmethod
    def read(cls, text: str) -> "Asked":
        """Raises argparse.ArgumentTypeError: another form."""
        match = re.fullmatch(r"([^:]+):([^:]+)(?::([1-9]\d*))?", text)
        if not match or match[2] == "text":
            raise argparse.ArgumentTypeError(f"{text!r} is not FOLDER:LABEL or FOLDER:LABEL:PART")
        return cls(match[1], match[2], int(match[3] or 1))

    @property
    def title(self) -> str:
        """For the table: "speech_commands label, 1/4"."""
        return column(f"{self.folder} {self.answer}", self.part)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("source", type=Path, help="best.pt of a student that compresses")
    parser.add_argument("--periods", type=period, nargs="+", default=PERIODS, help="in ms, 20 to 90")
    parser.add_argument(
        "--probes",
        type=Asked.read,
        nargs="+",
        metavar="FOLDER:LABEL[:PART]",
        default=[Asked("speech_commands", "label", 4), Asked("languages", "language", 1)],
        help="labels to find out, by every PART-th training speaker",
    )
    parser.add_argument("--seeds", type=int, default=3, help="probes to train, with other first weights")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("runs/features"))
    parser.add_argument("--out", type=Path, required=True, help="folder for periods.json and periods.png")


def run(args: argparse.Namespace) -> str:
    """A table in Markdown, also drawn.

    Raises:
        RecipeError: the checkpoint's student does not compress.
    """
    encoder, features = load_encoder(args.source)
    if not encoder.spec.compress or features is None:
        raise RecipeError(f"{args.source} wants to be a student that compresses, on fbank")
    tasks = {
        ask: load_downstream(args.data, ask.folder, ask.answer, args.cache, ask.part) for ask in args.probes
    }
    longest = max(tasks.values(), key=_mean_length)
    rows = []
    for asked in args.periods:
        row: dict[str, Any] = {"asked_ms": asked, "rate": round(cif.rate_of(asked), 4)}
        row["probes"] = {}
        row |= cost(encoder.eval(), Fbank(features), longest, asked)
        for ask, downstream in tasks.items():
            found = probe(load_source(str(args.source), asked), downstream, args.seeds)
            row["probes"][ask.title] = {
                "accuracy": [each["accuracy"] for each in found],
                "interval": np.mean([each["accuracy_interval"] for each in found], 0).round(4).tolist(),
            }
        rows.append(row)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "periods.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    draw(rows, args.out / "periods.png")
    return table(rows)


def cost(encoder: Encoder, fbank: nn.Module, downstream: Downstream, period_ms: float) -> dict[str, float]:
    """Mean period in ms, which may differ from what is asked, and multiplies a second, of test recordings."""
    split = downstream.splits["test"]
    rate = torch.tensor(cif.rate_of(period_ms))
    seconds, frames, multiplies = 0.0, 0, 0

    def heard(wave: Tensor) -> int:
        return int(encoder(fbank(wave), None, rate).lengths)

    for key in split.keys[:: max(1, len(split.keys) // _COUNTED)][:_COUNTED]:
        wave = hearable(torch.from_numpy(split.store[key])[None])  # as probes hear it
        count, some = multiplies_of(partial(heard, wave))
        multiplies += count
        frames += some
        seconds += wave.shape[1] / RATE
    return {"period_ms": round(1000 * seconds / frames, 2), "multiplies": round(multiplies / seconds)}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row a period."""
    names = list(rows[0]["probes"])
    heads = ["period asked", "found", "λ", "multiplies / s", *(f"{name}, %" for name in names)]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---:" for _ in heads) + " |"]
    for row in rows:
        cells = [f"{row['asked_ms']:g} ms", f"{row['period_ms']:.1f} ms", f"{row['rate']:.2f}"]
        cells.append(f"{row['multiplies'] / 1e6:.0f} M")
        for name in names:
            low, high = row["probes"][name]["interval"]
            mean = np.mean(row["probes"][name]["accuracy"])
            cells.append(f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes a PNG: accuracy with its interval, and multiplies, over the period that was found."""
    names = list(rows[0]["probes"])
    mpl.use("Agg")
    figure = Figure(figsize=(4.2 * (len(names) + 1), 3.4), layout="constrained")
    *panels, last = figure.subplots(1, len(names) + 1)
    periods = [row["period_ms"] for row in rows]
    for name, axes in zip(names, panels, strict=True):
        mean = np.array([np.mean(row["probes"][name]["accuracy"]) for row in rows])
        low, high = np.array([row["probes"][name]["interval"] for row in rows]).T
        reach = np.array([mean - low, high - mean]).clip(0)
        axes.errorbar(periods, 100 * mean, 100 * reach, marker="o", capsize=3)
        axes.set(title=name.replace("_", " "), ylabel="accuracy, %")
    last.plot(periods, [row["multiplies"] / 1e6 for row in rows], marker="o")
    last.set(title="cost", ylabel="million multiplies a second")
    last.set_ylim(bottom=0)
    for axes in (*panels, last):
        axes.set_xlabel("mean period of a frame, ms")
        axes.grid(alpha=0.3)
    with replacing(path) as draft:
        figure.savefig(draft, dpi=120)


def _mean_length(downstream: Downstream) -> float:
    store = downstream.splits["test"].store
    return float(np.diff(store.ends).mean())
