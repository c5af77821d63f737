"""`python -m asr pseudo HEARD DIR OUT`: text for recordings that have none, as recognisers heard it.

Believed is what a recogniser is sure enough of, and, if there is a second one, what both say.

Two models of different make seldom make the same mistake. Agreement is counted in words of normalised text
(our reading); a recogniser's own score is the mean log-probability that it writes beside its text.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.corpora import Row
from asr.errors import distance
from asr.manifest import seconds, summary, write
from asr.text import NORMALISERS
from training.utterances import ManifestError, Recording, read_manifest


@dataclass(frozen=True, slots=True)
class TrustSpec:
    """When a text is believed."""

    least_score: float = -math.inf
    """The recogniser's own; lines without a score pass."""
    most_different: float = 0.0
    """Words (characters of text without spaces) in which two may differ, as a share of the first's."""
    least_rate: float = 3.0
    most_rate: float = 30.0
    """Characters a second that people say; models that repeat themselves on noise write more."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A line of a recogniser's."""

    text: str
    score: float


def hypotheses(path: Path) -> dict[str, Heard]:
    """Audio, named as a manifest does, to what a JSON-lines file of {"audio", "text"} and maybe "score" says.

    Raises:
        ManifestError: the file is missing or a line is not understood.
    """
    try:
        # Not splitlines: texts may hold other separators, which JSON does not escape.
        lines = path.read_text(encoding="utf-8").split("\n")
        rows = [json.loads(line) for line in lines if line.strip()]
        return {str(row["audio"]): Heard(str(row["text"]), float(row.get("score", math.inf))) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f'{path} holds no lines of "audio" and "text": {error!r}') from None


def disagreement(first: str, second: str) -> float:
    """Distance of two texts in words, as a share of the first's; characters where there are no spaces."""
    a, b = (text.split() if " " in first + second else list(text) for text in (first, second))
    return distance(a, b) / max(len(a), 1)


def believed(
    recordings: Sequence[Recording],
    heard: Mapping[str, Heard],
    second: Mapping[str, Heard] | None,
    spec: TrustSpec,
    normaliser: str = "english",
) -> list[Row]:
    """Manifest lines of the recordings whose text is believed, normalised.

    Args:
        recordings: with "duration"; what was not heard is left out.
        heard: audio, as the manifest's line has it, to text.
        second: the same of another recogniser; None: the first is believed alone.
        spec: when.
        normaliser: a key of `asr.text.NORMALISERS`.
    """
    normalise = NORMALISERS[normaliser]
    rows = []
    for recording in recordings:
        key = str(recording.fields["audio"])
        if key not in heard or heard[key].score < spec.least_score:
            continue
        text = normalise(heard[key].text)
        rate = len(text) / max(seconds(recording), 1e-3)
        if not text or not spec.least_rate <= rate <= spec.most_rate:
            continue
        if second is not None:
            other = normalise(second[key].text) if key in second else ""
            if not other or disagreement(text, other) > spec.most_different:
                continue
        rows.append({**recording.fields, "audio": recording.audio, "text": text, "pseudo": True})
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m asr pseudo`."""
    parser.add_argument(
        "heard", type=Path, help='JSON lines of {"audio", "text", "score"}: what one recogniser wrote'
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="with the recordings' manifest.jsonl")
    parser.add_argument("out", type=Path, help="folder to write manifest.jsonl to")
    parser.add_argument("--least-score", type=float, default=-math.inf, help="of the recogniser itself")
    parser.add_argument("--second", type=Path, help="the same of another recogniser, which must agree")
    parser.add_argument(
        "--most-different", type=float, default=0.0, help="share of words in which the two may differ"
    )
    parser.add_argument("--normaliser", choices=tuple(NORMALISERS), default="english")


def run(args: argparse.Namespace) -> str:
    """Makes the manifest; says what share was kept.

    Raises:
        ManifestError: a file is missing, or nothing is believed.
    """
    recordings = read_manifest(args.folder)
    second = None if args.second is None else hypotheses(args.second)
    spec = TrustSpec(args.least_score, args.most_different)
    rows = believed(recordings, hypotheses(args.heard), second, spec, args.normaliser)
    if not rows:
        raise ManifestError(f"of {args.folder} nothing that {args.heard} says is believed")
    args.out.mkdir(parents=True, exist_ok=True)
    write(rows, args.out)
    return f"{args.out / 'manifest.jsonl'}: {len(rows)} of {len(recordings)} kept; {summary(rows)}"
