"""Which recordings a recipe trains on, and which it is judged by."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dialect_id.recipe import DataSpec
from training.utterances import ManifestError, Recording, read_manifest

NO_LABEL = -1
"""Class of a recording whose language is not known, or not to be learnt."""
_TELLING = 12
"""Letters from which on a file's name stands for one recording in the world: "0001" does not."""


@dataclass(frozen=True, slots=True)
class Part:
    """Recordings of one folder, with their classes."""

    folder: str
    recordings: tuple[Recording, ...]
    classes: NDArray[np.int64]
    """(recordings,) index of each one's label, or NO_LABEL."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """All that a recipe reads."""

    labels: tuple[str, ...]
    train: tuple[Part, ...]
    """Main first, then the extra folders, then the unlabelled ones."""
    judged: Part
    """Recordings of main's dev part (or another, see `gather`) in languages that are labels."""
    unknown: Part
    """Recordings in languages that were held out: of main's train part and the one above, and of the extra
    folders."""
    noise: tuple[Recording, ...]


def source_of(recording: Recording) -> str:
    """What recordings of different splits must not share: the source they are cut from, or the speaker."""
    fields = recording.fields
    return str(fields.get("recording") or fields.get("speaker") or recording.audio.stem)


def in_dev(recording: Recording, share: float) -> bool:
    """Whether a recording of a set without a split "dev" belongs to the one made: by its source, SHA-1."""
    digest = hashlib.sha1(f"dev {source_of(recording)}".encode()).digest()  # noqa: S324
    return int.from_bytes(digest[:4], "big") < share * 2**32


def split_recordings(recordings: Sequence[Recording], split: str, dev_share: float) -> list[Recording]:
    """Those of one split; where there is no split "dev", it is taken out of "train"."""
    if split not in ("train", "dev") or any(each.split == "dev" for each in recordings):
        return [each for each in recordings if each.split == split]
    return [
        each for each in recordings if each.split == "train" and in_dev(each, dev_share) == (split == "dev")
    ]


def answer_of(recording: Recording, folder: str, spec: DataSpec) -> str | None:
    """The right answer of a recording, if it has one."""
    raw = recording.fields.get(spec.truth) or spec.given.get(folder)
    return None if raw is None else spec.rename.get(str(raw), str(raw))


def gather(data: Path, spec: DataSpec, *, labels: tuple[str, ...] = (), judged_by: str = "dev") -> Corpus:
    """Reads the manifests of a recipe.

    Args:
        data: the folder that its folders stand in.
        spec: of the data.
        labels: of a network that is trained already; then no extra folder is opened.
        judged_by: the split of main that becomes `Corpus.judged`.

    Raises:
        ManifestError: a folder has no manifest, main has no answers to learn, or a recording of main none.
    """
    if labels:
        spec = replace(spec, labels=labels, extra=(), unlabelled=(), noise=(), guard=())
    main = read_manifest(data / spec.main)
    train, dev = (split_recordings(main, split, spec.dev_share) for split in ("train", "dev"))
    held = _names(each for each in main if each.split in ("dev", "test")) | _names(dev)
    for folder in spec.guard:
        held |= _names(each for each in read_manifest(data / folder) if each.split in ("dev", "test"))
    train = [each for each in train if not _names([each]) & held]
    others = {
        folder: [
            each
            for each in read_manifest(data / folder)
            if each.split == "train" and not _names([each]) & held
        ]
        for folder in (*spec.extra, *spec.unlabelled)
    }
    labelled = {spec.main: train} | {folder: others[folder] for folder in spec.extra}
    labels = labels or spec.labels or _labels(labelled, spec)
    if not labels:
        raise ManifestError(f"{data / spec.main}: no line of split 'train' has the key {spec.truth!r}")
    known = {label: number for number, label in enumerate(labels)}

    def part(folder: str, recordings: Iterable[Recording]) -> Part:
        kept = [(each, known.get(answer_of(each, folder, spec) or "", NO_LABEL)) for each in recordings]
        kept = [(each, number) for each, number in kept if number != NO_LABEL]
        return Part(folder, tuple(e for e, _ in kept), np.array([n for _, n in kept], np.int64))

    parts = [part(folder, recordings) for folder, recordings in labelled.items()]
    for folder in spec.unlabelled:  # a held-out language is not heard in these either
        recordings = tuple(
            each for each in others[folder] if answer_of(each, folder, spec) not in spec.held_out
        )
        parts.append(Part(folder, recordings, np.full(len(recordings), NO_LABEL)))
    tested = dev if judged_by == "dev" else split_recordings(main, judged_by, spec.dev_share)
    unknown = tuple(
        each
        for folder, recordings in (labelled | {spec.main: [*train, *tested]}).items()
        for each in recordings
        if answer_of(each, folder, spec) in spec.held_out
    )
    judged = part(spec.main, tested)
    if judged_by == "dev" and not judged.recordings:
        raise ManifestError(f"{data / spec.main}: no recording to judge by; is data.dev_share too small?")
    noise = tuple(each for folder in spec.noise for each in noise_of(read_manifest(data / folder)))
    return Corpus(
        labels,
        tuple(each for each in parts if each.recordings),
        judged,
        Part(spec.main, unknown, np.full(len(unknown), NO_LABEL)),
        noise,
    )


def noise_of(recordings: Sequence[Recording]) -> list[Recording]:
    """What training hears of a noise folder: its split "noise" or, if there is none, "train"."""
    own = [each for each in recordings if each.split == "noise"]
    return own or [each for each in recordings if each.split == "train"]


def _labels(labelled: dict[str, list[Recording]], spec: DataSpec) -> tuple[str, ...]:
    counts = Counter(
        answer
        for folder, recordings in labelled.items()
        for each in recordings
        if (answer := answer_of(each, folder, spec)) is not None
    )
    source = labelled if spec.extra_labels else {spec.main: labelled[spec.main]}
    found = {answer_of(each, folder, spec) for folder, each_of in source.items() for each in each_of}
    return tuple(
        sorted(
            answer
            for answer in found
            if answer is not None and answer not in spec.held_out and counts[answer] >= spec.least_recordings
        )
    )


def _names(recordings: Iterable[Recording]) -> set[str]:
    """Speakers, sources and telling file names: who shares none of them is somebody else."""
    found = set()
    for each in recordings:
        found |= {f"{key} {each.fields[key]}" for key in ("speaker", "recording") if each.fields.get(key)}
        if len(each.audio.stem) >= _TELLING:
            found.add(f"file {each.audio.stem}")
    return found
