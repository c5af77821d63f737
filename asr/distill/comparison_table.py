"""A comparison's figures as tables: each network's, and pairs of networks speaker by speaker."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.distill.downstream import draws
from training.comparison import found

Rates = NDArray[np.float64]


def table(out: Path, names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> str:
    """Writes table.json; gives Markdown: accuracies and word error rates in percent with their intervals.

    A figure is the mean over the seeds of student and judge; its 95 % interval is of speakers drawn anew, the
    same draws for all. How much other seeds of a student would have differed is not in it.
    """
    rows = found(out, names)
    columns = list(dict.fromkeys(name for done in rows.values() for run in done for name in run["judged"]))
    judged = {
        (name, column): [figures for run in done for figures in run["judged"].get(column, [])]
        for name, done in rows.items()
        for column in columns
    }
    rates = {key: _rates(figures) for key, figures in judged.items()}
    texts = {column for name, column in judged if judged[name, column] and "wer" in judged[name, column][0]}
    titles = [f"{column}: {'WER' if column in texts else 'accuracy'} %" for column in columns]
    lines = _head(["network", "parameters", "seeds", "dev cosine", "minutes", *titles])
    for name, done in rows.items():
        about = [
            name,
            f"{done[0]['parameters'] / 1e6:.2f} M",
            str(len(done)),
            _mean([run["dev"].get("cosine") for run in done if "dev" in run], 3),
            _mean([run.get("minutes") for run in done], 1),
        ]
        lines.append(_row([*about, *(_cell(rates[name, column]) for column in columns)]))
    compared = [pair for pair in pairs if set(pair) <= rows.keys()]
    if compared:
        lines += ["", "Differences in points, over the same draws of speakers:", "", *_head(["", *titles])]
    for first, second in compared:
        both = [(rates[first, column], rates[second, column]) for column in columns]
        cells = [_cell(a - b, "+") if len(a) == len(b) else "" for a, b in both]
        lines.append(_row([f"{first} − {second}", *cells]))
    (out / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return "\n".join(lines)


def _rates(judged: Sequence[Mapping[str, Any]]) -> Rates:
    """The mean rate over seeds: first of all speakers, then of each draw of them; empty without seeds."""
    if not judged:
        return np.zeros(0)
    tallies = np.array([figures["tallies"] for figures in judged], np.float64)[..., :2]
    drawn = draws(tallies.shape[1])
    sums = np.concatenate((tallies.sum(1)[:, None], tallies[:, drawn].sum(2)), 1)
    return np.asarray((sums[..., 0] / sums[..., 1].clip(1)).mean(0))


def _cell(rates: Rates, sign: str = "") -> str:
    if not len(rates):
        return ""
    low, high = np.quantile(rates[1:], (0.025, 0.975))
    return f"{100 * rates[0]:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.{digits}f}" if known else ""


def _head(titles: Sequence[str]) -> list[str]:
    return [_row(titles), _row(["---", *(["---:"] * (len(titles) - 1))])]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
