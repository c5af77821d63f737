"""A comparison's figures as tables: each network's, and pairs of networks speaker by speaker."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.distill.downstream import draws
from training.comparison import found

Rates = NDArray[np.float64]


class Column(NamedTuple):
    """Of a table."""

    judge: str
    """A key of a run's "judged"."""
    measure: str
    """accuracy, WER or CER."""
    place: int
    """Of the measure's two numbers in a speaker's tallies."""


def table(out: Path, names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> str:
    """Writes table.json; gives Markdown: what was taught, a table for labels, one for each judge of texts.

    A figure is the mean over the seeds of student and judge, in percent; its 95 % interval is of speakers
    drawn anew, the same draws for all, so that pairs of networks are compared speaker by speaker. How much
    other seeds of a student would have differed is not in it.
    """
    rows = found(out, names)
    lines = _row(["network", "parameters", "seeds", "dev cosine"], head=True)
    for name, done in rows.items():
        cosines = [run["dev"]["cosine"] for run in done if "cosine" in run.get("dev", {})]
        size = f"{done[0]['parameters'] / 1e6:.2f} M"
        lines += _row([name, size, str(len(done)), _mean(cosines)])
    for columns in _columns(rows):
        rates = {(name, column): _rates(done, column) for name, done in rows.items() for column in columns}
        shown = [name for name in rows if any(len(rates[name, column]) for column in columns)]
        lines += ["", *_row(["", *(f"{column.judge}: {column.measure} %" for column in columns)], head=True)]
        for name in shown:
            lines += _row([name, *(_cell(rates[name, column]) for column in columns)])
        for first, second in (pair for pair in pairs if set(pair) <= set(shown)):
            both = [(rates[first, column], rates[second, column]) for column in columns]
            cells = [_cell(a - b, "+") if len(a) == len(b) else "" for a, b in both]
            lines += _row([f"{first} less {second}", *cells])
    (out / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return "\n".join(lines)


def _columns(rows: Mapping[str, list[dict[str, Any]]]) -> list[list[Column]]:
    """Of each table."""
    judged = {key: seeds for done in rows.values() for run in done for key, seeds in run["judged"].items()}
    tables: dict[str, list[Column]] = {}
    for key, seeds in judged.items():
        if "wer" in seeds[0]:
            title, _, _ = key.partition(", 1/")
            tables.setdefault(title, []).extend((Column(key, "WER", 0), Column(key, "CER", 2)))
        else:
            tables.setdefault("", []).append(Column(key, "accuracy", 0))
    return list(tables.values())


def _rates(done: Sequence[Mapping[str, Any]], column: Column) -> Rates:
    """The mean rate over seeds: first of all speakers, then of each draw of them; empty without seeds."""
    judged = [figures for run in done for figures in run["judged"].get(column.judge, [])]
    if not judged:
        return np.zeros(0)
    tallies = np.array([figures["tallies"] for figures in judged], np.float64)
    some, of = np.moveaxis(tallies[..., column.place : column.place + 2], -1, 0)  # (seeds, speakers) each
    drawn = draws(some.shape[1])
    whole, anew = some.sum(1) / of.sum(1), some[:, drawn].sum(2) / of[:, drawn].sum(2).clip(1)
    return np.asarray(np.concatenate((whole[:, None], anew), 1).mean(0))


def _cell(rates: Rates, sign: str = "") -> str:
    if not len(rates):
        return ""
    low, high = np.quantile(rates[1:], (0.025, 0.975))
    return f"{100 * rates[0]:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f}" if values else ""


def _row(cells: Sequence[str], *, head: bool = False) -> list[str]:
    line = f"| {' | '.join(cells)} |"
    return [line, f"| --- |{' ---: |' * (len(cells) - 1)}"] if head else [line]
