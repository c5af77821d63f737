"""`stapes listen`: events of the microphone, as they happen."""

import argparse
import signal
import sys
import wave
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import stapes
from stapes.cli.meter import LevelMeter
from stapes.cli.output import Commands, add_listening, device, event_json, event_text, load_models
from stapes.mic import Microphone, MicrophoneError
from stapes.samples import Samples
from stapes.sources import Lost


def add_to(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser("listen", help="events of the microphone, live; Ctrl-C ends")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="bundled names or paths; default: kws")
    parser.add_argument(
        "--device", type=device, metavar="N", help="number or part of a name; default: the system's"
    )
    parser.add_argument(
        "--rate", type=int, metavar="HZ", help="open at this rate; default: 16000, else its own"
    )
    parser.add_argument("--save", type=Path, metavar="WAV", help="also write what was heard")
    add_listening(parser)
    parser.add_argument("--json", action="store_true", help="one JSON line an event")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Listen until Ctrl-C, SIGTERM, or the end of the microphone."""
    models = load_models(args.models or ["kws"], args.hotwords)
    stapes.Stream(*models, wake=args.wake)  # what is wrong with them is told before the microphone is opened
    with ExitStack() as stack:
        microphone = stack.enter_context(Microphone.open(args.device, sample_rate=args.rate))
        stream = stapes.Stream(*models, sample_rate=microphone.sample_rate, wake=args.wake)
        names = ", ".join(model.spec.name for model in models)
        print(
            f"stapes: {names} on {microphone.name} at {microphone.sample_rate} Hz; Ctrl-C ends",
            file=sys.stderr,
        )
        source = _Heard(microphone)
        if args.save:
            source.file = stack.enter_context(wave.open(str(args.save), "wb"))
            source.file.setparams((1, 2, microphone.sample_rate, 0, "NONE", "not compressed"))
        if sys.stderr.isatty() and not args.json:
            source.meter = LevelMeter(sys.stderr, microphone.sample_rate)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: microphone.stop())
        try:
            for event in stapes.run(source, stream):
                source.show(event_json(event) if args.json else event_text(event))
        except MicrophoneError:
            for event in stream.close():
                source.show(event_json(event) if args.json else event_text(event))
            raise
        finally:
            source.clear()
    return 0


class _Heard:
    """The microphone with two onlookers: the level meter and the recording."""

    def __init__(self, microphone: Microphone) -> None:
        self.sample_rate = microphone.sample_rate
        self.meter: LevelMeter | None = None
        self.file: wave.Wave_write | None = None
        self._microphone = microphone

    def __iter__(self) -> Iterator[Samples | Lost]:
        for item in self._microphone:
            samples = np.zeros(item.samples, np.float32) if isinstance(item, Lost) else item
            if self.file:
                self.file.writeframes((samples * 32768).astype("<i2").tobytes())
            if self.meter:
                self.meter.hear(samples)
            yield item

    def close(self) -> None:
        self._microphone.close()

    def show(self, line: str) -> None:
        """Print a line in the meter's place; the meter goes on below."""
        self.clear()
        print(line, flush=True)

    def clear(self) -> None:
        if self.meter:
            self.meter.clear()
