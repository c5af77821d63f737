"""`python -m asr calibrate`: how a recogniser searches, and what it takes for no text, by measurement.

Dev clips are heard once and written down in every way (`asr.tries`); the way with the fewest word errors in
all folders together is stamped into a copy. The floor is then the smallest with which noise, as a `Stream`
hears it, gives no text in as many clips as wanted, if that costs few words of the dev clips; if not, the
highest that costs so few. RTF is by the processor's time, on one thread.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asr import hotword_worth
from asr.heard import Heard, Taped, Written, gather, listen
from asr.tries import Tried, attempts, best, directions_table, heads, named, table, word_errors
from stapes import onnxfile
from stapes.model import Model
from stapes.tasks.asrparams import AsrParams
from training.atomic import replacing
from training.inside import put_inside

_FLOORS = 100
"""Floors are whole multiples of 1 / so many."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m asr calibrate`."""
    parser.add_argument("model", type=Path, help="an exported .onnx file")
    parser.add_argument("out", type=Path, help="the same model with its params written in")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    parser.add_argument(
        "--dev", nargs="+", required=True, metavar="FOLDER[:SPLIT]", help="speech with text (split dev)"
    )
    parser.add_argument(
        "--noise", nargs="*", default=["noise"], metavar="FOLDER[:SPLIT]", help="to set the floor (train)"
    )
    parser.add_argument(
        "--test-noise", nargs="*", default=["noise"], metavar="FOLDER[:SPLIT]", help="to report it (test)"
    )
    parser.add_argument("--silence", type=float, default=0.99, help="share of noise clips to give no text")
    parser.add_argument(
        "--cost", type=float, default=0.005, help="word errors that the floor may add, for each dev word"
    )
    parser.add_argument(
        "--hotwords", type=int, default=0, metavar="N", help="measure the N rarest words as hotwords"
    )
    parser.add_argument("--language-model", type=Path, metavar="FILE", help="to be put into the copy")
    parser.add_argument("--even", action="store_true", help="error rates of all --dev folders count alike")
    parser.add_argument("--most", type=int, default=0, help="clips of each folder, evenly spread; 0: all")
    parser.add_argument("--report", type=Path, metavar="FILE", help="JSON of all figures")


def run(args: argparse.Namespace) -> str:
    """Measures, writes the model; gives Markdown.

    Raises:
        ManifestError: a folder is missing, empty or was trained on.
        AudioError: a recording cannot be read.
        ModelFileError, SpecError: a model that cannot be loaded, or is of another task.
    """
    with TemporaryDirectory() as work:
        source = args.model
        if args.language_model:
            source = Path(work) / "asr.onnx"
            spec = onnxfile.read_spec(args.model)
            put_inside(args.model, onnxfile.LANGUAGE_MODEL, args.language_model.read_bytes(), source)
            onnxfile.stamp(source, source, spec)
        return _calibrate(args, source)


def _calibrate(args: argparse.Namespace, source: Path) -> str:
    model = Taped.load(source)
    own = AsrParams.of(model.spec)
    unhindered = model.fork(floor=0.0)
    dev = list(listen(model, gather(args.data, args.dev, "dev", model.spec, args.most), stream=False))
    sounds = [
        list(listen(model, gather(args.data, sets, split, model.spec, args.most), stream=True))
        for sets, split in ((args.noise, "train"), (args.test_noise, "test"))
    ]
    tried = attempts(unhindered, dev, even=args.even)
    chosen = best(tried, even=args.even)
    fork = unhindered.fork(**chosen.params)
    noise, tested = (Written.by(fork, heard) for heard in sounds)
    floor = choose_floor(fork, Dev.of(dev, chosen), noise, args.silence, args.cost)
    figures: dict[str, Any] = {
        "params": {**chosen.params, "floor": floor.floor},
        "dev": chosen.figures(),
        "floor": asdict(floor),
        "noise": silenced(fork, noise, floor.floor),
        "test_noise": silenced(fork, tested, floor.floor),
    }
    params = {**model.spec.params, **figures["params"]}
    with replacing(args.out) as draft:
        provenance = {**model.spec.provenance, "calibration": figures}
        onnxfile.stamp(source, draft, replace(model.spec, params=params, provenance=provenance))
    figures |= {"before": asdict(own), "tried": [one.figures() for one in tried]}
    lines = [
        "Word errors for each word wanted, in percent.\n",
        table(heads(tried, even=args.even)),
        f"\nBest: {chosen.params['search']}, {named(chosen.params)}\n",
        directions_table(tried, even=args.even),
        "",
        _told(floor, figures, args.silence, args.cost),
    ]
    if args.hotwords:
        worth = hotword_worth.measure(unhindered, dev, tried, args.hotwords)
        figures["hotwords"] = worth
        lines += ["", hotword_worth.table(worth)]
    if args.report:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        args.report.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Dev:
    """Speech, and what was written of it."""

    written: Written
    errors: Sequence[int]
    """Of each text."""
    words: int
    """Wanted in all."""

    @classmethod
    def of(cls, heard: Sequence[Heard], tried: Tried) -> "Dev":
        """From a way to search."""
        return cls(Written(heard, tried.texts), tried.errors, sum(tried.words))

    def cost(self, model: Model, floor: float) -> int:
        """Word errors that a floor adds, those that it takes from other clips not counted."""
        texts = self.written.above(model, floor)
        parts = zip(self.written.heard, texts, self.errors, strict=True)
        added = (word_errors(heard.text, text) - errors for heard, text, errors in parts)
        return sum(each for each in added if each > 0)


