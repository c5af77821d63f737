"""`python -m asr manifest KIND DIR OUT`: a corpus's folder in, OUT/manifest.jsonl out.

Nothing is copied: lines name the recordings where they lie. A speaker is in one split only, chosen by the
SHA-1 of the name, so corpora that share speakers divide them alike.
"""

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import soundfile

from asr.corpora import LOADERS, Row
from training.atomic import replacing
from training.utterances import ManifestError, Recording, read_manifest


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """How a corpus is divided."""

    dev_share: float = 0.0
    """Of the training speakers, the share that becomes "dev"."""
    only: str = ""
    """All recordings are of this split, if set: "train", "dev" or "test"."""
    merge_dev: bool = False
    """The corpus's own "dev" is training material too, before the shares are taken."""


def in_dev(speaker: str, share: float) -> bool:
    """Whether a speaker belongs to the dev part; a larger share keeps whom a smaller one took."""
    return int.from_bytes(hashlib.sha1(speaker.encode()).digest()[:8]) < share * 2**64  # noqa: S324


def divide(rows: Iterable[Row], spec: SplitSpec) -> list[Row]:
    """Rows with their split by `spec`; where no speaker is told, every recording is its own."""
    divided = []
    for row in rows:
        split = spec.only or str(row["split"])
        if not spec.only and (split == "train" or (spec.merge_dev and split == "dev")):
            speaker = str(row.get("speaker") or Path(row["audio"]).stem)
            split = "dev" if in_dev(speaker, spec.dev_share) else "train"
        divided.append({**row, "split": split})
    return divided


def without(rows: Iterable[Row], others: Sequence[Path]) -> list[Row]:
    """Rows that share nothing with the test parts of other manifests, nor name a recording that these name.

    Args:
        rows: to choose from.
        others: folders with a manifest.jsonl.

    Raises:
        ManifestError: a manifest cannot be read.
    """
    speakers, names = set(), set()
    for folder in others:
        for recording in read_manifest(folder):
            names.add(recording.audio.stem)
            if recording.split == "test" and (speaker := recording.fields.get("speaker")):
                speakers.add(str(speaker))
    return [
        row for row in rows if row.get("speaker") not in speakers and Path(row["audio"]).stem not in names
    ]


def timed(rows: Sequence[Row]) -> list[Row]:
    """Rows with "duration" in seconds; those whose recording cannot be read, or is empty, are left out."""
    with ThreadPoolExecutor(4) as pool:
        durations = pool.map(_duration, [Path(row["audio"]) for row in rows])
        return [{**row, "duration": round(s, 3)} for row, s in zip(rows, durations, strict=True) if s > 0]


def write(rows: Sequence[Row], out: Path) -> None:
    """OUT/manifest.jsonl; recordings that lie in OUT are named relative to it."""
    base = out.resolve()
    with replacing(out / "manifest.jsonl") as draft, draft.open("w", encoding="utf-8") as file:
        for row in rows:
            audio = Path(row["audio"]).resolve()
            named = audio.relative_to(base) if audio.is_relative_to(base) else audio
            file.write(json.dumps({**row, "audio": str(named)}, ensure_ascii=False) + "\n")


def summary(rows: Iterable[Row]) -> str:
    """Hours, recordings and speakers of each split."""
    splits: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        splits[row["split"]].append(row)
    return "; ".join(
        f"{split}: {sum(row['duration'] for row in part) / 3600:.2f} h, {len(part)} recordings, "
        f"{len({row['speaker'] for row in part if row.get('speaker')})} speakers"
        for split, part in sorted(splits.items())
    )


def seconds(recording: Recording) -> float:
    """How long a manifest says that a recording is.

    Raises:
        ManifestError: it does not.
    """
    try:
        return float(recording.fields["duration"])
    except (KeyError, TypeError, ValueError):
        raise ManifestError(f'{recording.audio} has no "duration" in its manifest') from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m asr manifest`."""
    parser.add_argument("kind", choices=tuple(LOADERS), help="how the folder is laid out")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the corpus")
    parser.add_argument("out", type=Path, help="folder to write manifest.jsonl to")
    parser.add_argument("--dev-share", type=float, default=0.0, help="of the training speakers")
    parser.add_argument("--split", choices=("train", "dev", "test"), default="", help="of all recordings")
    parser.add_argument(
        "--merge-dev", action="store_true", help="the corpus's own dev part is training material too"
    )
    parser.add_argument(
        "--without",
        type=Path,
        nargs="*",
        default=[],
        metavar="DIR",
        help="manifests whose recordings, and whose test speakers, are left out",
    )


def run(args: argparse.Namespace) -> str:
    """Makes a manifest; says what is in it.

    Raises:
        ManifestError: the folder holds no recording of that kind.
    """
    rows = without(LOADERS[args.kind](args.folder), args.without)
    rows = timed(divide(rows, SplitSpec(args.dev_share, args.split, args.merge_dev)))
    if not rows:
        raise ManifestError(f"{args.folder} holds no recordings laid out as {args.kind}")
    args.out.mkdir(parents=True, exist_ok=True)
    write(rows, args.out)
    return f"{args.out / 'manifest.jsonl'}: {summary(rows)}"


def _duration(path: Path) -> float:
    try:
        return float(soundfile.info(path).duration)
    except (soundfile.LibsndfileError, OSError):
        return 0.0
