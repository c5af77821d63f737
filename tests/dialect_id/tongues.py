"""A tiny model of two languages, high sounds and low ones, and recordings of them."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import soundfile

from stapes.samples import Samples
from stapes.tasks.dialect_id import DialectParams
from tests.tools import tiny_onnx
from tests.tools.signals import high, low, quiet

RATE = 16_000


def tongues(folder: Path, **params: float) -> Path:
    """A model file; hops of 0.1 s."""
    first = DialectParams(min_speech_ms=300, decide_ms=2000, floor=0.3)
    of = replace(
        tiny_onnx.spec("stateful", task="dialect_id", name="tongues"),
        labels=("hush", "hiss", "low", "high"),
        params=asdict(first) | params,
    )
    return tiny_onnx.write(folder, of)


def noisy(sound: Samples, level: float, seed: int) -> Samples:
    """The sound with noise."""
    noise = np.random.default_rng(seed).standard_normal(sound.size) * level
    return (sound + noise).astype(np.float32)


def _write(folder: Path, rows: list[dict[str, str]], sounds: list[Samples]) -> None:
    folder.mkdir(parents=True)
    with (folder / "manifest.jsonl").open("w") as manifest:
        for number, (row, sound) in enumerate(zip(rows, sounds, strict=True)):
            soundfile.write(folder / f"{number}.wav", sound, RATE, subtype="FLOAT")
            print(json.dumps({"audio": f"{number}.wav"} | row), file=manifest)


def data_sets(folder: Path) -> Path:
    """Folders "languages", with splits dev and test of nine recordings each, and "noise"."""
    rows, sounds = list[dict[str, str]](), list[Samples]()
    for split in ("dev", "test"):
        for number, seconds in enumerate((0.7, 1.0, 1.3, 2.2)):
            for language, sound in (("low", low), ("high", high)):
                rows.append({"language": language, "split": split, "recording": f"{split}{number}"})
                sounds.append(noisy(sound(seconds), 0.002 * 3**number, number))
        rows.append({"language": "zulu", "split": split, "recording": f"{split}9"})
        sounds.append(noisy(low(0.6) + high(0.6), 0.01, 9))
    _write(folder / "languages", rows, sounds)
    _write(
        folder / "noise",
        [{"label": "rain", "split": split} for split in ("train", "train", "train", "test")],
        [noisy(quiet(seconds), 0.1, 20) for seconds in (0.5, 1.0, 2.5, 1.5)],
    )
    return folder
