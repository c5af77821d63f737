"""A teacher's features of a manifest's recordings, computed once.

`python -m training.whisper_cache FOLDER OUT --whisper WEIGHTS`, or `write_features`.

OUT then holds frames.npy, float16 (frames of all recordings, layers · width), mapped into memory by readers;
index.json, {the manifest's "audio": [start, end]}; about.json: layers, frame period, teacher. With languages
asked for also posteriors.npy, float32 (recordings in the index's order, 99), and classes.json, their codes.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from training.atomic import replacing
from training.audio import AudioError, read_audio
from training.utterances import Recording, read_manifest
from training.whisper import LANGUAGES, WINDOW, WhisperTeacher
from training.whisper_mel import FFT, RATE

_TOGETHER = 30 * RATE
"""Samples of clips of one length that are computed at once."""
_WAITING = 600 * RATE
"""Samples that wait for more of their length."""
_COPY = 1 << 16
"""Frames copied at a time."""


class Hears(Protocol):
    """Whose features are stored: Whisper, or any other teacher with frames of 20 ms."""

    @property
    def name(self) -> str:
        """For about.json."""

    @property
    def width(self) -> int:
        """Of a feature."""

    def features(self, waves: Tensor, layers: Sequence[int]) -> tuple[Tensor, ...]:
        """(batch, frames, width) of each layer for (batch, samples) at 16 kHz."""


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """What is kept."""

    layers: tuple[int, ...] = (-1,)
    """As in the teacher's `features`; several lie side by side in a frame."""
    rate_ms: int = 20
    """Period of the frames: a multiple of 20, of which the mean is taken."""
    languages_s: int = 0
    """Window of the posterior over languages, in seconds; 0: none. 30 is what Whisper was trained on."""

    def __post_init__(self) -> None:
        if self.rate_ms < 20 or self.rate_ms % 20:
            raise ValueError(f"frames of {self.rate_ms} ms: wants a multiple of 20")
        if not 0 <= self.languages_s <= 30:
            raise ValueError(f"a window of {self.languages_s} s for languages: wants 0 to 30")


@dataclass(frozen=True, slots=True)
class Cached:
    """What `write_features` wrote, for readers."""

    frames: NDArray[np.float16]
    index: dict[str, tuple[int, int]]
    spec: CacheSpec

    @classmethod
    def open(cls, folder: Path | str) -> "Cached":
        """The features of a folder, memory-mapped.

        Raises:
            FileNotFoundError: nothing finished lies there.
        """
        folder = Path(folder)
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        spec = CacheSpec(tuple(about["layers"]), about["rate_ms"], about["languages_s"])
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        return cls(
            np.load(folder / "frames.npy", mmap_mode="r"), {k: tuple(v) for k, v in index.items()}, spec
        )

    def __getitem__(self, key: str) -> NDArray[np.float16]:
        """(frames, layers · width) of a recording."""
        start, end = self.index[key]
        return self.frames[start:end]


def write_features(recordings: Sequence[Recording], out: Path, teacher: Hears, spec: CacheSpec) -> None:
    """Writes the features of recordings; an interrupted call is taken up where it stopped.

    Args:
        recordings: with different "audio".
        out: folder, made if need be.
        teacher: whose features.
        spec: which of them.

    Raises:
        AudioError: a recording cannot be read.
        ValueError: `out` holds other features, or a part of them.
    """
    out.mkdir(parents=True, exist_ok=True)
    about = asdict(spec) | {"teacher": teacher.name, "width": teacher.width, "recordings": len(recordings)}
    about = json.loads(json.dumps(about))
    if (out / "about.json").exists():
        if json.loads((out / "about.json").read_text(encoding="utf-8")) == about:
            return
        raise ValueError(f"{out} holds other features: {(out / 'about.json').read_text(encoding='utf-8')}")
    codes = LANGUAGES if spec.languages_s and isinstance(teacher, WhisperTeacher) else ()
    width = teacher.width * len(spec.layers)
    raw, log, guesses = (out / f"draft.{end}" for end in ("frames", "jsonl", "languages"))
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    if rows and rows[0] != about:
        raise ValueError(f"{out} holds a part of other features: {rows[0]}")
    ends: dict[str, int] = {row["key"]: row["end"] for row in rows[1:]}
    with (
        raw.open("ab") as frames,
        guesses.open("ab") as languages,
        log.open("w", encoding="utf-8") as lines_out,
    ):
        # What was written after the last complete line is dropped.
        at = max(ends.values(), default=0)
        frames.truncate(at * width * 2)
        languages.truncate(len(ends) * 4 * len(codes))
        lines_out.writelines(json.dumps(row) + "\n" for row in [about, *rows[1:]])
        left = [each for each in recordings if str(each.fields["audio"]) not in ends]
        bar = tqdm(desc=out.name, total=len(recordings), initial=len(ends), mininterval=5)
        for keys, waves in _together(left):
            made = teacher_frames(teacher, waves, spec).numpy().astype(np.float16)
            if codes and isinstance(teacher, WhisperTeacher):
                posteriors, _ = teacher.languages(waves, spec.languages_s * RATE)
                languages.write(posteriors.numpy().astype(np.float32).tobytes())
                languages.flush()
            frames.write(made.tobytes())
            frames.flush()
            for key in keys:
                at += made.shape[1]
                ends[key] = at
                lines_out.write(json.dumps({"key": key, "end": at}) + "\n")
            lines_out.flush()
            bar.update(len(keys))
        bar.close()
    _finish(out, ends, width, about, codes)
    for path in (raw, guesses, log):
        path.unlink()


