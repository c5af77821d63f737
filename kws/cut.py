"""Recorded keywords from running speech whose text is known: a recogniser says where each word lies.

So words that few people recorded get real voices. The keyword stands alone in its second, since a spotter
hears isolated words. The speakers that calibration keeps are never cut.
"""

import argparse
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kws.clips import KEYWORDS, Clip, DataError
from kws.cutting import alone, extent, second_around
from kws.features import is_reserved
from kws.sets import clip_name, refuse_filled, write_set
from kws.speech import HOMOPHONES, WORDS, recordings
from stapes.model import Model
from stapes.samples import Samples
from training.alignment import Aligner
from training.audio import read_audio
from training.command import count, share

SHORTEST_SECONDS, LONGEST_SECONDS = 0.15, 0.9
"""Of a word. What is shorter is slurred, or the alignment is wrong; what is longer surely holds more."""
_NOT_AS_WRITTEN = re.compile(r"[^\W_a-z]|[&%+=@$£€#°]")
"""Digits, symbols and foreign letters: nobody knows how they were read."""


@dataclass(frozen=True, slots=True)
class Found:
    """A word in a recording."""

    clip: Clip
    """The recording."""
    word: str
    start: int
    """First sample of the word."""
    end: int
    """Sample after its last."""
    confidence: float
    """Geometric mean of its symbols' posteriors."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m kws cut`."""
    parser.add_argument("model", help="a recogniser's file, or a bundled one's name: asr")
    parser.add_argument("out", type=Path, help="the folder to write, with its manifest.jsonl")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    parser.add_argument(
        "--sets",
        nargs="+",
        default=["librispeech", "librispeech_train-clean-5"],
        metavar="FOLDER",
        help="running speech with text",
    )
    parser.add_argument("--words", type=_listed, default=KEYWORDS, help="yes,no,…; default: the ten keywords")
    parser.add_argument("--least", type=share, default=0.3, help="posterior of a word from which on to cut")
    parser.add_argument("--most", type=count, default=120, help="clips of each word, from speakers in turn")
    parser.add_argument("--neighbours", action="store_true", help="leave what is said before and after it")


def run(args: argparse.Namespace) -> str:
    """Aligns, cuts and writes; says how much.

    Raises:
        DataError: a folder is missing, a word sounds like a keyword, the model is no recogniser, or `out`
            holds something.
        AudioError: a recording that cannot be read.
    """
    words = frozenset(args.words)
    if alike := sorted(words & HOMOPHONES.keys()):
        raise DataError(", ".join(f"{word!r} sounds like {HOMOPHONES[word]!r}" for word in alike))
    refuse_filled(args.out)
    try:
        aligner = Aligner(Model.load(args.model))
    except ValueError as error:
        raise DataError(str(error)) from None
    clips = [each for folder in args.sets for each in spoken(args.data / folder, words)]
    left_out: Counter[str] = Counter()
    every = find(aligner, clips, words, args.least, left_out)
    found = list({_name(each, aligner.rate): each for each in every}.values())
    kept = spread(found, args.most)
    write_set(args.out, aligner.rate, _cut(kept, aligner.rate, neighbours=args.neighbours))
    lines = [
        f"{word}: {len(some)} clips of {len({each.clip.speaker for each in some})} speakers"
        for word in sorted(words)
        for some in [[each for each in kept if each.word == word]]
    ]
    told = "".join(f", {count} {why}" for why, count in sorted(left_out.items()))
    hours = sum(clip.duration for clip, _ in clips) / 3600
    total = f"{len(clips)} recordings, {hours:.2f} h: {len(found)} words found{told}"
    return "\n".join([*lines, total, f"{len(kept)} clips in {args.out}"])


def spoken(folder: Path, words: frozenset[str]) -> Iterator[tuple[Clip, list[str]]]:
    """Training recordings that say one of `words`, without speakers that calibration keeps, and their words.

    Raises:
        DataError: there is no manifest, or a line of it lacks a key.
    """
    for clip, _, row in recordings(folder):
        text = str(row.get("text", "")).lower().replace("’", "'")
        said = WORDS.findall(text)
        if clip.split == "train" and not is_reserved(clip) and not words.isdisjoint(said):
            yield clip, [] if _NOT_AS_WRITTEN.search(text) else said


def find(
    aligner: Aligner,
    clips: Sequence[tuple[Clip, list[str]]],
    words: frozenset[str],
    least: float,
    left_out: Counter[str],
) -> Iterator[Found]:
    """Each of `words` that can be cut out.

    Args:
        aligner: of the recordings' language.
        clips: and what is said in each.
        words: wanted.
        least: posterior.
        left_out: here is counted what cannot be cut, by reason.

    Raises:
        AudioError: a recording that cannot be read.
    """
    rate = aligner.rate
    for clip, said in tqdm(clips, desc="words", mininterval=5):
        samples = read_audio(clip.audio, rate)
        aligned = aligner.words(samples, said) if said and len(samples) else ()
        if not aligned:
            left_out["recordings not aligned"] += 1
        for number, word in enumerate(aligned):
            if word.text not in words:
                continue
            start, end = extent(samples, rate, aligned, number)
            if word.confidence < least:
                left_out["not sure enough"] += 1
            elif not SHORTEST_SECONDS <= (end - start) / rate <= LONGEST_SECONDS:
                left_out["too short or too long"] += 1
            else:
                yield Found(clip, word.text, start, end, word.confidence)


def spread(found: Sequence[Found], most: int) -> list[Found]:
    """At most so many of each word, from all speakers in turn, of each the surest first."""
    turns: defaultdict[tuple[str, str], int] = defaultdict(int)
    ranked = []
    for each in sorted(found, key=lambda each: -each.confidence):
        key = (each.word, each.clip.speaker)
        ranked.append((turns[key], each))
        turns[key] += 1
    ranked.sort(key=lambda one: one[0])
    kept: list[Found] = []
    counts: Counter[str] = Counter()
    for _, each in ranked:
        counts[each.word] += 1
        if counts[each.word] <= most:
            kept.append(each)
    return sorted(kept, key=lambda each: (each.word, each.clip.audio, each.start))


def _cut(
    found: Sequence[Found], rate: int, *, neighbours: bool
) -> Iterator[tuple[str, Samples, dict[str, object]]]:
    for each in tqdm(found, desc="clips", mininterval=5):
        samples, name = read_audio(each.clip.audio, rate), _name(each, rate)
        if neighbours:
            second = second_around(samples, (each.start + each.end) // 2, rate)
        else:
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
            second = alone(samples, each.start, each.end, rate, np.random.default_rng(seed))
        yield (
            name,
            second,
            {
                "label": each.word,
                "speaker": each.clip.speaker,
                "from": each.clip.audio.name,
                "start": round(each.start / rate, 3),
                "spoken": round((each.end - each.start) / rate, 3),
                "confidence": each.confidence,
            },
        )


def _name(found: Found, rate: int) -> str:
    return clip_name(found.word, found.clip.audio, found.start / rate)


def _listed(text: str) -> tuple[str, ...]:
    words = tuple(filter(None, text.lower().split(",")))
    if not words or not all(WORDS.fullmatch(word) for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of words such as yes,no")
    return words
