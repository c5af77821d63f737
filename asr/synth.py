"""`python -m asr synth --hours 20 OUT`: any hours of synthetic speech with its text.

About half are spellings, numbers and commands, half free text; voice, dialect, melody and rate are drawn for
each clip. What clip n is depends on (seed, n) and on what is installed alone. A run that was stopped goes on
after its last clip; one with more hours adds to those that exist. Clips are Ogg Opus at 16 kHz, as a call or
a browser would send them.
"""

import argparse
import json
import zlib
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from math import gcd
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.sentences import command, free_text
from asr.spellings import GENERATORS, Rng, pick
from asr.text import english, spell_out
from training.voices import ENGINES, EngineError, Utterance, engine

SAMPLE_RATE = 16_000
HELD_OUT = ("flite", "pico")
"""Not for training, unless told otherwise: they test whether a model knows words or synthesisers."""

Samples = NDArray[np.float32]
_SHARES = {"kokoro": 4.0, "espeak": 3.0, "piper": 1.0, "rhvoice": 3.0, "flite": 0.15, "pico": 0.15}
_SOURCES = {"examples": 0.4, "definitions": 0.12, "bible": 0.2, "fortunes": 0.28}
_PHRASES, _COMMANDS = 0.44, 0.1
"""Of all clips; the rest is free text, about half of the hours."""
_SPELLED_HASTE, _HASTE = 0.65, 0.95
"""Times an engine's own rate: people take 0.3 to 0.4 s for a letter, engines half of that."""
_LONGEST_S, _RATE = 24.0, (1.5, 30.0)  # seconds; letters and spaces a second
_FRAME = SAMPLE_RATE // 100
_SPEECH_DB = -45.0  # beneath the loudest frame
_LEVEL_DB = (-36.0, -14.0)  # of speech, re full scale
_SILENCE_S = (0.05, 0.6)  # before and after speech
_COMPRESSION = 0.92  # of libsndfile's Opus: about 25 kbit/s
_AHEAD = 16  # clips in work for each process


class RejectedClipError(ValueError):
    """An utterance that is silent, cut off, not finite or too long."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip to be made."""

    number: int
    engine: str
    kind: str
    said: str
    """For the engine: letters in braces are said by their names."""
    seed: int
    held_out: bool = False

    @property
    def audio(self) -> str:
        """Path in the output folder."""
        return f"{self.engine}/{self.number // 1000:03d}/{self.seed}_{self.number:06d}.opus"


class Planner:
    """Says what clip n is."""

    def __init__(
        self, engines: Sequence[str], held_out: Sequence[str], texts: Mapping[str, Sequence[str]], seed: int
    ) -> None:
        self.engines, self.held_out, self.seed = tuple(engines), frozenset(held_out), seed
        self.texts = texts
        self._engine_odds = _odds([_SHARES[name] for name in self.engines])
        self._sources = tuple(texts)
        self._source_odds = _odds([_SOURCES.get(name, 0.3) for name in self._sources])
        self._kinds = tuple(GENERATORS)
        self._kind_odds = _odds([share for _, share in GENERATORS.values()])

    def __call__(self, number: int) -> Clip:
        """Clip `number`."""
        rng = np.random.default_rng([self.seed, number, zlib.crc32(b"plan")])
        name = str(rng.choice(self.engines, p=self._engine_odds))
        kind, said = self._text(rng)
        return Clip(number, name, kind, said, self.seed, name in self.held_out)

    def _text(self, rng: Rng) -> tuple[str, str]:
        share = rng.random()
        if share < _PHRASES or not (self._sources or share < _PHRASES + _COMMANDS):
            kind = str(rng.choice(self._kinds, p=self._kind_odds))
            return kind, GENERATORS[kind][0](rng)
        if share < _PHRASES + _COMMANDS:
            return "command", command(rng)
        source = str(rng.choice(self._sources, p=self._source_odds))
        return source, spell_out(pick(rng, self.texts[source]))


