"""`stapes score`: whole clips, and over a manifest the task's own metrics."""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stapes.cli.output import Commands, complain, print_json, shape
from stapes.model import Model
from stapes.scoring import judge
from stapes.sources import read
from stapes.tasks import Task, task_of


@dataclass(frozen=True, slots=True)
class _Clip:
    file: Path
    truth: str | None = None


def add_to(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser("score", help="judge whole clips; with --manifest also accuracy, …")
    parser.add_argument("model", metavar="MODEL", help="a bundled name or a path")
    parser.add_argument("files", nargs="*", metavar="FILE", help="WAV, or what soundfile reads")
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="JSONL",
        help='one line a clip: {"audio": path relative to the manifest, "label": the right answer, …}',
    )
    parser.add_argument("--json", action="store_true", help="one JSON line a clip, then the summary")
    parser.set_defaults(run=lambda args: run(args, parser))


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Score every clip that can be read; exit status 1 if one could not."""
    if bool(args.files) == bool(args.manifest):
        parser.error("name FILEs or a --manifest, one of the two")
    model = Model.load(args.model)
    task = task_of(model.spec)
    task.decoder(model.spec, model.extras)  # wrong params are told once, not for each clip
    if args.manifest and not task.truth:
        raise ValueError(
            f"{model.spec.name} gives features, which are neither right nor wrong: a manifest has nothing to "
            "measure them by; name FILEs"
        )
    clips = list(_manifest(args.manifest, task)) if args.manifest else [_Clip(Path(f)) for f in args.files]
    if not clips:
        raise ValueError(f"{args.manifest} names no clips")
    results: list[dict[str, Any]] = []
    truths: list[str] = []
    audio = spent = worked = 0.0
    failed = 0
    for clip in clips:
        try:
            samples, rate = read(clip.file)
            start, busy = time.perf_counter(), time.process_time()
            result = judge(model, samples, rate)
            spent += time.perf_counter() - start
            worked += time.process_time() - busy
        except (OSError, ValueError) as error:
            complain(error, str(clip.file))
            failed += 1
            continue
        audio += len(samples) / rate
        results.append(result)
        truths.append(clip.truth or "")
        _print_clip(clip, result, as_json=args.json)
    if args.manifest:
        summary: dict[str, Any] = {"task": model.spec.task, "model": model.spec.name}
        summary |= task.metrics(results, truths, model.spec)
        summary["audio_seconds"] = round(audio, 2)
        summary["rtf"] = round(spent / audio, 6) if audio else None
        summary["rtf_cpu"] = round(worked / audio, 6) if audio else None
        if failed:
            summary["failed"] = failed
        _print_summary(summary, as_json=args.json)
    return 1 if failed else 0


def _manifest(path: Path, task: Task) -> Iterator[_Clip]:
    """The clips of a manifest, each line checked before anything is scored."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: not JSON: {error}") from None
            if not isinstance(row, dict) or not isinstance(row.get("audio"), str):
                raise ValueError(f"{path}, line {number}: wants an object with 'audio', a string")
            truth = task.answer(row)
            if truth is None:
                keys = " or ".join(map(repr, task.truth))
                raise ValueError(f"{path}, line {number}: wants an object with {keys}, a string")
            yield _Clip(path.parent / row["audio"], truth)


def _print_clip(clip: _Clip, result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        truth = {} if clip.truth is None else {"truth": clip.truth}
        print_json({"file": str(clip.file)} | result | truth)
        return
    said = str(result.get("label", result.get("text", "")))
    if "features" in result:
        said = f"{shape(result['features'])}, every {result['period_ms']:g} ms"
    sure = result.get("scores", {}).get(said)
    words = [
        said,
        *([f"{sure:.2f}"] if sure is not None else []),
        *([f"({clip.truth})"] if clip.truth else []),
    ]
    print(f"{clip.file}  {' '.join(words)}", flush=True)


def _print_summary(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({"summary": summary})
        return
    confusion = summary.pop("confusion", None)
    print("  ".join(f"{key} {'-' if value is None else value}" for key, value in summary.items()))
    if confusion:
        _print_confusion(confusion)


def _print_confusion(confusion: dict[str, dict[str, int]]) -> None:
    """True labels down, found labels across."""
    labels = sorted(confusion.keys() | {found for row in confusion.values() for found in row})
    width = max(map(len, labels))
    wide = [max(len(label), 4) for label in labels]
    print(" " * width, *(f"{label:>{n}}" for label, n in zip(labels, wide, strict=True)))
    for truth in labels:
        row = confusion.get(truth, {})
        counts = (f"{row.get(found, 0) or '.':>{n}}" for found, n in zip(labels, wide, strict=True))
        print(f"{truth:<{width}}", *counts)
