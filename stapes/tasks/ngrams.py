"""A language model of symbols: how likely each symbol is after those before it.

N-grams with back-off lie in a trie. Those of one length stand in order of their context, so that what may
follow a context stands side by side, in order of symbol. Of most n-grams nothing is told of what follows
them: a bit of their symbol says so, and only the others have a back-off and a count of followers.
Probabilities and back-offs are bytes, the places of values in a table. After its header the file is deflated;
little more than sums is computed of it, when it is first asked.
"""

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stapes.spec import SpecError
from stapes.tasks.symbols import FORWARDS

MAGIC: Final = b"stapesLM"
VERSION: Final = 2
HEADER: Final = struct.Struct("<8sII32sI")
"""Magic, version, labels, SHA-256 of the labels, order; then a uint32 for each length, its n-grams, and
again for each length, those of them that others follow; then the sections, in one zlib stream."""
CODES: Final = 256
FOLLOWED: Final = 1 << 15
"""The bit of an n-gram's symbol that says that others follow it."""
States = NDArray[np.int64]
"""(texts, order - 1), of texts so far: the numbers of each one's last symbol, last two, …, among n-grams of
that length that others follow; ABSENT: not there."""
ABSENT: Final = -1
_MOST_ORDER = 16
_MOST_DEFLATED = 1032
"""Bytes that deflate makes one of, at best."""


def fingerprint(labels: Sequence[str]) -> bytes:
    """By which a language model knows its labels."""
    return hashlib.sha256("\n".join(labels).encode()).digest()


def sections(counts: Sequence[int], followed: Sequence[int]) -> dict[str, tuple[type[np.generic], int]]:
    """What the zlib stream holds, in this order: name to type and number of values.

    Args:
        counts: n-grams of each length; of length one there are as many as labels.
        followed: those of each length that others follow; of length one all count, of the longest none.
    """
    longer = range(2, len(counts) + 1)
    parts: dict[str, tuple[type[np.generic], int]] = {"first": (np.float32, counts[0])}
    parts |= {f"values {n}": (np.float32, CODES) for n in longer}
    parts |= {f"back-offs {n}": (np.float32, CODES) for n in longer}
    parts |= {f"followers {n}": (np.uint16, followed[n - 2]) for n in longer}
    parts |= {f"symbol {n}": (np.uint16, counts[n - 1]) for n in longer}
    parts |= {f"value {n}": (np.uint8, counts[n - 1]) for n in longer}
    parts |= {f"back-off {n}": (np.uint8, followed[n - 2]) for n in longer}
    return parts


def table_bytes(counts: Sequence[int], followed: Sequence[int]) -> int:
    """Of all `sections` together, inflated."""
    return sum(np.dtype(kind).itemsize * n for kind, n in sections(counts, followed).values())