def finish(said: Utterance, text: str, rng: Rng) -> Samples:
    """Speech at 16 kHz and a random level, between two stretches of silence of random length.

    Args:
        said: what the engine made.
        text: what it should have said, normalised: speech much too short or long for it is refused.
        rng: draws level and silence.

    Raises:
        RejectedClipError: not finite, silent, or of a length that cannot be.
    """
    samples = said.samples
    if samples.ndim != 1 or not np.all(np.isfinite(samples)):
        raise RejectedClipError(f"not mono or not finite: shape {samples.shape}")
    samples = _at_rate(samples, said.sample_rate)
    frames = samples[: samples.size // _FRAME * _FRAME].reshape(-1, _FRAME)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    if not power.size or power.max() < 1e-7:
        raise RejectedClipError("silent")
    loud = np.flatnonzero(power >= power.max() * 10 ** (_SPEECH_DB / 10))
    speech = samples[max(int(loud[0]) - 2, 0) * _FRAME : (int(loud[-1]) + 3) * _FRAME].copy()
    seconds = speech.size / SAMPLE_RATE
    if seconds > _LONGEST_S or not _RATE[0] <= len(text) / seconds <= _RATE[1]:
        raise RejectedClipError(f"{seconds:.2f} s of speech for {len(text)} characters")
    fade = np.linspace(0, 1, min(_FRAME, speech.size // 2), dtype=np.float32)
    speech[: fade.size] *= fade
    speech[speech.size - fade.size :] *= fade[::-1]
    level = 10 ** (rng.uniform(*_LEVEL_DB) / 20) / np.sqrt(np.mean(np.square(speech, dtype=np.float64)))
    speech *= np.float32(min(level, 0.95 / np.abs(speech).max()))
    before, after = (np.zeros(int(rng.uniform(*_SILENCE_S) * SAMPLE_RATE), np.float32) for _ in range(2))
    return np.concatenate([before, speech, after])


def make(clip: Clip, out: Path, voices: Path | None) -> dict[str, Any] | str:
    """Make one clip: its manifest line, or why it was given up.

    Raises:
        EngineError: the engine is not installed.
    """
    import soundfile

    speak = engine(clip.engine, voices)
    text = english(clip.said)
    rng = np.random.default_rng([clip.seed, clip.number])
    try:
        said = speak(clip.said, rng, _SPELLED_HASTE if clip.said.count("{") > 1 else _HASTE)
        samples = finish(said, text, rng)
    except (EngineError, RejectedClipError) as error:
        return f"{clip.audio}: {error}"
    path = out / clip.audio
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=_COMPRESSION)
    return {
        "audio": clip.audio,
        "duration": round(samples.size / SAMPLE_RATE, 3),
        "split": "heldout" if clip.held_out else "train",
        "text": text,
        "kind": clip.kind,
        "speaker": f"{clip.engine}/{said.voice}",
        "engine": clip.engine,
        "number": clip.number,
    }


def made(out: Path) -> tuple[float, int]:
    """Seconds of training speech in a folder, and the number of the next clip.

    A line that a power cut left half written is dropped from the manifest.
    """
    path = out / "manifest.jsonl"
    if not path.is_file():
        return 0.0, 0
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return sum(row["duration"] for row in rows if row["split"] == "train"), max(
        (row["number"] + 1 for row in rows), default=0
    )


def synthesise(out: Path, plan: Planner, hours: float, voices: Path | None, jobs: int = 1) -> Counter[str]:
    """Make clips until the folder has so many hours of training speech; counts by engine and "dropped".

    Raises:
        EngineError: an engine is not installed.
    """
    from tqdm import tqdm

    for name in plan.engines:
        engine(name, voices)
    out.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    seconds, first = made(out)
    total = hours * 3600
    with (
        (out / "manifest.jsonl").open("a", encoding="utf-8") as manifest,
        tqdm(total=round(total), initial=round(min(seconds, total)), unit="s", mininterval=5) as progress,
    ):
        clips = _each(plan, first, out, voices, jobs) if seconds < total else iter(())
        for row in clips:
            if isinstance(row, str):
                counts["dropped"] += 1
                continue
            manifest.write(json.dumps(row) + "\n")
            manifest.flush()
            counts[row["engine"]] += 1
            if row["split"] == "train":
                seconds += row["duration"]
                progress.update(round(min(seconds, total)) - progress.n)
            if seconds >= total:
                break
            if counts["dropped"] > 1000 and counts["dropped"] > 0.5 * counts.total():
                raise EngineError(f"{counts['dropped']} of {counts.total()} clips failed")
    return counts


def _each(
    plan: Planner, first: int, out: Path, voices: Path | None, jobs: int
) -> Iterator[dict[str, Any] | str]:
    """Clips from number `first` on without end, in order."""
    number = first
    if jobs == 1:
        while True:
            yield make(plan(number), out, voices)
            number += 1
    # spawn: onnxruntime's threads and espeak's state do not survive a fork
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[dict[str, Any] | str]] = deque()
        try:
            while True:
                while len(waiting) < jobs * _AHEAD:
                    waiting.append(pool.submit(make, plan(number), out, voices))
                    number += 1
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m asr synth`."""
    parser.add_argument("out", type=Path, help="folder to fill")
    parser.add_argument("--hours", type=float, default=20.0, help="of training speech (default 20)")
    parser.add_argument("--engines", default="espeak,rhvoice,flite,pico", help=f"of {','.join(ENGINES)}")
    parser.add_argument("--held-out", default=",".join(HELD_OUT), help='engines whose split is "heldout"')
    parser.add_argument("--voices", type=Path, help="folder that `python -m kws.synth --setup` filled")
    parser.add_argument("--texts", type=Path, help="folder of *.txt files: more free text")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")


def run(args: argparse.Namespace) -> str:
    """Makes the clips; says how many.

    Raises:
        EngineError: an engine is unknown or not installed.
        TextError: there is no free text.
    """
    if args.jobs < 1:
        raise EngineError(f"--jobs must be at least 1, got {args.jobs}")
    engines = list(dict.fromkeys(args.engines.split(",")))
    if unknown := set(engines) - set(ENGINES):
        raise EngineError(f"no engine {sorted(unknown)}: there are {', '.join(ENGINES)}")
    plan = Planner(engines, args.held_out.split(","), free_text(args.texts), args.seed)
    counts = synthesise(args.out, plan, args.hours, args.voices, args.jobs)
    return f"{args.out / 'manifest.jsonl'}: " + ", ".join(f"{k} {n}" for k, n in sorted(counts.items()))


def _odds(shares: Sequence[float]) -> NDArray[np.float64]:
    odds = np.array(shares, np.float64)
    return odds / max(float(odds.sum()), 1e-12)


def _at_rate(samples: Samples, rate: int) -> Samples:
    if rate == SAMPLE_RATE:
        return np.asarray(samples, np.float32)
    from scipy.signal import resample_poly

    common = gcd(rate, SAMPLE_RATE)
    return np.asarray(resample_poly(samples, SAMPLE_RATE // common, rate // common), np.float32)
