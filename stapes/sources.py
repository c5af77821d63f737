"""Where sound comes from. All but `ArraySource` read block by block, so a file of ten hours needs no memory.

A source is whatever has a sample rate, blocks to iterate over and a way to close it; see `Source`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import numpy as np

from stapes import wav
from stapes.samples import Samples, as_samples
from stapes.wav import CompressedError, SourceError

BLOCK_MS: Final = 100
"""Length of the blocks of sources that may choose."""


@dataclass(frozen=True, slots=True)
class Lost:
    """In the place of a block: sound that never arrived, such as when a device's buffer ran over."""

    samples: int
    """How many, at the source's rate."""


class Source(Protocol):
    """What `stapes.run` reads from."""

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        ...

    def __iter__(self) -> Iterator[Samples | Lost]:
        """Blocks of (samples,) float32 in [-1, 1], of any lengths, until the sound ends."""
        ...

    def close(self) -> None:
        """Lets go of files and devices. Twice is fine."""
        ...


class ArraySource:
    """Samples that are in memory."""

    def __init__(self, samples: Samples, sample_rate: int = 16_000) -> None:
        """Takes (samples,) float32 in [-1, 1]. Raises TypeError, ValueError for other arrays."""
        self.sample_rate = sample_rate
        self._samples = as_samples(samples)

    def __iter__(self) -> Iterator[Samples]:
        block = _block(self.sample_rate)
        for at in range(0, self._samples.size, block):
            yield self._samples[at : at + block]

    def close(self) -> None:
        """Nothing to let go of."""


class WavSource:
    """A WAV file: PCM of 8, 16, 24 or 32 bits or floating point; channels are averaged.

    Where the header promises more samples than there are, those that are there are read.
    """

    sample_rate: int
    """Samples a second."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens a file and reads its header.

        Raises:
            OSError: no such file.
            SourceError: no WAV file, or one that is compressed.
        """
        self._file = Path(path).open("rb")  # noqa: SIM115 - close() closes it
        try:
            self._format, self._size = wav.read_header(self._file, str(path))
        except BaseException:
            self._file.close()
            raise
        self.sample_rate = self._format.sample_rate

    def __iter__(self) -> Iterator[Samples]:
        return wav.blocks(self._file, self._format, self._size, _block(self.sample_rate))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class FileSource:
    """A FLAC, Ogg, Opus, MP3, AIFF … file, through the soundfile package; channels are averaged."""

    sample_rate: int
    """Samples a second."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens a file.

        Raises:
            OSError: no such file.
            SourceError: soundfile is not installed, or cannot read the file.
        """
        path = Path(path)
        path.open("rb").close()  # soundfile's own message for a missing file is "System error."
        try:
            import soundfile
        except ModuleNotFoundError:
            raise SourceError(
                f"{path}: files other than plain WAV need the soundfile package: pip install 'stapes[files]'"
            ) from None
        self._broken: type[Exception] = soundfile.LibsndfileError
        self._path = path
        try:
            self._file: Any = soundfile.SoundFile(path)
        except soundfile.LibsndfileError as error:
            raise SourceError(f"{path} cannot be read: {error.error_string}") from None
        self.sample_rate = self._file.samplerate

    def __iter__(self) -> Iterator[Samples]:
        block = _block(self.sample_rate)
        while True:
            try:
                values = self._file.read(block, dtype="float32", always_2d=True)
            except self._broken as error:
                raise SourceError(f"{self._path} is damaged: {error}") from None
            if not len(values):
                return
            yield wav.mono(values)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class PcmSource:
    """Raw signed 16-bit little-endian mono samples from a pipe, a socket's file or stdin, until it ends.

    What is there is given at once, however little; a byte that is half a sample waits for the other half,
    and at the end is dropped.
    """

    def __init__(self, file: BinaryIO, sample_rate: int = 16_000) -> None:
        self.sample_rate = sample_rate
        self._file = file

    def __iter__(self) -> Iterator[Samples]:
        # read1 of a buffered file returns what there is; read of an unbuffered one (a raw pipe) does too.
        read = getattr(self._file, "read1", self._file.read)
        size = 2 * _block(self.sample_rate)
        odd = b""
        while True:
            try:
                raw = read(size)
            except ConnectionError:
                return  # the other end is gone: to the listener that is the end of the sound
            if not raw:
                return
            raw = odd + raw
            whole = len(raw) // 2 * 2
            odd = raw[whole:]
            yield np.frombuffer(raw[:whole], "<i2").astype(np.float32) / np.float32(32768)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def open_source(path: str | os.PathLike[str]) -> WavSource | FileSource:
    """A source for a sound file, by what it holds; a file named .wav must be one, and so must a named pipe.

    A WAV file that is compressed is left to soundfile.

    Raises:
        OSError: no such file.
        SourceError: it cannot be read; the message says why.
    """
    path = Path(path)
    if path.is_fifo():
        return WavSource(path)  # what is read of a pipe is gone
    with path.open("rb") as file:
        head = file.read(12)
    if (head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE") or path.suffix.lower() == ".wav":
        try:
            return WavSource(path)
        except CompressedError as error:
            try:
                return FileSource(path)
            except SourceError as other:
                raise SourceError(f"{error}; {other}") from None
    return FileSource(path)


def read(path: str | os.PathLike[str]) -> tuple[Samples, int]:
    """A whole file: (samples,) float32 in [-1, 1], and the sample rate. Raises as `open_source`."""
    source = open_source(path)
    try:
        return np.concatenate([np.zeros(0, np.float32), *source]), source.sample_rate
    finally:
        source.close()


def _block(sample_rate: int) -> int:
    return max(1, sample_rate * BLOCK_MS // 1000)


__all__ = [
    "ArraySource",
    "FileSource",
    "Lost",
    "PcmSource",
    "Source",
    "SourceError",
    "WavSource",
    "open_source",
    "read",
]
