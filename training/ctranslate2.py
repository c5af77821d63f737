"""Weights out of a CTranslate2 model file, for teachers that are packaged in no other form.

The format (its version 6): a header of version, the model's kind and revision; then named arrays, each with
rank, axes, type and bytes; then further names of the same arrays. All numbers little-endian, strings with
their length before them and a zero byte after.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_KINDS = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_BFLOAT16 = 5


class WeightsError(ValueError):
    """Weights that are missing or not understood; the message names the file or the array."""


@dataclass(slots=True)
class _Reader:
    data: memoryview
    at: int = 0

    def number(self, kind: str) -> int:
        (value,) = struct.unpack_from(f"<{kind}", self.data, self.at)
        self.at += struct.calcsize(f"<{kind}")
        return int(value)

    def bytes(self, count: int) -> memoryview:
        if self.at + count > len(self.data):
            raise WeightsError(f"the file ends at byte {len(self.data)}, {self.at + count} were promised")
        self.at += count
        return self.data[self.at - count : self.at]

    def text(self) -> str:
        return bytes(self.bytes(self.number("H"))).rstrip(b"\0").decode()


def read_model(folder: Path) -> tuple[str, dict[str, Tensor]]:
    """The model of a folder, whole (model.bin) or in parts (model.bin.part1, …) anywhere below it.

    Returns:
        The model's kind ("WhisperSpec", …), and its arrays by name, aliases included.

    Raises:
        WeightsError: no such file, or one that is not understood.
    """
    parts = sorted(folder.rglob("model.bin")) or sorted(folder.rglob("model.bin.part*"))
    if not parts:
        raise WeightsError(f"{folder} holds neither model.bin nor model.bin.part1")
    if parts[0].name == "model.bin":
        parts = parts[:1]
    return parse(b"".join(part.read_bytes() for part in parts))


def parse(data: bytes) -> tuple[str, dict[str, Tensor]]:
    """`read_model` of a file's bytes."""
    read = _Reader(memoryview(data))
    try:
        version = read.number("I")
        if not 4 <= version <= 6:
            raise WeightsError(f"file version {version}, only 4 to 6 are read")
        kind = read.text()
        read.number("I")  # the kind's revision
        arrays = {read.text(): _array(read) for _ in range(read.number("I"))}
        for _ in range(read.number("I")):
            alias, name = read.text(), read.text()
            arrays[alias] = arrays[name]
    except (struct.error, UnicodeDecodeError, KeyError) as error:
        raise WeightsError(f"no CTranslate2 model: {error!r} at byte {read.at}") from None
    return kind, arrays


def _array(read: _Reader) -> Tensor:
    shape = [read.number("I") for _ in range(read.number("B"))]
    kind, count = read.number("B"), read.number("I")
    data = bytearray(read.bytes(count))  # a copy that torch may write to
    if kind == _BFLOAT16:
        return torch.frombuffer(data, dtype=torch.bfloat16).reshape(shape)
    if kind not in _KINDS:
        raise WeightsError(f"arrays of type {kind} are not known")
    return torch.from_numpy(np.frombuffer(data, _KINDS[kind]).reshape(shape))