def teacher_frames(teacher: Hears, waves: Tensor, spec: CacheSpec) -> Tensor:
    """(batch, frames, layers · width) of clips of any one length; beyond 30 s they are heard in parts."""
    parts: list[Tensor] = []
    for part in torch.split(waves, WINDOW, 1):
        if part.shape[1] < FFT and parts:
            continue
        heard = F.pad(part, (0, max(0, FFT - part.shape[1])))
        frames = torch.cat(teacher.features(heard, spec.layers), -1)
        short = part.shape[1] // 320 - frames.shape[1]  # of those that make no frame of a part's end
        parts.append(torch.cat((frames, frames[:, -1:].expand(-1, max(0, short), -1)), 1))
    frames = torch.cat(parts, 1)
    step = spec.rate_ms // 20
    if step == 1:
        return frames
    return F.avg_pool1d(frames.transpose(1, 2), step, ceil_mode=True).transpose(1, 2)


def _together(recordings: Sequence[Recording]) -> Iterator[tuple[list[str], Tensor]]:
    """Recordings in batches of one length."""
    waiting: dict[int, list[tuple[str, NDArray[np.float32]]]] = {}
    for recording in recordings:
        samples = read_audio(recording.audio, RATE)
        group = waiting.setdefault(len(samples), [])
        group.append((str(recording.fields["audio"]), samples))
        if len(samples) * (len(group) + 1) > _TOGETHER:
            yield _batch(waiting.pop(len(samples)))
        if sum(length * len(each) for length, each in waiting.items()) > _WAITING:
            yield from (_batch(each) for each in waiting.values())
            waiting.clear()
    yield from (_batch(each) for each in waiting.values())


def _batch(group: list[tuple[str, NDArray[np.float32]]]) -> tuple[list[str], Tensor]:
    return [key for key, _ in group], torch.from_numpy(np.stack([samples for _, samples in group]))


def _finish(
    out: Path, ends: dict[str, int], width: int, about: dict[str, object], codes: Sequence[str]
) -> None:
    total = max(ends.values(), default=0)
    with replacing(out / "frames.npy") as draft, (out / "draft.frames").open("rb") as raw:
        frames = np.lib.format.open_memmap(draft, "w+", np.float16, (total, width))
        for start in range(0, total, _COPY):
            count = min(_COPY, total - start) * width
            frames[start : start + _COPY] = np.fromfile(raw, np.float16, count).reshape(-1, width)
        frames.flush()
    if codes:
        with replacing(out / "posteriors.npy") as draft, draft.open("wb") as file:
            np.save(file, np.fromfile(out / "draft.languages", np.float32).reshape(-1, len(codes)))
        _write_json(out / "classes.json", codes)
    starts = [0, *ends.values()]
    _write_json(out / "index.json", {key: [starts[i], end] for i, (key, end) in enumerate(ends.items())})
    _write_json(out / "about.json", about)


def _write_json(path: Path, value: object) -> None:
    with replacing(path) as draft:
        draft.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.whisper_cache", description=__doc__)
    parser.add_argument("folder", type=Path, help="with a manifest.jsonl")
    parser.add_argument("out", type=Path)
    parser.add_argument("--whisper", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--layers", type=int, nargs="+", default=[-1])
    parser.add_argument("--rate-ms", type=int, default=20)
    parser.add_argument("--languages-s", type=int, default=0, help="window of the language posterior")
    parser.add_argument("--splits", nargs="+", help="only these")
    args = parser.parse_args(argv)
    try:
        heard = read_manifest(args.folder)
        recordings = [each for each in heard if not args.splits or each.split in args.splits]
        spec = CacheSpec(tuple(args.layers), args.rate_ms, args.languages_s)
        write_features(recordings, args.out, WhisperTeacher.load(args.whisper), spec)
    except (AudioError, ValueError, OSError) as error:
        sys.stderr.write(f"python -m training.whisper_cache: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
