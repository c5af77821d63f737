"""Recordings with their right answers, and what an exported model says of them, step by step."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dialect_id.data import answer_of, noise_of, source_of, split_recordings
from dialect_id.duration import cut
from dialect_id.recipe import DataSpec
from stapes.model import Model
from stapes.scoring import score
from stapes.spec import ModelSpec, Scores, SpecError
from stapes.tasks import task_of
from stapes.tasks.detection import UNKNOWN_CLASS
from stapes.tasks.dialect_id import tempered
from training.audio import read_audio
from training.naming import told_name
from training.takes import take_source
from training.utterances import ManifestError, Recording, read_manifest
from training.variants import Codec, through_codec


@dataclass(frozen=True, slots=True)
class Judged:
    """A recording, and the posteriors of a model as it heard more and more of it."""

    group: str
    """Recordings of one group share a speaker or a source: they are drawn together when figures are
    resampled."""
    folder: str
    """Of the data set."""
    truth: int
    """Index of the right label; UNKNOWN_CLASS for none of the model's."""
    scores: Scores
    """(steps, labels), as the graph gives them: at temperature 1."""


Found = tuple[str, Recording]
"""The name of a data set, and a recording of it."""


def trained_by(spec: ModelSpec) -> DataSpec:
    """What the recipe in a model's provenance says of its data; the defaults where it says nothing.

    Raises:
        ManifestError: it is not understood.
    """
    recipe = spec.provenance.get("recipe")
    table = recipe.get("data", {}) if isinstance(recipe, Mapping) else {}
    if not isinstance(table, Mapping):
        raise ManifestError(f"{spec.name}: provenance.recipe.data is no table")
    known = {field.name for field in fields(DataSpec)}
    return DataSpec(**{key: value for key, value in table.items() if key in known})


def gather(
    data: Path, sets: Iterable[str], unknown: Iterable[str], split: str, spec: ModelSpec
) -> list[Found]:
    """The recordings of data sets, and of others those that are of none of a model's labels.

    Of the folders whose noise the model was trained on, recordings are left out of which it heard a take.

    Args:
        data: the folder that they lie in.
        sets: names of folders, each with a manifest.jsonl; "name:split" takes another split of that one.
        unknown: further ones.
        split: of those that name none. If the model's main folder has no "dev", the one of its training.
        spec: of the model.

    Raises:
        ManifestError: a folder has no manifest, or no recording of that split that was not heard as noise; or
            as `truth_of`.
        SpecError: a model of another task.
    """
    if spec.task != "dialect_id":
        raise SpecError(f"{spec.name} is a model of the task {spec.task!r}, not 'dialect_id'")
    trained = trained_by(spec)
    found = [each for name in sets for each in _find(data, name, split, trained)]
    others = [each for name in unknown for each in _find(data, name, split, trained)]
    return found + [each for each in others if truth_of(*each, spec) == UNKNOWN_CLASS]


def _find(data: Path, name: str, split: str, trained: DataSpec) -> list[Found]:
    where, _, other = name.partition(":")
    wanted, folder = other or split, told_name(where)
    recordings = read_manifest(data / where)
    heard = {take_source(each.audio) for each in noise_of(recordings)} if folder in trained.noise else set()
    if folder == trained.main:
        recordings = split_recordings(recordings, wanted, trained.dev_share)
    else:
        recordings = [each for each in recordings if each.split == wanted]
    if not recordings:
        raise ManifestError(f"{data / where / 'manifest.jsonl'} has no recording of split {wanted!r}")
    new = [each for each in recordings if take_source(each.audio) not in heard]
    if not new:
        raise ManifestError(f"{data / where}: the model was trained on all noise of split {wanted!r}")
    return [(folder, each) for each in new]


def truth_of(folder: str, recording: Recording, spec: ModelSpec) -> int:
    """Index of the right label, as the model's recipe renames it; UNKNOWN_CLASS where the model has it not.

    Raises:
        ManifestError: the manifest line tells no answer.
    """
    task, trained = task_of(spec), trained_by(spec)
    answer = answer_of(recording, folder, trained)
    if answer is None:
        said = task.answer(recording.fields)
        answer = None if said is None else trained.rename.get(said, said)
    if answer is None:
        raise ManifestError(f"{recording.audio}: its manifest line has none of {', '.join(task.truth)}")
    return spec.labels.index(answer) if answer in spec.labels else UNKNOWN_CLASS


def judge(
    model: Model, recordings: Sequence[Found], seconds: float | None = None, codec: Codec | None = None
) -> Iterator[Judged]:
    """What a model says of whole recordings.

    Args:
        model: of the task dialect_id.
        recordings: to be heard, in order.
        seconds: hear only so much, of recordings that are as long; None: all of it.
        codec: hear them through it, at the least rate that it knows; None: as they are.

    Raises:
        AudioError: a recording cannot be read.
        ManifestError: as `truth_of`.
    """
    rate = model.spec.features.sample_rate
    title = codec or ("recordings" if seconds is None else f"{seconds:g} s of recordings")
    for folder, recording in tqdm(recordings, desc=title, mininterval=5):
        truth = truth_of(folder, recording, model.spec)
        part = cut(read_audio(recording.audio, rate), rate, seconds)
        if part is not None:
            part = through_codec(part, rate, codec, compression=1.0) if codec else part
            yield Judged(source_of(recording), folder, truth, score(model, part, rate))


def last_posteriors(judged: Sequence[Judged], temperature: float) -> NDArray[np.float64]:
    """(recordings, labels) after all of each recording, at a temperature."""
    return np.array([tempered(each.scores[-1], temperature) for each in judged])


def truths(judged: Sequence[Judged]) -> NDArray[np.int64]:
    """(recordings,) true classes."""
    return np.array([each.truth for each in judged], np.int64)