@dataclass(frozen=True, slots=True)
class Floor:
    """A floor, and what it does."""

    floor: float
    enough: bool
    """Whether it silences as much noise as wanted."""
    added: int
    """Word errors that it adds to dev clips."""
    words: int
    """Of the dev clips."""
    wanted: float
    """The least floor that would silence as much noise as wanted, whatever it costs."""


def choose_floor(model: Model, dev: Dev, noise: Written, silence: float, cost: float) -> Floor:
    """The smallest floor that silences noise, if it costs little; else the highest that does cost little.

    Args:
        model: with the params that decide otherwise, and no floor.
        dev: speech, written with these.
        noise: as a stream heard it, written with these.
        silence: wanted share of noise clips without text.
        cost: word errors it may add, for each word of the dev clips.
    """

    def loud(floor: float) -> bool:
        said = sum(map(bool, noise.above(model, floor)))
        return said > (1 - silence) * len(noise.heard) + 1e-9

    # A higher floor never lets out more, nor costs less: both are found by halving. 1 silences all but
    # the certain, of which there are none to speak of.
    wanted = _first(lambda step: not loud(step / _FLOORS)) / _FLOORS
    allowed = cost * dev.words + 1e-9
    highest = (_first(lambda step: dev.cost(model, step / _FLOORS) > allowed, _FLOORS + 1) - 1) / _FLOORS
    floor = min(wanted, highest)
    return Floor(floor, not loud(floor), dev.cost(model, floor), dev.words, wanted)


def _first(holds: Callable[[int], bool], end: int = _FLOORS) -> int:
    """The least number from 0 for which something holds that goes on holding; `end` where none does."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def silenced(model: Model, noise: Written, floor: float) -> dict[str, Any]:
    """How many noise clips give text, by data set, without and with a floor."""
    found: dict[str, dict[str, Any]] = {}
    for each, text, left in zip(noise.heard, noise.texts, noise.above(model, floor), strict=True):
        part = found.setdefault(each.folder, {"clips": 0, "no_speech": 0, "text_before": 0, "text": 0})
        part["clips"] += 1
        part["no_speech"] += not each.stretches
        part["text_before"] += bool(text)
        part["text"] += bool(left)
    return found


def _told(floor: Floor, figures: dict[str, Any], silence: float, cost: float) -> str:
    lines = [
        f"Floor {floor.floor:g}: adds {floor.added} word errors to {floor.words} dev words "
        f"({100 * floor.added / max(1, floor.words):.2f} %, allowed {100 * cost:g} %)."
    ]
    if not floor.enough:
        lines.append(
            f"It does not silence {100 * silence:g} % of the noise; {floor.wanted:g} would, at a higher cost."
        )
    for name, part in (("noise", figures["noise"]), ("test noise", figures["test_noise"])):
        for folder, counts in part.items():
            lines.append(
                f"{name} {folder}: {counts['text']} of {counts['clips']} clips give text "
                f"({100 * counts['text'] / counts['clips']:.1f} %; without a floor {counts['text_before']}; "
                f"in {counts['no_speech']} no speech was found)."
            )
    return "\n".join(lines)
