"""WAV files for tests, byte by byte, honest or not."""

import struct


def chunk(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    """A RIFF chunk; `size` is what it says of itself, if that is a lie."""
    said = len(content) if size is None else size
    return kind + struct.pack("<I", said) + content + b"\0" * (len(content) % 2)


def fmt(
    code: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, extensible: bool = False
) -> bytes:
    align = channels * bits // 8
    plain = struct.pack("<HHIIHH", 0xFFFE if extensible else code, channels, rate, rate * align, align, bits)
    if not extensible:
        return chunk(b"fmt ", plain)
    guid = struct.pack("<H", code) + bytes.fromhex("000000001000800000aa00389b71")
    return chunk(b"fmt ", plain + struct.pack("<HHI", 22, bits, 4) + guid)


def riff(*chunks: bytes, size: int | None = None, kind: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return kind + struct.pack("<I", len(body) if size is None else size) + body
