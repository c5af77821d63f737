"""Engines that stay out of our environment, each in its own, on the same recordings.

Recordings are decoded once, by us, to 16 kHz; each engine reads the same samples, on one thread.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import stapes
from stapes.machine import describe
from stapes.resample import resample
from stapes.sources import read

RATE: Final = 16_000
DRAWS: Final = 2000
"""Of the bootstrap."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Who, where and with which model."""

    name: str
    """As told on the command line: "whisper", or "whisper:base" where one engine comes twice."""
    python: str
    model: str


@dataclass(frozen=True, slots=True)
class Ran:
    """What an engine said, and how long it took."""

    answers: tuple[dict[str, Any], ...]
    """Of each recording."""
    rtf: float
    """By the clock."""
    rtf_cpu: float
    """Of the processor's time."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of every comparison."""
    parser.add_argument("manifest", type=Path, help="JSON lines; audio is relative to it")
    parser.add_argument("--split", help="of the manifest; default: all")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take each Nth recording")
    parser.add_argument("--ours", metavar="MODEL", help="a model of ours: a bundled name or a file")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=PYTHON", help="engine and its Python"
    )
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME=PATH", help="model of an engine"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and answers")


def engines(args: argparse.Namespace) -> list[Engine]:
    """Those that the command line names, ours first."""
    models = dict(_pair(each) for each in args.model)
    found = [Engine("stapes", sys.executable, args.ours)] if args.ours else []
    return found + [Engine(n, python, models.get(n, "")) for n, python in map(_pair, args.peer)]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        sys.exit(f"wants NAME=VALUE, got {text!r}")
    return name, value


def lines(args: argparse.Namespace, key: str) -> list[dict[str, Any]]:
    """The manifest's lines of the split that have a key, "audio" made a path."""
    # Not splitlines: texts may hold other separators, which JSON does not escape.
    told = args.manifest.read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in told if line.strip()]
    rows = [row for row in rows if isinstance(row.get(key), str) and args.split in (None, row.get("split"))]
    if not rows:
        sys.exit(f"{args.manifest}: no recordings with {key!r} of split {args.split}")
    return [row | {"audio": str(args.manifest.parent / row["audio"])} for row in rows[:: args.every]]


@contextmanager
def decoded(rows: Sequence[dict[str, Any]]) -> Iterator[Path]:
    """A folder of what engines read: int16 of each recording."""
    with TemporaryDirectory() as folder:
        for number, row in enumerate(rows):
            samples, rate = read(row["audio"])
            if rate != RATE:
                samples = resample(samples, rate, RATE)
            np.save(
                Path(folder, f"{number}.npy"), np.round(np.clip(samples, -1, 1) * 32_767).astype(np.int16)
            )
        yield Path(folder)


def run(engine: Engine, folder: Path, answer: str) -> Ran:
    """One engine over all recordings."""
    script = str(Path(__file__).with_name("engines.py"))
    ones = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    env = os.environ | ones
    if engine.name == "stapes":
        env["PYTHONPATH"] = str(Path(stapes.__file__).resolve().parents[1])
    kind = engine.name.partition(":")[0]
    # The folder of this script would hide packages of the same names as files in it.
    done = subprocess.run(
        [engine.python, "-P", script, kind, engine.model, str(folder), answer],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    if done.returncode:
        sys.exit(f"{engine.name} failed: {done.stderr.strip()[-800:]}")
    *said, spent = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    answers = tuple(sorted(said, key=lambda one: int(one["number"])))
    return Ran(answers, spent["wall"] / spent["sound"], spent["cpu"] / spent["sound"])


def interval(count: int, figure: Callable[[NDArray[np.int64]], float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap of a figure over `count` clips, drawn anew with replacement.

    Clips of one speaker hang together, so it is narrower than one of speakers would be.
    """
    rng = np.random.default_rng(seed)
    values = [figure(rng.integers(0, count, count)) for _ in range(DRAWS)]
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def heading(args: argparse.Namespace, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Prints machine and recordings; gives them for the JSON."""
    machine = describe()
    print(f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; one thread each\n")
    named = args.manifest.resolve().parent.name
    print(f"{named}: {len(rows)} recordings, split {args.split or 'any'}, each {args.every}.\n")
    return {"machine": machine, "data": named, "split": args.split, "every": args.every, "clips": len(rows)}


def percent(value: float, limits: tuple[float, float]) -> str:
    """A share with its interval."""
    return f"{100 * value:.1f} ({100 * limits[0]:.1f} to {100 * limits[1]:.1f})"
