"""What a model was not trained on and should not fire in, save for keywords that the text says."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from kws.clips import DataError, manifest_lines
from kws.conditions import Sound, Spoken, in_conditions
from kws.features import is_reserved
from kws.noise import held_noise
from kws.speech import recordings
from stapes.spec import ModelSpec
from training.naming import told_name


def negatives(data: Path, folders: Iterable[str], split: str, trained: Mapping[str, Any]) -> Iterator[Spoken]:
    """Clips of `folders` and the keywords in their text or label: what is said cannot be falsely accepted.

    Split "train" gives what training left over, and "dev" parts: of folders of running speech the speakers
    that features.is_reserved keeps back, of word folders that were trained on nothing. Noise: see kws.noise.
    Nobody is heard of whom the recipe's extra folders hold stretches of running speech (kws.cut, kws.mine),
    wherever these were cut. Clips without text count as holding no keyword.

    Args:
        data: the folder that `folders` stand in, each with a manifest.jsonl.
        folders: names.
        split: "train" or "test".
        trained: the recipe's "data" table: which folders the model was trained on. Those that lay elsewhere
            are known by their names alone, as a model file tells them.

    Raises:
        DataError: a folder has no manifest, or a line of it lacks a key.
    """
    running = frozenset(trained.get("running", ()))
    used = frozenset((*trained.get("noise", ()), *trained.get("extra", ()), trained.get("main", "")))
    cut = _cut_speakers(data, trained.get("extra", ()))
    for folder in folders:
        name = told_name(folder)
        for clip, said, _ in recordings(data / folder):
            if clip.split != split and not (split == "train" and clip.split == "dev"):
                continue
            spoke = clip.speaker in cut or (name in running and not is_reserved(clip))
            if clip.split == "train" and (name in used or spoke):
                continue
            yield clip, said


def _cut_speakers(data: Path, extra: Iterable[str]) -> frozenset[str]:
    """Whose running speech is in the extra folders, of those that are there: lines that say where "from"."""
    there = (data / folder for folder in extra if (data / folder / "manifest.jsonl").is_file())
    return frozenset(
        str(row["speaker"])
        for folder in there
        for row in manifest_lines(folder, dict)
        if "from" in row and "speaker" in row
    )


def other_sound(
    data: Path,
    speech: Sequence[str],
    noise: Sequence[str],
    part: Literal["train", "test"],
    trained: Mapping[str, Any],
) -> tuple[dict[str, float], list[Sound]]:
    """Speech and noise that a model was not trained on, in all conditions.

    Args:
        data: the folder that the folders stand in.
        speech: names of folders of speech.
        noise: names of folders of noise.
        part: "test": test parts; "train": what training left over, and dev parts.
        trained: the recipe's "data" table.

    Returns:
        Hours of speech by folder, each recording counted once; and the sounds.

    Raises:
        DataError: a folder is missing, or is named as speech and as noise.
    """
    if both := set(speech) & set(noise):
        raise DataError(f"{', '.join(sorted(both))} is named as speech and as noise")
    parts: dict[str, list[Spoken]] = {
        folder: list(negatives(data, [folder], part, trained)) for folder in speech
    }
    hours = {
        folder: round(sum(clip.duration for clip, _ in clips) / 3600, 3) for folder, clips in parts.items()
    }
    return hours, in_conditions(list(chain(*parts.values())), held_noise(data, noise, part, trained))


def trained_on(spec: ModelSpec) -> Mapping[str, Any]:
    """The "data" table of the recipe in a model's provenance.

    Raises:
        DataError: there is none, or it is a model of another task.
    """
    if spec.task != "kws":
        raise DataError(f"{spec.name} is a model of the task {spec.task!r}, not 'kws'")
    try:
        table = spec.provenance["recipe"]["data"]
    except (KeyError, TypeError):
        raise DataError(f"{spec.name} does not say what it was trained on (provenance.recipe.data)") from None
    if not isinstance(table, Mapping):
        raise DataError(f"{spec.name}: provenance.recipe.data is no table")
    return table
