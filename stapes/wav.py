"""WAV files: the RIFF headers that are met in practice, lying ones included, and samples as float32."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from stapes.samples import Samples

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_SIZE: Final = 0xFFFFFFFF
_LONGEST_HEADER: Final = 1 << 10
"""Bytes of a chunk that are kept; what is longer is no format, and is skipped."""
_NAMES: Final = {2: "Microsoft ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 80: "MPEG", 85: "MP3"}


class SourceError(ValueError):
    """Sound that cannot be read; the message says from where and why."""


class CompressedError(SourceError):
    """A WAV file that holds neither PCM nor floating point, such as telephony's mu-law."""


@dataclass(frozen=True, slots=True)
class WavFormat:
    """What the header says, checked against what can be read."""

    sample_rate: int
    channels: int
    bits: int
    """8, 16, 24 or 32 for whole numbers, 32 or 64 for floating point."""
    floating: bool

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8


def read_header(file: BinaryIO, name: str) -> tuple[WavFormat, int | None]:
    """Reads up to the first sample.

    Args:
        file: at its start.
        name: of the file, for the messages.

    Returns:
        The format, and the bytes of samples that the header promises: None if it promises none. There may
        be fewer in the file; a recorder that was cut off leaves 0 or a lie there.

    Raises:
        SourceError: no WAV file, or one in a format that is not read; CompressedError if soundfile may.
    """
    head = file.read(12)
    if not head:
        raise SourceError(f"{name} is empty: it has no WAV header")
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise SourceError(f"{name} is no WAV file: it starts with {head!r}")
    riff_end = struct.unpack("<I", head[4:8])[0] + 8
    at = 12
    found: WavFormat | None = None
    long_size: int | None = None
    while True:
        chunk = file.read(8)
        if len(chunk) < 8:
            missing = "data" if found else "fmt"
            raise SourceError(f"{name} is cut short: its header has no {missing!r} chunk")
        kind, size = chunk[:4], struct.unpack("<I", chunk[4:])[0]
        at += 8
        if kind == b"data":
            if found is None:
                raise SourceError(f"{name} has no 'fmt' chunk before its samples")
            # A recorder fills in the lengths at its end. Where it never came to that both are still 0.
            unfinished = size == 0 and riff_end <= at
            return found, long_size if size == _UNKNOWN_SIZE else None if unfinished else size
        content, there = _chunk(file, size)
        if there < size:
            raise SourceError(f"{name} is cut short: {size} bytes of {kind!r} promised, {there} are there")
        at += there
        if kind == b"fmt ":
            found = _format(content, name)
        elif kind == b"ds64" and size >= 16:
            long_size = struct.unpack("<Q", content[8:16])[0]  # RF64: more than 4 GiB


def _chunk(file: BinaryIO, size: int) -> tuple[bytes, int]:
    """The first bytes of a chunk's content, and how many there were in all, with the padding."""
    content = b""
    left = size + size % 2
    while left and (raw := file.read(min(left, 1 << 16))):
        content += raw[: _LONGEST_HEADER - len(content)]
        left -= len(raw)
    return content, size + size % 2 - left


def _format(content: bytes, name: str) -> WavFormat:
    if len(content) < 16:
        raise SourceError(f"{name} has a 'fmt' chunk of {len(content)} bytes, must be 16 or more")
    code, channels, rate, _, align, bits = struct.unpack("<HHIIHH", content[:16])
    if code == _EXTENSIBLE and len(content) >= 26:
        code = struct.unpack("<H", content[24:26])[0]  # the subformat's first two bytes; the rest is fixed
    if code not in (_PCM, _FLOAT):
        raise CompressedError(
            f"{name} is compressed ({_NAMES.get(code, f'format {code}')}): only PCM and float are read"
        )
    floating = code == _FLOAT
    # A sample sits in whole bytes, at the top: 20 bits in 24, or 24 in 32 where the alignment says so.
    bits = -(-bits // 8) * 8
    if channels and align == 4 * channels and bits == 24:
        bits = 32
    if bits not in ((32, 64) if floating else (8, 16, 24, 32)):
        kind = "floating point" if floating else "PCM"
        raise SourceError(f"{name} has {bits} bits a sample, which are not read for {kind}")
    if not channels or not rate:
        raise SourceError(f"{name} says that it has {channels} channels and {rate} Hz")
    return WavFormat(rate, channels, bits, floating)


def decode(raw: bytes, form: WavFormat) -> Samples:
    """Whole frames of bytes to (samples,) in [-1, 1]: the mean of the channels."""
    values: NDArray[np.float32]
    if form.floating:
        with np.errstate(over="ignore"):
            values = np.frombuffer(raw, f"<f{form.bits // 8}").astype(np.float32)
    elif form.bits == 8:
        values = (np.frombuffer(raw, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    elif form.bits == 24:
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        values = (wide.view("<i4").reshape(-1) / 2.0**31).astype(np.float32)
    else:
        values = (np.frombuffer(raw, f"<i{form.bits // 8}") / 2.0 ** (form.bits - 1)).astype(np.float32)
    return mono(values.reshape(-1, form.channels))


def mono(values: NDArray[np.float32]) -> Samples:
    """(samples, channels) to (samples,): their mean, rounded once."""
    if values.shape[1] == 1:
        return np.ascontiguousarray(values[:, 0])
    with np.errstate(invalid="ignore"):  # infinities of both signs
        mean: Samples = values.mean(axis=1, dtype=np.float64).astype(np.float32)
    return mean


def blocks(file: BinaryIO, form: WavFormat, size: int | None, block: int) -> Iterator[Samples]:
    """The samples from where `file` stands on.

    Args:
        file: after the header.
        form: the format.
        size: bytes to read at most; None: to the end.
        block: samples at a time.
    """
    left = size
    while left is None or left >= form.frame_bytes:
        want = block * form.frame_bytes
        raw = file.read(want if left is None else min(want, left))
        whole = len(raw) - len(raw) % form.frame_bytes
        if not whole:
            return
        yield decode(raw[:whole], form)
        if whole < len(raw):
            return
        left = None if left is None else left - len(raw)
