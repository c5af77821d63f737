"""`stapes run`: events of files, or of PCM on standard input."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import stapes
from stapes.cli.output import (
    Commands,
    add_listening,
    complain,
    event_json,
    event_text,
    load_models,
    names,
)
from stapes.events import Event
from stapes.model import Model
from stapes.samples import Samples
from stapes.sources import Lost, PcmSource, Source, SourceError, open_source

RATE = 16_000
"""Hz, of standard input."""


def add_to(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser("run", help="events of files")
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="WAV, or what soundfile reads; - is 16-bit mono PCM on stdin"
    )
    parser.add_argument(
        "--models", type=names, default=["kws"], metavar="A,B", help="names or paths (default: kws)"
    )
    parser.add_argument(
        "--rate", type=int, metavar="HZ", help="of the PCM on stdin (default: 16000); files tell their own"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="PNG", help="also draw waveform, events and scores of one FILE"
    )
    add_listening(parser)
    parser.add_argument("--json", action="store_true", help="one JSON line an event")
    parser.set_defaults(run=lambda args: run(args, parser))


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Each file by itself; exit status 1 if one could not be read."""
    if args.plot and len(args.files) > 1:
        parser.error("--plot draws one FILE")
    if args.files.count("-") > 1:
        parser.error("- can be named once")
    if args.rate is not None and "-" not in args.files:
        parser.error("--rate is of PCM on standard input, which is named -; files tell their own")
    if args.rate is not None and args.rate <= 0:
        parser.error(f"--rate must be over 0 Hz, got {args.rate}")
    if args.plot:
        _can_draw(args.plot)
    models = load_models(args.models, args.hotwords)
    # What is wrong with them together is told once, not for each file.
    stapes.Stream(*models, sample_rate=models[0].spec.features.sample_rate, wake=args.wake)
    status = 0
    for file in args.files:
        if len(args.files) > 1 and not args.json:
            print(f"{file}:", flush=True)
        try:
            source = _stdin(args.rate or RATE) if file == "-" else open_source(file)
            if args.plot:
                _run_and_draw(args, source, models)
            else:
                stream = stapes.Stream(*models, sample_rate=source.sample_rate, wake=args.wake)
                for event in stapes.run(source, stream):
                    _print(event, file, as_json=args.json)
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as error:
            complain(error, "standard input" if file == "-" else file)
            status = 1
    return status


def _can_draw(path: Path) -> None:
    """Tells before hours of sound are heard what would go wrong after them."""
    from stapes import plot  # few runs draw

    if not path.parent.is_dir():
        raise NotADirectoryError(f"there is no folder {path.parent} for --plot")
    if path.is_dir():
        raise IsADirectoryError(f"--plot {path} is a folder, not a picture")
    if path.suffix.lower() not in plot.SUFFIXES:
        raise ValueError(f"--plot {path} must end in one of {', '.join(plot.SUFFIXES)}")
    plot.import_matplotlib()


def _stdin(rate: int) -> PcmSource:
    if sys.stdin is None:
        raise SourceError("standard input is closed")
    return PcmSource(sys.stdin.buffer, rate)


def _print(event: Event, file: str, *, as_json: bool) -> None:
    print(event_json(event, file) if as_json else event_text(event), flush=True)


def _run_and_draw(args: argparse.Namespace, source: Source, models: list[Model]) -> None:
    """Unlike a plain run this holds all of the sound, for the picture."""
    from stapes import plot  # few runs draw

    file = args.files[0]
    heard = _Heard(source)
    events = []
    for event in stapes.run(heard, stapes.Stream(*models, sample_rate=source.sample_rate, wake=args.wake)):
        _print(event, file, as_json=args.json)
        events.append(event)
    samples = np.concatenate([np.zeros(0, np.float32), *heard.blocks])
    tracks = [found for model in models if (found := plot.track(model, samples, source.sample_rate))]
    title = "standard input" if file == "-" else Path(file).name
    plot.timeline(args.plot, samples, source.sample_rate, events, tracks, title=title)


class _Heard:
    """A source that keeps what it gave."""

    def __init__(self, source: Source) -> None:
        self.sample_rate = source.sample_rate
        self.blocks: list[Samples] = []
        self._source = source

    def __iter__(self) -> Iterator[Samples | Lost]:
        for item in self._source:
            self.blocks.append(np.zeros(item.samples, np.float32) if isinstance(item, Lost) else item)
            yield item

    def close(self) -> None:
        self._source.close()
