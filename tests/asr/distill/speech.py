"""A folder of made-up speech and a teacher of random weights, small enough for tests."""

import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from asr.distill.teachers import EncoderTeacher
from asr.distill.units import Units
from stapes.spec import FbankSpec
from training.encoder.network import Encoder
from training.encoder.spec import EncoderSpec

FEATURES = FbankSpec(mels=16)


def write_speech(root: Path, recordings: int = 12) -> None:
    """Tones that change now and then, in a folder "talk", and noise in "noise"."""
    rng = np.random.default_rng(0)
    for folder, count in (("talk", recordings), ("noise", 2)):
        (root / folder).mkdir(parents=True)
        rows = []
        for number in range(count):
            pieces = [
                np.sin(np.arange(size) * rng.uniform(0.05, 1.0)) * rng.uniform(0.05, 0.3)
                for size in rng.integers(1_000, 4_000, 5)
            ]
            wave = np.concatenate(pieces) + rng.normal(0, 0.01, sum(map(len, pieces)))
            soundfile.write(root / folder / f"{number}.wav", wave, 16_000)
            split = ("train", "train", "test", "dev")[number % 4]
            row = {"audio": f"{number}.wav", "split": split, "speaker": f"s{number // 4}"}
            rows.append(row | {"text": "AB BA"[: 2 + number % 4], "label": "xy"[number % 2]})
        (root / folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def teacher(kind: str = "") -> tuple[EncoderTeacher, Units | None]:  # noqa: ARG001
    """Stands for `load_teacher`."""
    torch.manual_seed(7)
    spec = EncoderSpec(mels=16, layers=3, width=24, inner=24, heads=2, position_kernel=4, position_groups=2)
    return EncoderTeacher(Encoder(spec), "a random encoder", FEATURES), None
