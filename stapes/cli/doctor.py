"""`stapes doctor`: what is wrong with the microphone, and how to mend it."""

import argparse
from dataclasses import asdict

from stapes.cli.output import Commands, device, print_json
from stapes.doctor import SYSTEMS, Finding, examine, this_system

_MARKS = {"fine": "ok   ", "weak": "weak ", "fault": "FAULT"}


def add_to(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser("doctor", help="find what is wrong with the microphone, and how to mend it")
    parser.add_argument(
        "--device", type=device, metavar="N", help="number or part of a name; default: the system's"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="how long to listen for the level")
    parser.add_argument("--json", action="store_true", help="one JSON line a finding, then a summary")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit status 1 if there is no usable microphone (or a bundled model is broken)."""
    if not 0 < args.seconds <= 60:
        raise ValueError(f"--seconds must be over 0 and up to 60, got {args.seconds}")
    usable = True
    for finding in examine(args.device, args.seconds):
        usable = usable and finding.state != "fault"
        if args.json:
            print_json(asdict(finding))
        else:
            _show(finding)
    if args.json:
        print_json({"summary": {"usable": usable}})
    return 0 if usable else 1


def _show(finding: Finding) -> None:
    print(f"{_MARKS[finding.state]} {finding.check:<16} {finding.says}", flush=True)
    here = this_system()
    for system in sorted(finding.cures, key=lambda s: (s != here, SYSTEMS.index(s))):
        print(f"      {'->' if system == here else '  '} {system}: {finding.cures[system]}", flush=True)
