"""What a decoder may ask of the rest of a model's file: a second graph that writes text, a language model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a cold start of models without one reads nothing of it
    from stapes.tasks.ngrams import Ngrams

Past = NDArray[np.float32]
"""What the second graph remembers of tokens so far: (blocks, 2, texts, heads, tokens, width)."""


class Reader(Protocol):
    """Reads the memory that the first graph gave since the model's last reset, a step for each of scores."""

    def read(self, start: int, end: int) -> None:
        """From now on, write from steps `start` up to `end`."""
        ...

    def write(self, tokens: NDArray[np.int64], past: Past | None) -> tuple[NDArray[Any], Past]:
        """What may follow.

        Args:
            tokens: (texts, tokens), the next ones of each text; the first is a start symbol.
            past: what the call before gave, its texts picked and ordered as the tokens are; None: the start.

        Returns:
            Natural log-posteriors (texts, tokens, labels) of what follows each token, and the past with them.
        """
        ...

    def forget(self, before: int) -> None:
        """Steps before this one will not be read again."""
        ...


@dataclass(frozen=True, slots=True)
class Extras:
    """What a model has beside its first graph."""

    reader: Reader | None = None
    """Of the second graph."""
    language: "Ngrams | None" = None
    """The language model."""
