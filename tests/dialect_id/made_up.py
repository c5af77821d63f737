"""Languages that can be learnt in seconds: chords that alternate at a pace of their own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from stapes.samples import Samples
from training.encoder.spec import EncoderSpec

RATE = 16_000
SMALL = EncoderSpec(
    layers=2, width=16, inner=24, heads=2, position_kernel=6, position_groups=2, chunk=5, history=5
)
"""An encoder that is run in no time."""
PACES = {"aa": 2.0, "bb": 5.0, "cc": 11.0, "dd": 23.0}
"""Changes a second between a low chord and a high one."""


def speak(language: str, seconds: float, seed: int = 0) -> Samples:
    """A recording of one of `PACES`."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    low = (np.floor(time * PACES[language] + rng.uniform()) % 2)[:, None]
    hz = np.where(low > 0, rng.uniform(150, 700, 6), rng.uniform(900, 3000, 6))
    sound = 0.05 * np.sin(2 * np.pi * hz * time[:, None]).sum(1) + 0.002 * rng.standard_normal(len(time))
    return sound.astype(np.float32)


def write_set(folder: Path, rows: list[dict[str, Any]]) -> None:
    """A data folder: of each row, "audio", its sound ("language", or noise without one) of 1 to 3 s."""
    folder.mkdir(parents=True)
    lines = []
    for seed, row in enumerate(rows):
        path = folder / row["audio"]
        path.parent.mkdir(parents=True, exist_ok=True)
        seconds = 1.2 + seed % 3
        language = row.get("language")
        noise = 0.05 * np.random.default_rng(seed).standard_normal(RATE)
        soundfile.write(path, speak(language, seconds, seed) if language in PACES else noise, RATE)
        lines.append(json.dumps(row) + "\n")
    (folder / "manifest.jsonl").write_text("".join(lines), encoding="utf-8")


def data_sets(root: Path, each: int = 6) -> Path:
    """Folders "tongues" (train, test), "more" (train), "wild" (no language told) and "hum" (noise)."""
    write_set(
        root / "tongues",
        [
            {
                "audio": f"{language}/{split}{n}.wav",
                "split": split,
                "language": language,
                "recording": f"{language}{split}{n}",
            }
            for split, count in (("train", each), ("test", 2))
            for language in ("aa", "bb", "dd")
            for n in range(count)
        ],
    )
    write_set(
        root / "more",
        [
            {
                "audio": f"{language}{n}.wav",
                "split": "train",
                "language": language,
                "speaker": f"{language}s{n}",
            }
            for language in ("aa", "cc")
            for n in range(3)
        ],
    )
    write_set(root / "wild", [{"audio": f"{n}.wav", "split": "train", "language": "aa"} for n in range(2)])
    write_set(root / "hum", [{"audio": f"{n}.wav", "split": "train", "label": "hum"} for n in range(2)])
    return root
