"""What a recogniser heard, kept, so that one hearing can be written down with many settings.

The first graph's scores and memory do not depend on the settings of the search, and are most of the work.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stapes.model import Model
from stapes.samples import Frames
from stapes.scoring import score
from stapes.spec import ModelSpec, Scores
from stapes.stream import Stream
from stapes.tasks import asr
from stapes.tasks.asrparams import AsrParams
from stapes.tasks.symbols import BLANK
from training.audio import read_audio
from training.naming import told_name
from training.utterances import ManifestError, Recording, read_manifest


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was heard between two resets: a clip, or a stretch of speech in a stream."""

    scores: Scores
    """(steps, labels)."""
    memory: NDArray[np.float32] | None
    """(steps, width) for the second graph; None: there is none."""

    @property
    def sureness(self) -> float:
        """What `AsrParams.floor` is compared with; 0 where CTC hears nothing."""
        best = self.scores.max(axis=1)[self.scores.argmax(axis=1) != BLANK]
        return float(best.astype(np.float64).mean()) if len(best) else 0.0


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording."""

    folder: str
    """Of the data set."""
    text: str
    """What is said; "" for noise."""
    stretches: tuple[Stretch, ...]
    """One of a clip heard by itself, any number of one heard in a stream."""
    seconds: float
    """Of sound."""
    spent: float
    """Of the processor's time: features and the first graph."""


class Taped(Model):
    """A model that keeps the scores and memory of each call."""

    def __init__(self, *parts: Any) -> None:
        """As `Model`."""
        super().__init__(*parts)
        self._tape: list[tuple[list[Scores], list[NDArray[np.float32]]]] = [([], [])]

    def __call__(self, frames: Frames) -> Scores:
        """As `Model`."""
        scores = super().__call__(frames)
        self._tape[-1][0].append(scores)
        if self.reader is not None:
            self._tape[-1][1].append(self.reader.last)
        return scores

    def reset(self) -> None:
        """As `Model`; what follows is a stretch of its own."""
        super().reset()
        self._tape.append(([], []))

    def taken(self) -> tuple[Stretch, ...]:
        """All that was heard since the last time, oldest first."""
        tape, self._tape = self._tape, [([], [])]
        return tuple(
            Stretch(np.concatenate(scores), np.concatenate(memory) if memory else None)
            for scores, memory in tape
            if scores
        )


def gather(data: Path, sets: Sequence[str], split: str, spec: ModelSpec, most: int = 0) -> list[Recording]:
    """Recordings of data sets, in order, none that a model was trained on.

    Args:
        data: the folder that they lie in.
        sets: names of folders, each with a manifest.jsonl; "name:split" takes another split of that one.
        split: of those that name none.
        spec: of the model, whose provenance tells what it was trained on. Noise may have been: it is a
            background there, and has no text.
        most: recordings of each folder, evenly spread; 0: all.

    Raises:
        ManifestError: a folder has no manifest or no recording of that split, or was trained on.
    """
    recipe = spec.provenance.get("recipe")
    table = recipe.get("data") if isinstance(recipe, Mapping) else None
    trained = table.get("train") if isinstance(table, Mapping) else None
    found: list[Recording] = []
    for name in sets:
        folder, _, other = name.partition(":")
        wanted = other or split
        if wanted == "train" and isinstance(trained, Mapping) and told_name(folder) in trained:
            raise ManifestError(f"{spec.name} was trained on the split 'train' of {folder}")
        some = [each for each in read_manifest(data / folder) if each.split == wanted]
        if not some:
            raise ManifestError(f"{data / folder / 'manifest.jsonl'} has no recording of split {wanted!r}")
        step = max(1, -(-len(some) // most)) if most else 1
        found += [
            Recording(each.audio, each.split, {**each.fields, "folder": folder}) for each in some[::step]
        ]
    return found


def listen(model: Taped, recordings: Sequence[Recording], *, stream: bool) -> Iterator[Heard]:
    """Hears recordings from `gather`.

    Args:
        model: whose tape is empty.
        recordings: in order.
        stream: as a `Stream` hears them, which looks for speech itself; else as clips, which are all speech.

    Raises:
        AudioError: a recording cannot be read.
        ManifestError: one that has no text, though it is to be heard as a clip.
    """
    rate = model.spec.features.sample_rate
    for each in tqdm(recordings, desc="in a stream" if stream else "clips", mininterval=5):
        text = each.fields.get("text")
        if not stream and not isinstance(text, str):
            raise ManifestError(f"{each.audio}: its manifest line has no text")
        samples = read_audio(each.audio, rate)
        start = process_time()
        if stream:
            heard = Stream(model)
            heard.feed(samples)
            heard.close()
            (tape,) = heard.models
            stretches = tape.taken() if isinstance(tape, Taped) else ()
        else:
            score(model, samples, rate)
            stretches = model.taken()
        spent = process_time() - start
        yield Heard(str(each.fields["folder"]), str(text or ""), stretches, len(samples) / rate, spent)


def rehear(stretch: Stretch, model: Model) -> None:
    """A model's reader then has what was heard, as if the model had just heard it."""
    if model.reader is not None and stretch.memory is not None:
        model.reader.reset()
        model.reader.hear(stretch.memory)


def write(heard: Heard, model: Model) -> str:
    """The text of a recording, as a model with these params would have written it; "" if there is none."""
    texts = []
    for stretch in heard.stretches:
        rehear(stretch, model)
        texts.append(str(asr.clip(stretch.scores, model.spec, model.extras)["text"]))
    return " ".join(filter(None, texts))


def write_above(heard: Heard, text: str, model: Model, floor: float) -> str:
    """The text with a floor, from that without: only a stretch that was cut at pauses is written again.

    Args:
        heard: the recording.
        text: what `write` gave for it with a floor of 0.
        model: of those params.
        floor: to be set.
    """
    longest = max(1, model.spec.window.frames // AsrParams.of(model.spec).step_frames)
    sure = [stretch.sureness >= floor for stretch in heard.stretches]
    if all(len(stretch.scores) < longest for stretch in heard.stretches) and (all(sure) or not any(sure)):
        return text if any(sure) else ""
    return write(heard, model.fork(floor=floor))


@dataclass(frozen=True, slots=True)
class Written:
    """Recordings, and what was written of them with a floor of 0."""

    heard: Sequence[Heard]
    texts: Sequence[str]

    @classmethod
    def by(cls, model: Model, heard: Sequence[Heard]) -> "Written":
        """Writes them down with a model's params, whose floor is 0."""
        return cls(heard, [write(each, model) for each in heard])

    def above(self, model: Model, floor: float) -> list[str]:
        """The texts with a floor; the model is that which wrote them."""
        return [write_above(h, text, model, floor) for h, text in zip(self.heard, self.texts, strict=True)]
