"""Makes the recording of `make demo`: synthetic voices say keywords amid other words, over faint noise.

python -m kws.demo examples/demo.wav --voices DIR        (DIR as `python -m kws.synth --setup` fills it)
"""

import argparse
import wave
from pathlib import Path

import numpy as np

from training.variants import speed
from training.voices import engine

RATE = 16_000
SCRIPT = (
    "Good morning.", "go", "Now turn", "left", "and then a little further", "right", "up", "down",
    "Is the lamp", "on", "or is it", "off", "yes", "no", "Thank you. That is enough.", "stop",
)  # fmt: skip
"""Keywords stand alone; the rest should stay unannounced."""
PAUSE_SECONDS = (0.9, 1.2)
NOISE_DB = -56.0
HASTE = 0.8
"""Below 1: spoken clearly, as to a device."""
SEED = 9


def make(voices: Path) -> np.ndarray:
    """(samples,) float32 at RATE, the same for the same voices."""
    rng = np.random.default_rng(SEED)
    speak = engine("kokoro", voices)
    parts = [np.zeros(RATE // 2, np.float32)]
    for words in SCRIPT:
        spoken = speak(words, rng, HASTE)
        samples = speed(spoken.samples, spoken.sample_rate / RATE)
        loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
        samples = samples[loud[0] : loud[-1]]
        pause = np.zeros(int(RATE * rng.uniform(*PAUSE_SECONDS)), np.float32)
        parts += [0.3 * samples / np.abs(samples).max(), pause]
    joined = np.concatenate(parts)
    noise = rng.standard_normal(len(joined)) * 10 ** (NOISE_DB / 20)
    return np.asarray(joined + noise, np.float32)


def main() -> None:
    """Writes the recording, 16-bit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--voices", type=Path, required=True)
    args = parser.parse_args()
    samples = make(args.voices)
    with wave.open(str(args.out), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
