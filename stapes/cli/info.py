"""`stapes info`: all that a model file says of itself."""

import argparse
import hashlib
import json
from typing import Any

from stapes.cli.output import Commands, print_json
from stapes.model import Model
from stapes.onnxfile import language_model, second_graph
from stapes.spec import ModelSpec
from stapes.tasks import TASKS

_SHOWN = 50
"""Labels that people are shown; a recogniser has hundreds."""
_TOLD = 300
"""Characters of a param, or of what is told of the training, that they are shown."""


def add_to(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser("info", help="what a model file says of itself")
    parser.add_argument("model", metavar="MODEL", help="a bundled name or a path")
    parser.add_argument("--json", action="store_true", help="one JSON line, the whole spec")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load it, which also verifies it, and print."""
    model = Model.load(args.model)
    data = model.path.read_bytes()
    facts = {"file": str(model.path), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if args.json:
        print_json(json.loads(model.spec.to_json()) | facts)
    else:
        _show(model.spec, facts, len(second_graph(data) or b""), len(language_model(data) or b""))
    return 0


def _show(spec: ModelSpec, facts: dict[str, Any], second: int, language: int) -> None:
    features, window = spec.features, spec.window
    rate = features.sample_rate
    print(f"{spec.name}: {spec.task}")
    print(
        f"file       {facts['file']}, {facts['bytes'] / 1e3:.0f} kB, sha256 {facts['sha256'][:16]}…, verified"
    )
    print(
        f"features   {features.mels} log-mels, {rate} Hz, {features.low_hz:g} to {features.high_hz:g} Hz, "
        f"{features.frame_ms:g} ms every {features.hop_ms:g} ms, {features.window}"
    )
    print(
        f"window     {window.frames} frames ({window.frames * features.hop_ms / 1000:g} s), a score every "
        f"{window.hop * features.hop_ms:g} ms, {window.lookahead * features.hop_ms:g} ms ahead, {window.mode}"
    )
    if spec.task in TASKS and TASKS[spec.task].features:
        print(f"gives      {len(spec.labels)} features a step")
    else:
        labels = [*spec.labels[:_SHOWN], *["…"] * (len(spec.labels) > _SHOWN)]
        print(f"labels     {len(spec.labels)}: {' '.join(labels)}")
    if second:
        print(f"graphs     two: the second graph, which writes text, takes {second / 1e3:.0f} kB of the file")
    if language:
        print(f"language   a model of what texts are likely takes {language / 1e3:.0f} kB of the file")
    for state in spec.states:
        print(f"state      {state.name} {state.shape}")
    for title, values in (("params", spec.params), ("provenance", spec.provenance)):
        for key, value in values.items():
            told = json.dumps(value, ensure_ascii=False)
            more = f"… ({len(told)} characters, whole with --json)" if len(told) > _TOLD else ""
            print(f"{title:<11}{key}: {told[:_TOLD]}{more}")
