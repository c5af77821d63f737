"""How much faster a student on Fbank is: front end and transformer timed apart, torch and ONNX, in one run.

The published protocol is a CPU, batch 1, 4 threads; features are part of a front end. Weights are random: the
time does not depend on them.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stapes.fbank import fbank
from stapes.machine import describe
from stapes.sessions import open_session
from stapes.spec import FbankSpec
from training.encoder.network import Encoder
from training.encoder.spec import DEEP_THIN, SHALLOW_WIDE, EncoderSpec

FEATURES = FbankSpec(mels=80, scale=32768.0)
STUDENTS = {"deep-thin": DEEP_THIN, "shallow-wide": SHALLOW_WIDE}


class _Transformer(nn.Module):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder.transform(x)[-1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--students", nargs="+", choices=tuple(STUDENTS), default=["deep-thin"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=10.0, help="of the clip")
    parser.add_argument("--repeats", type=int, default=5, help="of which the median counts")
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")


def run(args: argparse.Namespace) -> str:
    """A line a row: waveform to fbank."""
    rows = [
        row
        for name in args.students
        for threads in args.threads
        for row in compare(STUDENTS[name], threads, args.seconds, args.repeats, name=name)
    ]
    if args.out:
        args.out.write_text(
            json.dumps({"machine": describe(), "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )
    lines = []
    for row in rows:
        before, after = row["waveform"], row["fbank"]
        lines.append(
            f"{row['student']}, {row['engine']}, {row['threads']} threads: front end "
            f"{before['front_ms']:.1f} to {after['front_ms']:.1f} ms, transformer "
            f"{before['transformer_ms']:.1f} to {after['transformer_ms']:.1f} ms, in all × {row['ratio']:.2f}"
        )
    return "\n".join(lines)


def compare(
    student: EncoderSpec,
    threads: int,
    seconds: float,
    repeats: int,
    *,
    name: str = "",
    engines: Sequence[str] = ("torch", "onnx"),
) -> list[dict[str, Any]]:
    """Both front ends under one transformer size, by torch and by onnxruntime, taken in turns.

    Returns:
        A row an engine: the medians in ms, "waveform" and "fbank", and the ratio of their sums.
    """
    wave = np.random.default_rng(0).normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)
    rows = []
    for engine in engines:
        jobs: dict[tuple[str, str], Callable[[], Any]] = {}
        with tempfile.TemporaryDirectory() as folder:
            for front in ("waveform", "fbank"):
                torch.manual_seed(0)
                encoder = Encoder(replace(student, front=front)).eval()
                parts = _parts(encoder, wave, engine, Path(folder) / f"{front}", threads)
                jobs[front, "front_ms"], jobs[front, "transformer_ms"] = parts
        held = torch.get_num_threads()
        torch.set_num_threads(threads)
        times: dict[tuple[str, str], list[float]] = {key: [] for key in jobs}
        for turn in range(repeats + 1):
            for key, job in jobs.items():
                started = time.perf_counter()
                job()
                if turn:  # the first warms up
                    times[key].append(1000 * (time.perf_counter() - started))
        torch.set_num_threads(held)
        row: dict[str, Any] = {"student": name, "engine": engine, "threads": threads, "seconds": seconds}
        for (front, part), values in times.items():
            row.setdefault(front, {})[part] = round(float(np.median(values)), 2)
        row["ratio"] = round(sum(row["waveform"].values()) / sum(row["fbank"].values()), 3)
        rows.append(row)
    return rows


def _parts(
    encoder: Encoder, wave: np.ndarray[Any, np.dtype[np.float32]], engine: str, path: Path, threads: int
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The front end, features included, and the transformer, as calls without arguments."""
    heard: Callable[[], np.ndarray[Any, Any]] = (
        (lambda: fbank(wave, FEATURES)[None]) if encoder.spec.front == "fbank" else (lambda: wave[None])
    )
    transformer = _Transformer(encoder).eval()
    with torch.no_grad():
        inputs = torch.from_numpy(heard())
        frames = encoder.front(inputs)
    if engine == "torch":
        front_end, rest = encoder.front, transformer

        def listen() -> Tensor:
            with torch.inference_mode():
                return torch.as_tensor(front_end(torch.from_numpy(heard())))

        def think() -> Tensor:
            with torch.inference_mode():
                return torch.as_tensor(rest(frames))

        return listen, think
    front_session = _session(encoder.front, inputs, path.with_suffix(".front.onnx"), threads)
    rest_session = _session(transformer, frames, path.with_suffix(".rest.onnx"), threads)
    given = frames.numpy()
    return lambda: front_session.run(None, {"x": heard()}), lambda: rest_session.run(None, {"x": given})


def _session(module: nn.Module, example: Tensor, path: Path, threads: int) -> Any:
    program = torch.onnx.export(module, (example,), input_names=["x"], dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("torch.onnx.export gave nothing")
    program.save(str(path), external_data=False)
    return open_session(path.read_bytes(), threads, path)
