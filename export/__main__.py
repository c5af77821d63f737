"""`python -m export CHECKPOINT OUT.onnx [--int8] [--data DIR]`: a checkpoint becomes a model file."""

import argparse
import sys
from pathlib import Path

from export.errors import ExportError
from export.pipeline import Report, export


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export", description="Turns a checkpoint into a model file."
    )
    parser.add_argument("checkpoint", type=Path, help="a task's checkpoint, such as runs/kws/best.pt")
    parser.add_argument("out", type=Path, help="the model file to write, ending in .onnx")
    parser.add_argument(
        "--int8", action="store_true", help="quantise; nothing is written if accuracy suffers"
    )
    parser.add_argument("--data", type=Path, help="folder of recordings for checks and calibration")
    parser.add_argument("--teacher", default="", help="a student's: int8 is judged by what it taught")
    parser.add_argument("--language-model", type=Path, metavar="FILE", help="a recogniser's")
    args = parser.parse_args(argv)
    try:
        report = export(
            args.checkpoint,
            args.out,
            args.data,
            args.int8,
            print,
            teacher=args.teacher,
            language=args.language_model,
        )
    except (ExportError, OSError, ValueError) as error:
        print(f"python -m export: {error}", file=sys.stderr)
        print(f"python -m export: nothing was written to {args.out}", file=sys.stderr)
        return 1
    print(summary(report))
    return 0


def summary(report: Report) -> str:
    """Opset, operators and size for people."""
    histogram = ", ".join(f"{count} {kind}" for kind, count in report.operators.items())
    return (
        f"opset {report.opset}, {sum(report.operators.values())} nodes: {histogram}\n"
        f"{report.path}: {report.size / 1000:.0f} kB"
    )


if __name__ == "__main__":
    sys.exit(main())
