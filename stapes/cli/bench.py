"""`stapes bench`: speed, memory and size on this machine, which is named first."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

import stapes
from stapes.cli import coldstart
from stapes.cli.output import Commands, print_json
from stapes.machine import describe
from stapes.samples import Samples

RATE: Final = 16_000
BLOCK: Final = RATE // 10
"""100 ms, how a program with a microphone typically feeds."""
LONGEST: Final = 36_000
"""Seconds; the audio is held in memory."""
STARTS: Final = 5
"""New processes of each kind; the fastest counts, since everything else only slows one down."""


def add_to(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser("bench", help="measure speed, memory and size on this machine")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="bundled names or paths; default: kws")
    parser.add_argument("--seconds", type=float, default=60.0, help="of audio (default: 60)")
    parser.add_argument(
        "--file", type=Path, metavar="WAV", help="audio; default: bursts of noise with pauses"
    )
    parser.add_argument("--json", action="store_true", help="one JSON line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    models = args.models or ["kws"]
    if not 0.1 <= args.seconds <= LONGEST:
        raise ValueError(f"--seconds must be 0.1 to {LONGEST}, got {args.seconds}")
    result: dict[str, Any] = {"machine": describe()}
    samples = _audio(args.file, args.seconds)
    result["audio"] = {
        "seconds": len(samples) / RATE,
        "from": str(args.file or "bursts of noise with pauses"),
    }
    result["models"] = _sizes(models)
    result |= _speed(models, samples)
    result["peak_rss_mb"] = _megabytes(coldstart.peak_rss_bytes())
    result["cold_start"] = _cold_start(models)
    if args.json:
        print_json(result)
    else:
        _show(result)
    return 0


def bursts(seconds: float) -> Samples:
    """Sound with the rhythm of speech, the same each time: bursts of syllables, then a quiet pause.

    About half is pause, as in talk. (samples,) at 16 kHz.
    """
    generator = np.random.default_rng(0)
    total = round(seconds * RATE)
    samples = generator.standard_normal(total).astype(np.float32) * np.float32(3e-4)
    at = RATE // 2
    while at < total:
        length = int(generator.uniform(0.4, 2.0) * RATE)
        t = np.arange(length) / RATE
        pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * t)) / RATE
        voice = sum(np.sin(k * pitch) / k for k in range(1, 21)) + 0.3 * generator.standard_normal(length)
        burst = (0.06 * voice * np.sin(np.pi * 4 * t) ** 2).astype(np.float32)
        samples[at : at + length] += burst[: total - at]
        at += length + int(generator.uniform(0.3, 2.0) * RATE)
    return samples


def _audio(file: Path | None, seconds: float) -> Samples:
    if file is None:
        return bursts(seconds)
    samples = stapes.resample.resample(*stapes.sources.read(file), RATE)
    if not samples.size:
        raise ValueError(f"{file} holds no sound")
    return np.resize(samples, round(seconds * RATE))


def _sizes(models: list[str]) -> list[dict[str, Any]]:
    loaded = [stapes.Model.load(name) for name in models]
    return [{"name": m.spec.name, "task": m.spec.task, "bytes": m.path.stat().st_size} for m in loaded]


def _speed(models: list[str], samples: Samples) -> dict[str, Any]:
    """Time to compute over the time of the audio, by the wall's clock and by this thread's own.

    Other programs on the machine disturb the second less.
    """
    stream = stapes.load(*models)
    stream.feed(samples[: 2 * RATE])  # the first calls allocate
    stream.reset()
    spent = []
    events = 0
    busy = time.thread_time()
    for at in range(0, len(samples), BLOCK):
        block = samples[at : at + BLOCK]
        start = time.perf_counter_ns()
        events += len(stream.feed(block))
        spent.append(time.perf_counter_ns() - start)
    start = time.perf_counter_ns()
    events += len(stream.close())
    total = sum(spent) + time.perf_counter_ns() - start
    busy = time.thread_time() - busy
    p50, p95, p99 = (round(float(np.percentile(spent, q)) / 1e6, 4) for q in (50, 95, 99))
    return {
        "rtf": round(total / 1e9 / (len(samples) / RATE), 6),
        "rtf_cpu": round(busy / (len(samples) / RATE), 6),
        "block_ms": {"audio": 100, "p50": p50, "p95": p95, "p99": p99, "max": round(max(spent) / 1e6, 4)},
        "events": events,
    }


def _cold_start(models: list[str]) -> dict[str, Any]:
    """New processes, in turn, so that a slow spell of the machine meets both kinds."""
    floor: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []
    for _ in range(STARTS):
        floor.append(_start([]))
        ours.append(_start(models))
    best_floor = min(run["seconds"] for run in floor)
    best = min(run["seconds"] for run in ours)
    return {
        "seconds": round(best, 4),
        "numpy_onnxruntime_seconds": round(best_floor, 4),
        "ratio": round(best / best_floor, 3),
        "rss_mb": _megabytes(ours[-1]["peak_rss_bytes"]),
        "numpy_onnxruntime_rss_mb": _megabytes(floor[-1]["peak_rss_bytes"]),
    }


def _start(models: list[str]) -> dict[str, Any]:
    root = str(Path(stapes.__file__).resolve().parents[1])
    program = [sys.executable, "-P", str(Path(coldstart.__file__).resolve()), *models]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise ValueError(f"a new process did not start: {done.stderr.strip().splitlines()[-1]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _megabytes(size: int | None) -> float | None:
    return None if size is None else round(size / 1e6, 1)


def _show(result: dict[str, Any]) -> None:
    machine, block, cold = result["machine"], result["block_ms"], result["cold_start"]
    print(f"machine     {machine['cpu']}, {machine['cores']} cores, {machine['system']}")
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "stapes", "numpy", "onnxruntime"))
    print(f"versions    {versions}")
    for model in result["models"]:
        print(f"model       {model['name']} ({model['task']}), {model['bytes'] / 1e3:.0f} kB")
    print(
        f"audio       {result['audio']['seconds']:g} s, {result['audio']['from']}: {result['events']} events"
    )
    print(
        f"rtf         {result['rtf']:.5f} (x{1 / result['rtf']:.0f} real time), "
        f"{result['rtf_cpu']:.5f} of processor time"
    )
    print(
        f"100 ms in   p50 {block['p50']:.3f}, p95 {block['p95']:.3f}, p99 {block['p99']:.3f}, "
        f"max {block['max']:.3f} ms"
    )
    print(
        f"cold start  {cold['seconds']:.3f} s = {cold['ratio']:.2f} x import numpy, onnxruntime"
        f" ({cold['numpy_onnxruntime_seconds']:.3f} s)"
    )
    if cold["rss_mb"] is not None:
        print(
            f"memory      {cold['rss_mb']} MB when loaded, {result['peak_rss_mb']} MB here at most "
            f"(numpy, onnxruntime: {cold['numpy_onnxruntime_rss_mb']} MB)"
        )