@dataclass(frozen=True, slots=True)
class _Level:
    """N-grams of one length, by their contexts."""

    ends: NDArray[np.int64]
    """(contexts + 1,): those after context c are ends[c] up to ends[c + 1]."""
    back_off: NDArray[np.uint8]
    back_offs: NDArray[np.float32]
    """Values of the codes before: log-factor of shorter n-grams, for each context."""
    symbol: NDArray[np.uint16]
    number: NDArray[np.int32]
    """Of each as a context; ABSENT: none."""
    value: NDArray[np.uint8]
    values: NDArray[np.float32]
    """Log-probabilities."""

    def followers(self, contexts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All that follow some contexts, ABSENT ones too: the context's place among these, and their own."""
        known = np.flatnonzero(contexts != ABSENT)
        starts = self.ends[contexts[known]]
        counts = self.ends[contexts[known] + 1] - starts
        texts = np.repeat(known, counts)
        before = np.cumsum(counts) - counts
        return texts, np.arange(len(texts)) + np.repeat(starts - before, counts)


class Ngrams:
    """The table. States go along with texts, many at once; `rows` says what may follow."""

    def __init__(self, data: bytes, labels: Sequence[str]) -> None:
        """The table in a model file.

        Args:
            data: of it.
            labels: of the model.

        Raises:
            SpecError: not a language model, cut, of another version, or made for other labels.
        """
        self._counts, self._followed = _header(data, labels)
        self._body = _body(data, self._counts, self._followed)

    @property
    def order(self) -> int:
        """Symbols of the longest n-grams."""
        return len(self._counts)

    @property
    def start(self) -> States:
        """Of one text that begins."""
        state = np.full((1, self.order - 1), ABSENT)
        state[:, :1] = FORWARDS
        return state

    def after(self, states: States, symbols: NDArray[np.int64]) -> States:
        """The states once a symbol (texts,) has been written after each text."""
        following = np.full_like(states, ABSENT)
        following[:, :1] = symbols[:, None]
        for column, level in enumerate(self._levels[:-1]):
            texts, places = level.followers(states[:, column])
            found = level.symbol[places] == symbols[texts]
            following[texts[found], column + 1] = level.number[places[found]]
        return following

    def rows(self, states: States) -> NDArray[np.float32]:
        """(texts, labels) natural log-probability of each symbol that may come next."""
        logs = np.repeat(self._first[None], len(states), axis=0)
        for column, level in enumerate(self._levels):
            contexts = states[:, column]
            known = np.flatnonzero(contexts != ABSENT)
            logs[known] += level.back_offs[level.back_off[contexts[known]]][:, None]
            texts, places = level.followers(contexts)
            logs[texts, level.symbol[places]] = level.values[level.value[places]]
        return logs

    @cached_property
    def _first(self) -> NDArray[np.float32]:
        return self._parts["first"]

    @cached_property
    def _parts(self) -> dict[str, NDArray[Any]]:
        parts, at = {}, 0
        for name, (kind, size) in sections(self._counts, self._followed).items():
            parts[name] = np.frombuffer(self._body, np.dtype(kind).newbyteorder("<"), size, at)
            at += parts[name].nbytes
        return parts

    @cached_property
    def _levels(self) -> tuple[_Level, ...]:
        """N-grams of two symbols and more.

        Raises:
            SpecError: the numbers of n-grams contradict each other.
        """
        levels = []
        for n in range(2, self.order + 1):
            part = {name.rpartition(" ")[0]: x for name, x in self._parts.items() if name.endswith(f" {n}")}
            ends = np.zeros(self._followed[n - 2] + 1, np.int64)
            np.cumsum(part["followers"], out=ends[1:])
            symbol, inner = part["symbol"] & np.uint16(FOLLOWED - 1), part["symbol"] >= FOLLOWED
            number = np.where(inner, np.cumsum(inner, dtype=np.int32) - 1, np.int32(ABSENT))
            wanted = self._followed[n - 1] if n < self.order else 0
            if (
                ends[-1] != len(symbol)
                or number.max(initial=-1) != wanted - 1
                or symbol.max(initial=0) >= len(self._first)
            ):
                raise SpecError(f"language model damaged: its n-grams of {n} symbols do not fit")
            levels.append(
                _Level(
                    ends, part["back-off"], part["back-offs"], symbol, number, part["value"], part["values"]
                )
            )
        return tuple(levels)


def _header(data: bytes, labels: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """N-grams of each length, and those that others follow."""
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise SpecError(f"not a language model: {len(data)} bytes that begin with {data[:8]!r}")
    _, version, size, made_for, order = HEADER.unpack_from(data)
    if version != VERSION:
        raise SpecError(f"a language model of version {version}; this stapes reads version {VERSION}")
    if size != len(labels) or made_for != fingerprint(labels):
        raise SpecError(f"a language model for {size} other labels than the {len(labels)} of the model")
    if not 1 <= order <= _MOST_ORDER or len(data) < HEADER.size + 8 * order:
        raise SpecError(f"language model damaged: its order is {order}, it has {len(data)} bytes")
    numbers = struct.unpack_from(f"<{2 * order}I", data, HEADER.size)
    counts, followed = numbers[:order], numbers[order:]
    if counts[0] != size or followed[0] != size:
        raise SpecError(f"language model damaged: {counts[0]} n-grams of one symbol, {size} labels")
    return counts, followed


def _body(data: bytes, counts: Sequence[int], followed: Sequence[int]) -> bytes:
    """The sections, inflated."""
    wanted = table_bytes(counts, followed)
    if wanted > _MOST_DEFLATED * len(data):
        raise SpecError(f"language model damaged: its {len(data)} bytes do not hold {tuple(counts)} n-grams")
    stream = zlib.decompressobj()
    try:
        # A byte more than wanted at most: what is damaged may inflate to anything.
        body = stream.decompress(data[HEADER.size + 8 * len(counts) :], wanted + 1)
    except zlib.error as error:
        raise SpecError(f"language model damaged: {error}") from None
    if len(body) != wanted or not stream.eof or stream.unused_data:
        raise SpecError(f"language model damaged: its {len(data)} bytes do not hold {tuple(counts)} n-grams")
    return body
