"""Spelled names, numbers and addresses: a recogniser's character errors against what speakers were shown.

    python benchmarks/alphanumeric.py ../shared/data/alphanumeric [--model asr] [--json]

The manifest's "prompt" is no transcript: "43126798" may be said "four three one two …", a name may be said,
spelled, or both. So both sides are brought to one form, in which digits and letters count and how they are
said does not: number words become digits ("oh" is 0, "double five" is 55), spaces and punctuation go. Words
for tens and hundreds become their digits alone, 45 for "forty five". Error rates are per kind, of all clips
together, with a 95 % interval over clips (bootstrap, 1000 draws).
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from stapes.machine import describe
from stapes.model import Model
from stapes.scoring import judge
from stapes.sources import read
from stapes.tasks.edits import distance, normalise

ONES = {
    word: str(digit)
    for digit, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    )
}
TEENS = {
    word: str(10 + number)
    for number, word in enumerate(
        [
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
TENS = {
    word: str(2 + number)
    for number, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    )
}
TIMES = {"double": 2, "triple": 3}


def one_form(text: str) -> str:
    """Letters and digits of a text, however its numbers were said."""
    words = normalise(text).split()
    out: list[str] = []
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if word in TIMES and (following in ONES or len(following) == 1):
            out.append(_digits(following) * (TIMES[word] - 1))
        elif word in TENS:
            out.append(TENS[word] if following in ONES and following != "zero" else TENS[word] + "0")
        elif word not in ("hundred", "and", "thousand"):
            out.append(_digits(word))
    return "".join(out)


def _digits(word: str) -> str:
    return {**ONES, **TEENS, "oh": "0"}.get(word, word)


def interval(errors: list[int], counts: list[int], draws: int = 1000) -> tuple[float, float]:
    """95 % interval of errors/counts over clips."""
    rng = np.random.default_rng(0)
    picks = rng.integers(len(errors), size=(draws, len(errors)))
    rates = np.array(errors)[picks].sum(1) / np.array(counts)[picks].sum(1)
    return float(np.quantile(rates, 0.025)), float(np.quantile(rates, 0.975))


def main() -> None:
    """Judges every clip of the manifest and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help='with a manifest.jsonl of "audio", "kind" and "prompt"')
    parser.add_argument("--model", default="asr", help="a bundled name or a path")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model = Model.load(args.model)
    told = (args.folder / "manifest.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in told if line.strip()]
    errors: dict[str, list[int]] = {}
    counts: dict[str, list[int]] = {}
    audio = spent = 0.0
    for row in rows:
        samples, rate = read(args.folder / row["audio"])
        start = time.perf_counter()
        text = str(judge(model, samples, rate)["text"])
        spent += time.perf_counter() - start
        audio += len(samples) / rate
        wanted = one_form(row["prompt"])
        errors.setdefault(row["kind"], []).append(distance(wanted, one_form(text)))
        counts.setdefault(row["kind"], []).append(len(wanted))
    table: dict[str, Any] = {}
    for kind, mine in errors.items():
        low, high = interval(mine, counts[kind])
        table[kind] = {"n": len(mine), "cer": sum(mine) / sum(counts[kind]), "low": low, "high": high}
    if args.json:
        print(json.dumps({"machine": describe(), "rtf": spent / audio, "kinds": table}))
        return
    print(describe())
    for kind, row in table.items():
        cer, low, high = (100 * row[key] for key in ("cer", "low", "high"))
        print(f"{kind:8} {cer:5.1f} % ({low:.1f} to {high:.1f}) of {row['n']}")
    print(f"RTF {spent / audio:.4f}")


if __name__ == "__main__":
    main()
