"""What features are tried on: labelled recordings by speaker, and figures with intervals."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from asr.distill.pretrain import PretrainRecipe, load_pretrained
from asr.distill.splits import speaker_of, split_recordings
from asr.distill.task import load_student
from asr.distill.teachers import EncoderTeacher, Teacher, load_teacher
from stapes.spec import FbankSpec
from stapes.tasks.edits import count_errors, normalise
from training.audio import ClipStore, build_store
from training.checkpoint import read
from training.encoder.cif import rate_of
from training.encoder.network import Encoder
from training.recipe import RecipeError, build
from training.utterances import ManifestError

RATE = 16_000
BLANK = 0
"""Of CTC; characters are numbered from 1."""


@dataclass(frozen=True, slots=True)
class Split:
    """Recordings of one part of a folder."""

    store: ClipStore
    keys: tuple[str, ...]
    answers: tuple[str, ...]
    """A label, or a text as error rates see it."""
    speakers: tuple[str, ...]
    """Who, for intervals: recordings of one speaker hang together."""


@dataclass(frozen=True, slots=True)
class Downstream:
    """One thing to find out from speech."""

    splits: dict[str, Split]
    symbols: tuple[str, ...]
    """Labels, or the characters of the training texts."""
    text: bool


def load_downstream(data: Path, folder: str, answer: str, cache: Path, part: int = 1) -> Downstream:
    """Labelled recordings of a folder.

    Args:
        data: folder that the folder stands in.
        folder: with a manifest that has train, dev and test splits.
        answer: the manifest's key to find out: "text", "label", "language", …
        cache: folder for sound.
        part: train on every part-th speaker only: 1 is all, 3 a third, 10 a tenth.

    Raises:
        ManifestError: a split is empty, or lines lack the answer.
    """
    rows = {
        name: [each for each in recordings if str(each.fields.get(answer, "")).strip()]
        for name, recordings in split_recordings(data / folder).items()
        if name in ("train", "dev", "test")
    }
    for name, recordings in rows.items():
        if not recordings:
            raise ManifestError(f"{data / folder} has no {name} recordings with {answer!r}")
    kept = set(sorted({speaker_of(each) for each in rows["train"]})[::part])
    clips = [(str(each.fields["audio"]), each.audio) for each in chain(*rows.values())]
    store = build_store(clips, cache / f"downstream-{folder}-{answer}.npy", RATE)
    rows["train"] = [each for each in rows["train"] if speaker_of(each) in kept]
    text = answer == "text"
    splits = {}
    for name, chosen in rows.items():
        answers = [str(each.fields[answer]) for each in chosen]
        splits[name] = Split(
            store,
            tuple(str(each.fields["audio"]) for each in chosen),
            tuple(normalise(each) if text else each for each in answers),
            tuple(speaker_of(each) for each in chosen),
        )
    found = splits["train"].answers
    symbols = sorted(set("".join(found))) if text else sorted(set(found))
    return Downstream(splits, tuple(symbols), text)


def load_source(name: str, period_ms: float = 20.0) -> Teacher:
    """Features to try.

    Args:
        name: a best.pt of `train` or `pretrain`; "random:" and its path, for the same network untrained; or a
            teacher's name (`load_teacher`).
        period_ms: 20 to 90, of a best.pt's encoder that compresses.

    Raises:
        RecipeError: a checkpoint of something else.
        ValueError: a period out of bounds, or another than 20 of an encoder that does not compress.
    """
    random = name.startswith("random:")
    path = Path(name.removeprefix("random:"))
    if path.suffix != ".pt" or name.partition(":")[0] in ("hubert", "own"):
        if period_ms != 20.0:
            raise ValueError(f"a period of {period_ms} ms: {name} does not compress")
        return load_teacher(name)[0]
    encoder, features = load_encoder(path, random=random)
    kind = "random weights, shape of " if random else ""
    return EncoderTeacher(encoder.eval(), f"{kind}{path}", features, period_ms)


def load_encoder(path: Path, *, random: bool = False) -> tuple[Encoder, FbankSpec | None]:
    """The encoder of a checkpoint, or one of its shape, and its features (None: it hears samples).

    Raises:
        RecipeError: a checkpoint of something else.
    """
    checkpoint = read(path)
    if checkpoint["task"] == "distill":
        encoder, taught = load_student(checkpoint)
        features = taught.features
    elif checkpoint["task"] == "pretrain":
        encoder = load_pretrained(path)[0].encoder.requires_grad_(True)
        features = build(PretrainRecipe, checkpoint["recipe"]).features
    else:
        raise RecipeError(f"{path} is a checkpoint of {checkpoint['task']!r}, no encoder")
    if random:
        fresh = Encoder(encoder.spec)
        for name, buffer in fresh.named_buffers():  # features are normalised as before
            buffer.copy_(encoder.get_buffer(name))
        encoder = fresh
    return encoder, features if encoder.spec.front == "fbank" else None


def period(text: str) -> float:
    """A period of 20 to 90 ms, from a command line; raises ArgumentTypeError."""
    try:
        rate_of(float(text))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
    return float(text)


def spell(text: str, symbols: Sequence[str]) -> list[int]:
    """Numbers of a text's characters, those unknown left out."""
    numbers = {symbol: number for number, symbol in enumerate(symbols, BLANK + 1)}
    return [numbers[c] for c in text if c in numbers]


