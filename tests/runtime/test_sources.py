"""Sources: every sample format against its definition, files that lie, and pipes that close."""

import io
import os
import struct
import subprocess
import sys
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes.samples import Samples
from stapes.sources import ArraySource, FileSource, PcmSource, SourceError, WavSource, open_source, read
from stapes.wav import CompressedError
from tests.tools import needs
from tests.tools.riff import chunk, fmt, riff
from tests.tools.signals import words

SIGNAL = words()[14_000:22_000]


def encode(samples: Samples, bits: int, floating: bool) -> bytes:
    """Samples to little-endian bytes, by definition."""
    if floating:
        return samples.astype(f"<f{bits // 8}").tobytes()
    whole = np.clip(
        np.round(samples.astype(np.float64) * 2 ** (bits - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    )
    values = [int(v) for v in whole]
    if bits == 8:
        return bytes(v + 128 for v in values)
    return b"".join(v.to_bytes(bits // 8, "little", signed=True) for v in values)


def _write(tmp_path: Path, data: bytes, name: str = "x.wav") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


PCM16 = encode(SIGNAL, 16, False)
WHOLE16 = np.frombuffer(PCM16, "<i2").astype(np.float32) / np.float32(32768)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("bits", "floating"), [(8, False), (16, False), (24, False), (32, False), (32, True), (64, True)]
)
def test_every_format(tmp_path: Path, bits: int, floating: bool, extensible: bool) -> None:
    edges = np.array([-1, 0, 0.5, -0.5, 2.0**-20, 1 - 2.0**-24], np.float32)
    samples = np.concatenate([edges, SIGNAL])
    header = fmt(3 if floating else 1, bits=bits, rate=22_050, extensible=extensible)
    path = _write(tmp_path, riff(header, chunk(b"data", encode(samples, bits, floating))))
    found, rate = read(path)
    assert rate == 22_050
    assert found.dtype == np.float32
    step = 0 if floating else 0.5 / 2 ** (bits - 1)
    top = 0 if floating else 1 / 2 ** (bits - 1)  # 1 - 2^-24 does not fit
    np.testing.assert_allclose(found, samples, rtol=0, atol=max(step, top) + 2**-25)


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_against_soundfile(tmp_path: Path, bits: int) -> None:
    soundfile = needs.package("soundfile", "the oracle")
    stereo = np.stack([SIGNAL, SIGNAL[::-1]], axis=1)
    path = tmp_path / "x.wav"
    soundfile.write(path, stereo, 44_100, subtype=f"PCM_{bits}")
    expected, _ = soundfile.read(path, dtype="float64")
    found, rate = read(path)
    assert rate == 44_100
    np.testing.assert_allclose(found, expected.mean(axis=1), rtol=0, atol=2**-24)


def test_against_the_standard_library(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(PCM16)
    found, rate = read(path)
    np.testing.assert_array_equal(found, WHOLE16)
    assert rate == 8_000


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = SIGNAL[:100], SIGNAL[100:200]
    both = np.stack([left, right, right], axis=1).reshape(-1)
    path = _write(tmp_path, riff(fmt(3, 3, bits=32), chunk(b"data", encode(both, 32, True))))
    np.testing.assert_allclose(read(path)[0], (left + 2 * right.astype(np.float64)) / 3, atol=1e-7)


@pytest.mark.parametrize(
    "data",
    [
        riff(fmt(), chunk(b"data", PCM16, size=len(PCM16) + 1000)),
        riff(fmt(), chunk(b"data", PCM16, size=0xFFFFFFFF), size=0xFFFFFFFF),
        riff(fmt(), chunk(b"data", PCM16, size=0x7FFFFFF0)),
        riff(fmt(), chunk(b"data", PCM16, size=0), size=0),
        riff(fmt(), chunk(b"data", PCM16, size=0), size=36),
        riff(fmt(), chunk(b"data", PCM16), size=12),
        riff(fmt(), chunk(b"data", PCM16 + b"\x01")),
        riff(fmt(), chunk(b"data", PCM16, size=0xFFFFFFFF), kind=b"RF64"),
        riff(
            chunk(b"JUNK", b"odd"),
            fmt(),
            chunk(b"fact", b"\0" * 4),
            chunk(b"data", PCM16),
            chunk(b"LIST", b"z" * 9),
        ),
    ],
    ids=[
        "longer",
        "streamed",
        "2 GB",
        "never filled in",
        "header only",
        "riff",
        "half",
        "RF64",
        "more chunks",
    ],
)
def test_headers_that_lie(tmp_path: Path, data: bytes) -> None:
    np.testing.assert_array_equal(read(_write(tmp_path, data))[0], WHOLE16)


@pytest.mark.parametrize("align", [0, 1, 3, 255])
def test_a_wrong_block_align_is_not_believed(tmp_path: Path, align: int) -> None:
    header = bytearray(fmt())
    header[20:22] = struct.pack("<H", align)
    path = _write(tmp_path, riff(bytes(header), chunk(b"data", PCM16)))
    np.testing.assert_array_equal(read(path)[0], WHOLE16)


def test_24_bits_in_32(tmp_path: Path) -> None:
    header = bytearray(fmt(bits=32))
    header[22:24] = struct.pack("<H", 24)
    path = _write(tmp_path, riff(bytes(header), chunk(b"data", encode(SIGNAL, 32, False))))
    np.testing.assert_allclose(read(path)[0], SIGNAL, rtol=0, atol=2**-25)


def test_a_long_chunk_before_the_samples_is_skipped(tmp_path: Path) -> None:
    data = riff(fmt(), chunk(b"id3 ", bytes((1 << 24) + 1)), chunk(b"data", PCM16))
    np.testing.assert_array_equal(read(_write(tmp_path, data))[0], WHOLE16)


def test_more_than_4_gigabytes(tmp_path: Path) -> None:
    """RF64: the true length stands in a chunk of its own, and what follows the samples is no sound."""
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, len(PCM16), 0, 0))
    data = chunk(b"data", PCM16, size=0xFFFFFFFF)
    path = _write(
        tmp_path, riff(sizes, fmt(), data, chunk(b"LIST", b"z" * 500), size=0xFFFFFFFF, kind=b"RF64")
    )
    np.testing.assert_array_equal(read(path)[0], WHOLE16)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_wav_file_through_a_named_pipe(tmp_path: Path) -> None:
    """As `stapes run <(command)` gives one: it can be read once and has no suffix."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=(riff(fmt(), chunk(b"data", PCM16)),))
    thread.start()
    np.testing.assert_array_equal(read(path)[0], WHOLE16)
    thread.join()


def test_no_samples(tmp_path: Path) -> None:
    for data in (
        riff(fmt(), chunk(b"data", b"")),
        riff(fmt(), chunk(b"data", b""), chunk(b"LIST", b"z" * 8)),
    ):
        found, rate = read(_write(tmp_path, data))
        assert (found.shape, rate) == ((0,), 16_000)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty: it has no WAV header"),
        (b"these are my notes, not sound", "no WAV file: it starts with b'these are my'"),
        (b"RIFF\0\0\0\0AVI LIST", "no WAV file"),
        (riff(), "has no 'fmt' chunk"),
        (riff(fmt()), "has no 'data' chunk"),
        (riff(chunk(b"data", PCM16)), "no 'fmt' chunk before its samples"),
        (riff(chunk(b"fmt ", b"\1\0")), "chunk of 2 bytes, must be 16"),
        (riff(fmt())[:30], "cut short: 16 bytes of b'fmt ' promised, 10 are there"),
        (riff(chunk(b"LIST", b"x" * 8, size=2**31)), "cut short: 2147483648 bytes of b'LIST' promised"),
        (riff(fmt(4711), chunk(b"data", b"x")), "is compressed (format 4711)"),
        (riff(fmt(1, channels=0), chunk(b"data", b"x")), "0 channels"),
        (riff(fmt(1, rate=0), chunk(b"data", b"x")), "0 Hz"),
        (riff(fmt(1, bits=64), chunk(b"data", b"x")), "64 bits a sample, which are not read for PCM"),
        (riff(fmt(3, bits=16), chunk(b"data", b"x")), "16 bits a sample, which are not read for floating"),
    ],
)
def test_what_is_no_wav_is_named(tmp_path: Path, data: bytes, reason: str) -> None:
    path = _write(tmp_path, data)
    with pytest.raises(SourceError) as caught:
        open_source(path)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_damaged_files_are_read_or_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(riff(chunk(b"JUNK", b"abcd"), fmt(), chunk(b"data", PCM16[:200])))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, 63))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path = _write(tmp_path_factory.getbasetemp(), bytes(content))
    try:
        found, rate = read(path)
    except SourceError:
        return
    assert found.dtype == np.float32
    assert found.ndim == 1
    assert rate > 0


def test_missing_files() -> None:
    for name in ("no-such-file.wav", "no-such-file.flac"):
        with pytest.raises(FileNotFoundError, match="no-such-file"):
            open_source(name)
        with pytest.raises(FileNotFoundError, match="no-such-file"):
            FileSource(name)


def test_flac_and_ogg(tmp_path: Path) -> None:
    soundfile = needs.package("soundfile", "the optional reader")
    stereo = np.stack([SIGNAL, SIGNAL], axis=1)
    for name in ("x.flac", "x.ogg", "wav-inside.flac"):
        path = tmp_path / name
        if name == "wav-inside.flac":
            path.write_bytes(riff(fmt(), chunk(b"data", PCM16)))
        else:
            soundfile.write(path, stereo, 16_000)
        found, rate = read(path)
        assert rate == 16_000
        assert found.shape == SIGNAL.shape
        np.testing.assert_allclose(found, SIGNAL, atol=1e-4 if name.endswith("flac") else 0.2)
    with pytest.raises(SourceError, match=r"notes\.flac cannot be read: "):
        open_source(_write(tmp_path, b"these are my notes", "notes.flac"))


def test_a_compressed_wav_file_is_left_to_soundfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Telephony's mu-law: 8 bits of a logarithm."""
    path = _write(tmp_path, riff(fmt(7, bits=8), chunk(b"data", bytes(range(256)))))
    with pytest.raises(CompressedError, match=r"is compressed \(mu-law\)"):
        WavSource(path)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "soundfile", None)
        with pytest.raises(SourceError, match=r"\(mu-law\).* pip install 'stapes\[files\]'"):
            open_source(path)
    needs.package("soundfile", "the optional reader")
    codes = 255 - np.arange(256)  # ITU-T G.711: inverted; sign, three bits of exponent, four of mantissa
    size = ((2 * (codes & 15) + 33) << (codes >> 4 & 7)) - 33
    found, rate = read(path)
    np.testing.assert_array_equal(found, np.where(codes & 128, -4, 4) * size / 32768)
    assert rate == 16_000


def test_without_soundfile_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(SourceError, match=r"x\.flac: .* pip install 'stapes\[files\]'"):
        open_source(_write(tmp_path, b"fLaC", "x.flac"))


def test_ten_hours_need_no_memory(tmp_path: Path) -> None:
    """A sparse file of ten hours: read in blocks, each a tenth of a second."""
    path = _write(tmp_path, riff(fmt(rate=8_000, bits=8), chunk(b"data", b"", size=36_000 * 8_000)))
    os.truncate(path, 44 + 36_000 * 8_000)
    source = WavSource(path)
    lengths = {len(block) for block in source}
    source.close()
    assert lengths == {800}


def test_array_source() -> None:
    np.testing.assert_array_equal(np.concatenate(list(ArraySource(SIGNAL))), SIGNAL)
    assert list(ArraySource(np.zeros(0, np.float32))) == []
    with pytest.raises(ValueError, match="one axis"):
        ArraySource(np.zeros((2, 3), np.float32))


class _Drip(io.RawIOBase):
    """A pipe that gives so many bytes a call."""

    def __init__(self, data: bytes, lengths: list[int], broken: bool = False) -> None:
        self._data, self._lengths, self._broken = data, lengths, broken

    def read(self, size: int = -1) -> bytes:
        n = min(self._lengths.pop(0) if self._lengths else size, size)
        out, self._data = self._data[:n], self._data[n:]
        if not out and self._broken:
            raise ConnectionResetError
        return out


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 99), max_size=30), broken=st.booleans(), half=st.booleans())
def test_odd_pieces_of_a_pipe(lengths: list[int], broken: bool, half: bool) -> None:
    data = PCM16[:3000] + (b"\x7f" if half else b"")
    source = PcmSource(_Drip(data, lengths, broken))  # type: ignore[arg-type]
    found = np.concatenate([np.zeros(0, np.float32), *source])
    np.testing.assert_array_equal(found, WHOLE16[:1500])


def test_a_real_pipe_gives_what_there_is_and_ends() -> None:
    reader, writer = os.pipe()
    source = PcmSource(os.fdopen(reader, "rb"))
    blocks = iter(source)
    os.write(writer, PCM16[:7])
    np.testing.assert_array_equal(next(blocks), WHOLE16[:3])  # at once, though a block would be longer
    thread = threading.Thread(target=lambda: (os.write(writer, PCM16[7:3000]), os.close(writer)))
    thread.start()
    np.testing.assert_array_equal(np.concatenate(list(blocks)), WHOLE16[3:1500])
    thread.join()
    source.close()


def test_a_pipe_from_a_process_that_dies() -> None:
    code = "import sys, os; sys.stdout.buffer.write(b'\\x01\\x02\\x03'); sys.stdout.flush(); os._exit(1)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = np.concatenate(list(PcmSource(process.stdout)))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, np.array([513], np.float32) / 32768)
