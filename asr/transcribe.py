"""`python -m asr transcribe MODEL DIR OUT`: what Whisper makes of recordings, as pseudo-labels are made from.

The model is a folder as CTranslate2 keeps it, which packages carry; it does the work, in int8, greedily.
A clip is heard with six seconds of silence after it instead of up to Whisper's thirty: its encoder then costs
a quarter for short clips. Of 192 clips of Common Voice that left 14.4 % word errors, twenty-five seconds left
15.0; after three seconds texts are written twice (20.8).
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from asr.manifest import seconds
from training.audio import read_audio
from training.ctranslate2 import WeightsError
from training.utterances import ManifestError, Recording, read_manifest
from training.whisper_mel import HOP, RATE, WhisperMel

AFTER_SECONDS = 6.0
LONGEST_SECONDS = 30.0
"""What Whisper takes; recordings that are longer are left out."""
BATCH = 8
_TOGETHER = 512
"""Recordings sorted by length among each other, so that batches hold equals."""
_TOKENS_A_SECOND, _TOKENS_MORE = 8, 20
"""The most that are written: whoever repeats himself on noise is stopped."""

Samples = NDArray[np.float32]
"""(samples,) in [-1, 1] at 16 kHz."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard."""

    text: str
    score: float
    """Mean natural log-probability of its tokens."""


Transcriber = Callable[[Sequence[Samples]], list[Transcript]]
"""Clips of at most LONGEST_SECONDS to what is said in each, in their order."""


class Whisper:
    """A `Transcriber`: a multilingual Whisper that CTranslate2 runs."""

    def __init__(self, folder: Path, language: str = "en", threads: int = 1) -> None:
        """The model of a folder with model.bin, config.json and tokenizer.json.

        Args:
            folder: of it.
            language: one of Whisper's codes.
            threads: of each computation.

        Raises:
            WeightsError: a package or a file is missing, the model knows English alone, or not the language.
        """
        try:
            import ctranslate2
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise WeightsError(f"needs {error.name}: pip install 'stapes[train,transcribe]'") from None
        try:
            self._model = ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=threads)
            self._words = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # both libraries raise their own, and bare ones
            raise WeightsError(f"{folder} holds no Whisper for CTranslate2: {error}") from None
        if not self._model.is_multilingual:
            raise WeightsError(f"{folder} is a Whisper of English alone, which is asked in another way")
        names = ("<|startoftranscript|>", f"<|{language}|>", "<|transcribe|>", "<|notimestamps|>")
        self._prompt = [self._words.token_to_id(name) for name in names]
        if None in self._prompt:
            raise WeightsError(f"{folder} knows no {names[self._prompt.index(None)]}")
        self._view = ctranslate2.StorageView.from_array
        self._mel = WhisperMel(self._model.n_mels)

    def __call__(self, clips: Sequence[Samples]) -> list[Transcript]:
        """As `Transcriber`."""
        longest = max(len(clip) for clip in clips)
        window = window_samples(longest)
        padded = torch.zeros(len(clips), window)
        for row, clip in zip(padded, clips, strict=True):
            row[: len(clip)] = torch.from_numpy(clip[:window])
        heard = self._model.generate(
            self._view(self._mel(padded).numpy()),
            [self._prompt] * len(clips),
            beam_size=1,
            max_length=int(longest / RATE * _TOKENS_A_SECOND) + _TOKENS_MORE,
            return_scores=True,
        )
        return [
            Transcript(
                self._words.decode(each.sequences_ids[0], skip_special_tokens=True).strip(), each.scores[0]
            )
            for each in heard
        ]


def window_samples(longest: int) -> int:
    """Samples that clips are filled up to: whole steps of the encoder (20 ms), no more than Whisper takes."""
    step = 2 * HOP
    return min(longest + int(AFTER_SECONDS * RATE), int(LONGEST_SECONDS * RATE)) // step * step


def transcripts(
    recordings: Sequence[Recording], transcriber: Transcriber
) -> Iterator[tuple[Recording, Transcript]]:
    """What is said in each recording, a batch of like lengths at a time.

    Raises:
        AudioError: a recording that cannot be read.
    """
    for first in range(0, len(recordings), _TOGETHER):
        near = sorted(recordings[first : first + _TOGETHER], key=seconds)
        for at in range(0, len(near), BATCH):
            batch = near[at : at + BATCH]
            texts = transcriber([read_audio(row.audio, RATE) for row in batch])
            yield from zip(batch, texts, strict=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m asr transcribe`."""
    parser.add_argument("model", type=Path, help="folder of a Whisper for CTranslate2")
    parser.add_argument("folder", type=Path, metavar="DIR", help="with the recordings' manifest.jsonl")
    parser.add_argument("out", type=Path, help='JSON lines to write: "audio", "text", "score"')
    parser.add_argument("--language", default="en", help="Whisper's code of it")
    parser.add_argument("--threads", type=int, default=1)


def run(args: argparse.Namespace) -> str:
    """Writes a line a recording, goes on where it was stopped; says how many and how fast.

    Raises:
        ManifestError: no manifest, a line without "duration", or OUT is something else.
        WeightsError: no such model.
        AudioError: a recording that cannot be read.
    """
    recordings = read_manifest(args.folder)
    done = _done(args.out)
    new = [row for row in recordings if row.fields["audio"] not in done]
    fit = [row for row in new if 0 < seconds(row) <= LONGEST_SECONDS]
    transcriber = Whisper(args.model, args.language, args.threads)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with args.out.open("a", encoding="utf-8") as file:
        for row, found in tqdm(transcripts(fit, transcriber), total=len(fit), unit="clip", mininterval=5):
            line = {"audio": row.fields["audio"], "text": found.text, "score": round(found.score, 4)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
    heard = sum(map(seconds, fit))
    speed = f", {(time.perf_counter() - began) / heard:.3f} of their length" if fit else ""
    left_out = f"; {len(new) - len(fit)} empty or over {LONGEST_SECONDS:g} s" * (len(fit) < len(new))
    return f"{args.out}: {len(fit)} more of {len(recordings)}, {heard / 3600:.2f} h{speed}{left_out}"


def _done(out: Path) -> set[str]:
    """Audio of OUT's lines; a line that a stop cut short is taken off: others will follow."""
    if not out.exists():
        return set()
    data = out.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    try:
        if not whole and data and not data.startswith(b'{"audio": '):
            raise ValueError("no line is whole")
        rows = [json.loads(line) for line in whole.decode().split("\n") if line]
        done = {str(row["audio"]) for row in rows if (row["text"], row["score"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(f'{out} is there, without lines of "audio", "text", "score": {error!r}') from None
    os.truncate(out, len(whole))
    return done
