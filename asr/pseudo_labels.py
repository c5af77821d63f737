"""`python -m asr pseudo FIRST SECOND DIR OUT`: text for recordings without any, where two recognisers agree.

Two models of different make seldom make the same mistake; what both heard is right more often than what
either of them is sure of (our reading of the issue: agreement is counted in words of normalised text).
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.corpora import Row
from asr.errors import distance
from asr.manifest import summary, write
from asr.text import NORMALISERS
from training.utterances import ManifestError, Recording, read_manifest


@dataclass(frozen=True, slots=True)
class AgreementSpec:
    """When two texts count as one."""

    most_different: float = 0.0
    """Words (characters of text without spaces) that may differ, as a share of the first's."""
    least_rate: float = 3.0
    most_rate: float = 30.0
    """Characters a second that people say; models that repeat themselves on noise write more."""


def hypotheses(path: Path) -> dict[str, str]:
    """Audio to text of a JSON-lines file of {"audio", "text"}; audio is the file's name as a manifest has it.

    Raises:
        ManifestError: the file is missing or a line is not understood.
    """
    try:
        # Not splitlines: texts may hold other separators, which JSON does not escape.
        lines = path.read_text(encoding="utf-8").split("\n")
        rows = [json.loads(line) for line in lines if line.strip()]
        return {str(row["audio"]): str(row["text"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f'{path} holds no lines of "audio" and "text": {error!r}') from None


def disagreement(first: str, second: str) -> float:
    """Distance of two texts in words, as a share of the first's; characters where there are no spaces."""
    a, b = (text.split() if " " in first + second else list(text) for text in (first, second))
    return distance(a, b) / max(len(a), 1)


def agreed(
    recordings: Sequence[Recording],
    first: Mapping[str, str],
    second: Mapping[str, str],
    spec: AgreementSpec,
    normaliser: str = "english",
) -> list[Row]:
    """Manifest lines of the recordings whose two texts agree, with the first's, normalised.

    Args:
        recordings: with "duration"; what neither has heard is left out.
        first: audio, as the manifest's line has it, to text.
        second: the same of another recogniser.
        spec: when they agree.
        normaliser: a key of `asr.text.NORMALISERS`.
    """
    normalise = NORMALISERS[normaliser]
    rows = []
    for recording in recordings:
        key = str(recording.fields["audio"])
        one, two = (normalise(heard.get(key, "")) for heard in (first, second))
        rate = len(one) / max(float(recording.fields.get("duration", 0.0)), 1e-3)
        if not one or not two or not spec.least_rate <= rate <= spec.most_rate:
            continue
        if disagreement(one, two) <= spec.most_different:
            rows.append({**recording.fields, "audio": recording.audio, "text": one, "pseudo": True})
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m asr pseudo`."""
    parser.add_argument("first", type=Path, help='JSON lines of {"audio", "text"}: the better recogniser')
    parser.add_argument("second", type=Path, help="the same of another one")
    parser.add_argument("folder", type=Path, metavar="DIR", help="with the recordings' manifest.jsonl")
    parser.add_argument("out", type=Path, help="folder to write manifest.jsonl to")
    parser.add_argument("--most-different", type=float, default=0.0, help="share of words")
    parser.add_argument("--normaliser", choices=tuple(NORMALISERS), default="english")


def run(args: argparse.Namespace) -> str:
    """Makes the manifest; says what share was kept.

    Raises:
        ManifestError: a file is missing, or nothing is agreed on.
    """
    recordings = read_manifest(args.folder)
    spec = AgreementSpec(args.most_different)
    rows = agreed(recordings, hypotheses(args.first), hypotheses(args.second), spec, args.normaliser)
    if not rows:
        raise ManifestError(f"{args.first} and {args.second} agree on nothing of {args.folder}")
    args.out.mkdir(parents=True, exist_ok=True)
    write(rows, args.out)
    return f"{args.out / 'manifest.jsonl'}: {len(rows)} of {len(recordings)} kept; {summary(rows)}"
