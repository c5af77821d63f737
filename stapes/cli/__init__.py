"""The command line: stapes listen | run | score | bench | info | doctor | serve."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from stapes.cli import bench, doctor, info, listen, run, score, serve
from stapes.cli.output import complain
from stapes.machine import package_version
from stapes.mic import MicrophoneError

_COMMANDS = (listen, run, score, bench, info, doctor, serve)

_INTERRUPTED = 130
_PIPE_CLOSED = 141
"""128 + the signal's number, as shells report SIGINT and SIGPIPE."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None takes them from the process.

    Returns:
        The exit status: 0, 1 for an error told in a sentence on stderr, 2 for wrong usage.
    """
    # A daemon may have neither; print to None would take stdout in stderr's place.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):
            # JSON is UTF-8 whatever the locale says. A byte of a file's name that is not UTF-8 comes as
            # \udcXX, which JSON's readers turn back into what Python opens the file by.
            out.reconfigure(encoding="utf-8", errors="backslashreplace")
    args = _parser().parse_args(arguments)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader (head, say) has what it wanted. Python would complain at exit when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except (MicrophoneError, ImportError, OSError, TypeError, ValueError) as error:
        complain(error)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stapes", description="On-device speech: sound in, events out.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print it and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands)
    return parser


class _Version(argparse.Action):
    """Asks for the version only when it is wanted: that takes longer to import than the rest of a command."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"stapes {package_version('stapes')}")
        parser.exit()
