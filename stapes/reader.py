"""The second graph of a model that writes text: a decoder over what the first graph heard.

It lies in the first graph's file (see `stapes.onnxfile.second_graph`), and is opened when it is first asked.
It takes `tokens` (texts, tokens), `past` (blocks, 2, texts, heads, tokens so far, width) and `memory`
(blocks, 2, heads, steps, width), keys and values of each of its blocks, and gives log-posteriors `scores`
(texts, tokens, labels) and `past_next`. The first graph's output `memory` is (batch, steps, blocks * 2 *
heads * width): nothing of what was heard is computed again for a token.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stapes.onnxfile import ModelFileError
from stapes.sessions import open_session
from stapes.tasks.reading import Past

_INPUTS, _OUTPUTS = {"tokens", "past", "memory"}, {"scores", "past_next"}


class SecondGraph:
    """The graph itself, shared by all forks of a model."""

    def __init__(self, data: bytes, threads: int, path: Path) -> None:
        self._data, self._threads, self.path = data, threads, path

    @cached_property
    def session(self) -> Any:
        """The session of it.

        Raises:
            ModelFileError: a graph that onnxruntime refuses, or with other inputs and outputs.
        """
        session = open_session(self._data, self._threads, self.path)
        inputs = {node.name: node.shape for node in session.get_inputs()}
        outputs = {node.name for node in session.get_outputs()}
        if inputs.keys() != _INPUTS or outputs != _OUTPUTS:
            raise ModelFileError(
                f"{self.path}: its second graph must have inputs {sorted(_INPUTS)} and outputs "
                f"{sorted(_OUTPUTS)}, it has {sorted(inputs)} and {sorted(outputs)}"
            )
        if len(inputs["memory"]) != 5 or not all(
            isinstance(inputs["memory"][axis], int) for axis in (0, 2, 4)
        ):
            raise ModelFileError(
                f"{self.path}: 'memory' of its second graph must be (blocks, 2, heads, steps, width), "
                f"it is {inputs['memory']}"
            )
        return session

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Blocks, heads, width of a head."""
        blocks, _, heads, _, width = next(x.shape for x in self.session.get_inputs() if x.name == "memory")
        return blocks, heads, width

    def reader(self, labels: int) -> "MemoryReader":
        """One for a stream, of a model with so many labels."""
        return MemoryReader(self, labels)


class MemoryReader:
    """What one stream heard, and the second graph that writes from it; see `stapes.tasks.reading.Reader`."""

    def __init__(self, graph: SecondGraph, labels: int) -> None:
        self._graph, self._labels = graph, labels
        self.reset()

    def reset(self) -> None:
        """Nothing was heard."""
        self._heard: list[NDArray[np.float32]] = []
        self._first = 0
        """Number of the first step that is kept."""
        self._memory: NDArray[np.float32] | None = None

    def hear(self, memory: NDArray[np.float32]) -> None:
        """The next (steps, blocks * 2 * heads * width) of the first graph. They are copied."""
        self._heard.append(memory.copy())

    @property
    def last(self) -> NDArray[np.float32]:
        """What was heard last, (steps, width); ask before anything is read or forgotten."""
        return self._heard[-1]

    def forget(self, before: int) -> None:
        """Steps before this one will not be read again."""
        self._heard = [self._joined()[before - self._first :].copy()]
        self._first = before

    def read(self, start: int, end: int) -> None:
        """From now on, write from steps `start` up to `end`."""
        blocks, heads, width = self._graph.shape
        part = self._joined()[start - self._first : end - self._first]
        if part.shape != (end - start, 2 * blocks * heads * width):
            raise ModelFileError(
                f"{self._graph.path}: the second graph wants {end - start} steps of {blocks} x 2 x {heads} x "
                f"{width} numbers, the first gave {part.shape}"
            )
        spread = part.reshape(-1, blocks, 2, heads, width).transpose(1, 2, 3, 0, 4)
        self._memory = np.ascontiguousarray(spread)

    def write(self, tokens: NDArray[np.int64], past: Past | None) -> tuple[NDArray[Any], Past]:
        """What may follow; see `stapes.tasks.reading.Reader.write`."""
        if past is None:
            blocks, heads, width = self._graph.shape
            past = np.zeros((blocks, 2, len(tokens), heads, 0, width), np.float32)
        feeds = {"tokens": tokens, "past": past, "memory": self._memory}
        try:
            scores, following = self._graph.session.run(["scores", "past_next"], feeds)
        except ModelFileError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no narrower base class
            raise ModelFileError(f"{self._graph.path}: its second graph cannot be run: {error}") from error
        if scores.shape != (*tokens.shape, self._labels):
            raise ModelFileError(
                f"{self._graph.path}: its second graph gives {scores.shape}, "
                f"the metadata names {self._labels} labels"
            )
        return scores, following

    def _joined(self) -> NDArray[np.float32]:
        if len(self._heard) != 1:
            self._heard = [np.concatenate(self._heard)] if self._heard else [np.zeros((0, 0), np.float32)]
        return self._heard[0]
