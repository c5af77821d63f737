"""Protobuf's wire format, as much as model files need: a message is walked by hand, a field is written.

https://protobuf.dev/programming-guides/encoding/; no protobuf package is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class ModelFileError(ValueError):
    """A model file that is cut, damaged, not stamped, or not self-contained; the message says which."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: `number`, its varint `value`, or the bytes from `start` to `end`."""

    number: int
    value: int
    begin: int
    """Where the field's tag starts in the file."""
    start: int
    end: int


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ModelFileError(f"damaged: a number of more than ten bytes before byte {at}")
    raise ModelFileError(f"cut short: it ends within a number at byte {at}")


def walk(data: bytes, at: int, end: int) -> Iterator[Field]:
    """The fields of the message between two bytes of the file.

    Raises:
        ModelFileError: it is cut short, or no protobuf message.
    """
    while at < end:
        begin = at
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        value = 0
        if wire == _VARINT:
            start = at
            value, at = _varint(data, at, end)
        else:
            if wire == _BYTES:
                size, start = _varint(data, at, end)
            elif wire in (_FIXED64, _FIXED32):
                size, start = (8 if wire == _FIXED64 else 4), at
            else:
                raise ModelFileError(f"not an ONNX model, or damaged: wire type {wire} at byte {begin}")
            at = start + size
            if at > end:
                raise ModelFileError(
                    f"cut short: {size} bytes wanted from byte {start} on, {end - start} are left"
                )
        if number == 0:
            raise ModelFileError(f"not an ONNX model, or damaged: field number 0 at byte {begin}")
        yield Field(number, value, begin, start, at)


def delimited(number: int, content: bytes) -> bytes:
    """A field of bytes, as it is written: its tag, how many there are, and they."""
    return _number(number << 3 | _BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
