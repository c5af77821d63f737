"""What another model said of the training recordings, read from files.

A folder for each data folder, made by `python -m training.whisper_cache` or anything else that writes

    index.json       {the manifest's "audio": [start, end]}, rows of frames.npy
    frames.npy       float16 (frames of all recordings, width), evenly spread over each recording
    posteriors.npy   (recordings, languages), in the order of index.json
    classes.json     the languages' codes

Either of the two pairs may be missing, and recordings may be: these are not taught.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dialect_id.recipe import TeachingSpec
from training.utterances import ManifestError, Recording

ALIASES = {"jw": "jv", "nn": "no"}
"""A teacher's codes for what our sets call otherwise: Whisper's old code of Javanese, and Nynorsk."""
_CENTRE_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Answers:
    """A teacher's answers to the recordings of one data folder."""

    frames: NDArray[np.float16] | None
    spans: dict[str, tuple[int, int]]
    """Rows of `frames`, by the manifest's "audio"."""
    numbers: dict[str, int]
    """Rows of `posteriors`."""
    posteriors: NDArray[np.float32] | None
    """(recordings, labels of the recipe); 0 where the teacher does not know one. A row's sum is what the
    teacher gives to all labels together."""

    def mean(self, recording: Recording, start: float, end: float) -> NDArray[np.float32] | None:
        """Mean of the frames (width,) between two places, 0 to 1, of a recording; None if there are none."""
        span = self.spans.get(str(recording.fields["audio"]))
        if span is None or self.frames is None or span[1] <= span[0]:
            return None
        count = span[1] - span[0]
        first = min(int(start * count), count - 1)
        last = max(first + 1, min(count, int(np.ceil(end * count))))
        mean: NDArray[np.float32] = self.frames[span[0] + first : span[0] + last].mean(0, dtype=np.float32)
        return mean

    def posterior(self, recording: Recording) -> NDArray[np.float32] | None:
        """(labels,), or None."""
        number = self.numbers.get(str(recording.fields["audio"]))
        return None if number is None or self.posteriors is None else self.posteriors[number]


class Teacher:
    """All answers that a recipe learns from; a folder that is not there teaches nothing."""

    def __init__(self, spec: TeachingSpec, folders: Sequence[str], labels: Sequence[str]) -> None:
        """Opens the files.

        Raises:
            ManifestError: there are none of what the recipe gives weight to, they do not fit together, or the
                teacher knows none of the labels.
        """
        self.spec, self.labels = spec, tuple(labels)
        root = Path(spec.folder)
        self.answers = {
            name: _open(root / name, self.labels) for name in folders if (root / name / "index.json").exists()
        }
        widths = {each.frames.shape[1] for each in self.answers.values() if each.frames is not None}
        told = [each.posteriors for each in self.answers.values() if each.posteriors is not None]
        known = np.zeros(len(self.labels), bool)
        for posteriors in told:
            known |= posteriors.any(axis=0)
        self.known: NDArray[np.int64] = np.flatnonzero(known)
        """Labels that the teacher knows."""
        taught = spec.embedding > 0 or spec.frames > 0
        if taught and len(widths) != 1:
            raise ManifestError(f"{root}: wants frames.npy of one width, found widths {sorted(widths)}")
        if spec.posteriors and len(self.known) < 2:
            raise ManifestError(f"{root}: the teacher's classes hold {len(self.known)} of the labels")
        self.width = widths.pop() if taught else 0
        self.centre = self._centre() if self.width else np.zeros(0, np.float32)
        """(width,) mean frame: directions are told from there."""

    def _centre(self) -> NDArray[np.float32]:
        sums, rows = np.zeros(self.width), 0
        for each in self.answers.values():
            if each.frames is not None:
                some = each.frames[:: max(1, len(each.frames) // _CENTRE_ROWS)].astype(np.float32)
                sums, rows = sums + some.sum(0), rows + len(some)
        return (sums / max(1, rows)).astype(np.float32)

    def posterior(
        self, folder: str, recording: Recording, label: int
    ) -> tuple[NDArray[np.float32], np.float32]:
        """What the teacher holds of a recording, among `known`.

        Args:
            folder: the data folder.
            recording: of it.
            label: its class, negative if it has none.

        Returns:
            (known,) posteriors that sum to 1, and a weight, 0 to 1: what the teacher gave to these languages
            together; 0 if there is no answer, or one not to be trusted (see `TeachingSpec.only_right`).
        """
        answers = self.answers.get(folder)
        row = answers.posterior(recording) if answers else None
        even = np.full(len(self.known), 1 / max(1, len(self.known)), np.float32)
        if row is None:
            return even, np.float32(0)
        found = row[self.known]
        mass = found.sum()
        wrong = label >= 0 and self.spec.only_right and self.known[found.argmax()] != label
        if wrong or mass < 1e-3:
            return even, np.float32(0)
        return found / mass, np.float32(min(1.0, float(mass)))

    def direction(
        self, folder: str, recording: Recording, start: float, end: float
    ) -> tuple[NDArray[np.float32], np.float32]:
        """Mean frame (width,) of a piece of a recording, less the centre, with weight 1; or zeros with 0."""
        answers = self.answers.get(folder)
        mean = answers.mean(recording, start, end) if answers else None
        if mean is None:
            return np.zeros(self.width, np.float32), np.float32(0)
        return mean - self.centre, np.float32(1)

    def frames(self, folder: str, recording: Recording, places: NDArray[np.float64]) -> NDArray[np.float32]:
        """(places, width) frames at places, 0 to 1, of a recording, less the centre; zeros without any."""
        answers = self.answers.get(folder)
        span = answers.spans.get(str(recording.fields["audio"])) if answers else None
        if answers is None or span is None or answers.frames is None or span[1] <= span[0]:
            return np.zeros((len(places), self.width), np.float32)
        at = span[0] + (places * (span[1] - span[0])).astype(np.int64).clip(0, span[1] - span[0] - 1)
        return np.asarray(answers.frames[at].astype(np.float32) - self.centre)


def _open(folder: Path, labels: tuple[str, ...]) -> Answers:
    try:
        return _read(folder, labels)
    except ManifestError:
        raise
    except (OSError, ValueError, TypeError, AttributeError) as error:  # by what is wrong
        raise ManifestError(f"{folder}: a teacher's files cannot be read: {error}") from None


def _read(folder: Path, labels: tuple[str, ...]) -> Answers:
    index: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    frames = np.load(folder / "frames.npy", mmap_mode="r") if (folder / "frames.npy").exists() else None
    spans = {key: (int(start), int(end)) for key, (start, end) in index.items()}
    last = max((end for _, end in spans.values()), default=0)
    if frames is not None and (frames.ndim != 2 or last > len(frames)):
        raise ManifestError(f"{folder}: frames.npy is {frames.shape}, the index goes to {last}")
    posteriors = None
    if (folder / "posteriors.npy").exists():
        raw = np.load(folder / "posteriors.npy").astype(np.float32)
        codes = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
        if raw.shape != (len(index), len(codes)):
            raise ManifestError(
                f"{folder}: posteriors.npy is {raw.shape}, wants ({len(index)}, {len(codes)}) by index and "
                "classes.json"
            )
        meant = [ALIASES.get(code, code) for code in codes]
        columns = np.array([[code == label for label in labels] for code in meant], np.float32)
        posteriors = raw @ columns
    return Answers(frames, spans, {key: number for number, key in enumerate(index)}, posteriors)
