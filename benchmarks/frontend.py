"""Speed of the log-mel front end beside its peers, in one run on one thread.

python benchmarks/frontend.py [--seconds 60] [--mels 80] [--rounds 5] [--json]

Every engine takes its turn in every round, and the best round counts, so that a busy machine disturbs
all alike. Figures are times real time; "ratio" is that over kaldi-native-fbank fed in the same blocks.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from stapes.fbank import FbankStream, fbank
from stapes.samples import Samples
from stapes.spec import FbankSpec

RATE = 16_000
BLOCKS = {"whole": 0, "100 ms": RATE // 10, "10 ms": RATE // 100}
PEERS = {"kaldi-native-fbank": "kaldi_native_fbank", "torchaudio": "torchaudio.compliance.kaldi"}
BASE = "kaldi-native-fbank"


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    found = {"python": platform.python_version()}
    for name in ("numpy", *PEERS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(), "versions": found}


def cut(x: Samples, block: int) -> list[Samples]:
    """Blocks of equal length, the whole for 0."""
    return [x[i : i + block] for i in range(0, x.size, block)] if block else [x]


def stapes_engine(spec: FbankSpec) -> Callable[[list[Samples]], object]:
    """Ours."""

    def run(blocks: list[Samples]) -> object:
        if len(blocks) == 1:
            return fbank(blocks[0], spec)
        stream = FbankStream(spec)
        return [stream.accept(block) for block in blocks]

    return run


def kaldi_engine(knf: Any, spec: FbankSpec) -> Callable[[list[Samples]], object]:
    """kaldi-native-fbank, arrays in, every frame fetched once it is ready."""
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = spec.mels
    options.mel_opts.high_freq = spec.high_hz

    def run(blocks: list[Samples]) -> object:
        online = knf.OnlineFbank(options)
        frames: list[object] = []
        for block in blocks:
            online.accept_waveform(RATE, block)
            frames += [online.get_frame(i) for i in range(len(frames), online.num_frames_ready)]
        return frames

    return run


def torchaudio_engine(compliance: Any, spec: FbankSpec) -> Callable[[list[Samples]], object]:
    """The Kaldi front end of torchaudio. It keeps no state, so its blocks are no stream: edges are lost."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)

    def run(blocks: list[Samples]) -> object:
        return [
            compliance.fbank(
                torch.from_numpy(block[None]), dither=0.0, num_mel_bins=spec.mels, high_freq=spec.high_hz
            )
            for block in blocks
        ]

    return run


def engines(spec: FbankSpec) -> dict[str, Callable[[list[Samples]], object]]:
    """Ours, and those peers that import here."""
    found = {"stapes": stapes_engine(spec)}
    build = {"kaldi-native-fbank": kaldi_engine, "torchaudio": torchaudio_engine}
    for name, module in PEERS.items():
        try:
            found[name] = build[name](importlib.import_module(module), spec)
        except (ImportError, OSError) as error:  # torchaudio fails with OSError beside another torch
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found


def measure(spec: FbankSpec, seconds: int, rounds: int) -> list[dict[str, Any]]:
    """Best time of every engine for every block length."""
    x = (np.random.default_rng(0).standard_normal(seconds * RATE) * 0.1).astype(np.float32)
    candidates, rows = engines(spec), []
    for label, block in BLOCKS.items():
        blocks = cut(x, block)
        best: dict[str, float] = {}
        for _ in range(rounds):
            for name, run in candidates.items():
                if name == "torchaudio" and 0 < block < spec.frame_samples:
                    continue  # shorter than a frame: it cannot
                start = time.perf_counter()
                run(blocks)
                best[name] = min(best.get(name, float("inf")), time.perf_counter() - start)
        for name, took in best.items():
            rows.append(
                {
                    "engine": name,
                    "block": label,
                    "times_real_time": round(seconds / took, 1),
                    "microseconds_per_block": round(took / len(blocks) * 1e6, 1),
                    "ratio": round(best[BASE] / took, 2) if BASE in best else None,
                }
            )
    return rows


def main() -> None:
    """Prints the machine, then one line an engine and block length."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="length of the signal")
    parser.add_argument("--mels", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one line of JSON for each of the above")
    args = parser.parse_args()

    here = machine()
    if args.json:
        print(json.dumps({"machine": here}))
    else:
        print(f"{here['cpu']}, {here['cores']} cores, {here['system']}")
        print(", ".join(f"{name} {number}" for name, number in here["versions"].items()))
        print(
            f"{args.seconds} s of {RATE} Hz noise, {args.mels} mels, 25/10 ms, best of {args.rounds} rounds\n"
        )
        print(f"{'block':8} {'engine':20} {'x real time':>12} {'us per block':>14} {'ratio':>7}")
    for row in measure(FbankSpec(mels=args.mels), args.seconds, args.rounds):
        if args.json:
            print(json.dumps(row))
        else:
            ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
            print(
                f"{row['block']:8} {row['engine']:20} {row['times_real_time']:12.0f}"
                f" {row['microseconds_per_block']:14.1f} {ratio:>7}"
            )


if __name__ == "__main__":
    main()
