"""What the decoder chooses among, kept, so that one search serves all weights of that choice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import process_time

import numpy as np
from numpy.typing import NDArray

from asr.heard import Heard, rehear
from stapes.model import Model
from stapes.tasks.asr import TextDecoder
from stapes.tasks.beam import judge
from stapes.tasks.ctc import Ids
from stapes.tasks.symbols import BACKWARDS, FORWARDS, join


@dataclass(frozen=True, slots=True)
class Part:
    """Texts of an utterance, or of a part between pauses."""

    texts: tuple[str, ...]
    """CTC's, best first."""
    scores: NDArray[np.float64]
    """(texts,) of its search, hotwords and language model included."""
    judged: NDArray[np.float64]
    """(rescored texts, 2), log-probabilities by the decoder forwards and backwards; none of it, no text."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Of a recording."""

    parts: tuple[Part, ...]
    searched: float
    """Seconds of the processor's time: CTC's search."""
    judged: float
    """The decoder's."""

    def text(self, backwards: float = 0.0, ctc: float | None = None) -> str:
        """What `stapes.tasks.asr.clip` gives.

        Args:
            backwards: share of the direction from right to left.
            ctc: weight of CTC's scores beside the decoder's; None: CTC alone decides.
        """
        return " ".join(part.texts[_best(part, backwards, ctc)] for part in self.parts)


def _best(part: Part, backwards: float, ctc: float | None) -> int:
    if ctc is None:
        return 0
    some = part.scores[: len(part.judged)]
    return int((part.judged @ [1 - backwards, backwards] + ctc * some).argmax())


class _Keeping(TextDecoder):
    """Keeps what it chooses among."""

    parts: list[Part]
    judging: float

    def _decide(self, found: list[tuple[Ids, float]]) -> list[tuple[Ids, float]]:
        start = process_time()
        judged = np.zeros((0, 2))
        if self._reader is not None:
            self._reader.read(self._first, self._first + len(self._rows))
            some = [ids for ids, _ in found[: self._params.rescored]]
            judged = judge(self._reader, some, (FORWARDS, BACKWARDS))
        texts = tuple(join(ids, self._labels) for ids, _ in found)
        self.parts.append(Part(texts, np.array([score for _, score in found]), judged))
        self.judging += process_time() - start
        return found


def candidates(heard: Heard, model: Model) -> Candidates:
    """Those of a recording, with a model's params; which search these name does not matter."""
    parts, start, judging = list[Part](), process_time(), 0.0
    for stretch in heard.stretches:
        rehear(stretch, model)
        decoder = _Keeping(model.spec, model.extras)
        decoder.parts, decoder.judging = [], 0.0
        decoder.whole(stretch.scores)
        parts += decoder.parts
        judging += decoder.judging
    return Candidates(tuple(parts), process_time() - start - judging, judging)


def all_candidates(heard: Sequence[Heard], model: Model) -> Iterator[Candidates]:
    """Those of each recording."""
    for each in heard:
        yield candidates(each, model)