def greedy(best: Sequence[int], symbols: Sequence[str]) -> str:
    """Text of the likeliest symbol of each frame: repetitions joined, blanks left out."""
    joined = [n for n, before in zip(best, (BLANK, *best), strict=False) if n not in (BLANK, before)]
    return "".join(symbols[n - 1] for n in joined)


def judge(split: Split, given: Sequence[str], *, text: bool, times: int = 1000) -> dict[str, Any]:
    """Accuracy, or WER and CER, of a split, each with a 95 % interval by drawing speakers anew.

    "tallies" holds what they are made of, for each speaker in the order of their names: [right, recordings],
    or [wrong words, words, wrong characters, characters].
    """
    names = sorted(set(split.speakers))
    tallies = np.zeros((len(names), 4 if text else 2), np.int64)
    for speaker, wanted, found in zip(split.speakers, split.answers, given, strict=True):
        told = count_errors(wanted, found) if text else (wanted == found, 1)
        tallies[names.index(speaker)] += told
    out: dict[str, Any] = {"n": len(given), "speakers": len(names)}
    for place, key in enumerate(("wer", "cer") if text else ("accuracy",)):
        some, of = tallies[:, 2 * place : 2 * place + 2].T
        out[key] = round(float(some.sum() / max(1, of.sum())), 6)
        if times:
            drawn = draws(len(names), times)
            low, high = np.quantile(some[drawn].sum(1) / of[drawn].sum(1).clip(1), (0.025, 0.975))
            out[f"{key}_interval"] = [round(float(low), 4), round(float(high), 4)]
    return out | {"tallies": tallies.tolist()}


def draws(speakers: int, times: int = 1000) -> NDArray[np.int64]:
    """(times, speakers) numbers of speakers, drawn with repetition: the same ones in each call."""
    return np.random.default_rng(0).integers(0, speakers, (times, speakers))


def hearable(waves: torch.Tensor) -> torch.Tensor:
    """(clips, samples), at most 30 s and at least the 50 ms that a frame of features takes."""
    waves = waves[:, : 30 * RATE]
    return F.pad(waves, (0, max(0, 800 - waves.shape[1])))


Hear = Callable[[Sequence[NDArray[np.float32]]], list[torch.Tensor]]


def hearer(source: Teacher) -> Hear:
    """Samples of clips of one length to (frames, layers + 1, width) of each."""
    alone = isinstance(source, EncoderTeacher) and source.encoder.spec.compress

    def hear(waves: Sequence[NDArray[np.float32]]) -> list[torch.Tensor]:
        heard = hearable(torch.from_numpy(np.stack(waves)))
        some = heard[:, None] if alone else heard[None]
        return [
            clip for each in some for clip in torch.stack(source.features(each, range(source.depth + 1)), 2)
        ]

    return hear
