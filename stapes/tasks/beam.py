"""The decoder's two ways to decide: a bidirectional beam search, and judging texts that CTC found.

The search is that of arXiv 2008.04481's code: half of the beam writes forwards, half backwards; the halves
are pruned apart and meet in one pool of finished texts. Numbers in comments are the steps of our description
of it (docs/asr.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stapes.tasks.ctc import Ids
from stapes.tasks.reading import Past, Reader
from stapes.tasks.symbols import BACKWARDS, END, FORWARDS, PAD

Directions = Literal["both", "l2r", "r2l"]
STARTS: dict[Directions, tuple[int, ...]] = {
    "both": (FORWARDS, BACKWARDS),
    "l2r": (FORWARDS,),
    "r2l": (BACKWARDS,),
}
_ABSENT = -1e10
"""Log-probability of hypotheses that are not there."""
_EXTRA_TOKENS, _MOST_TOKENS = 50, 200
"""A text has as many tokens as there are steps, and so many more, at most; and never more than the second."""


@dataclass(frozen=True, slots=True)
class BeamSpec:
    """How to search."""

    beam: int = 4
    """Hypotheses, all directions together; each has as many."""
    directions: Directions = "both"
    alpha: float = 0.6
    """Of the length penalty ((5 + tokens) / 6)^alpha; larger prefers longer texts."""
    most_tokens: int = 100
    patient: bool = False
    """Ours: go on until nothing alive can get into the pool any more. The paper's code stops once the pool is
    full, though an end that is second choice, which fills it too, is seldom the right one."""


def search(reader: Reader, steps: int, spec: BeamSpec) -> list[tuple[Ids, float]]:
    """The best texts of what the reader reads.

    Args:
        reader: told what to read.
        steps: that it reads, for the limit of tokens.
        spec: how to search.

    Returns:
        Ids, forwards, and score (log-probability by length penalty) of each finished text, best first; if
        none has finished by the limit, of those still being written.
    """
    # 1. The first hypothesis of each half is alive, the others are not there; the pool is empty.
    starts = STARTS[spec.directions]
    size = spec.beam // len(starts)
    texts: list[Ids] = [(start,) for start in starts for _ in range(size)]
    logs = np.full((len(starts), size), _ABSENT)
    logs[:, 0] = 0
    pool: list[tuple[float, Ids]] = []
    past: Past | None = None
    halves = np.arange(len(starts))[:, None]
    penalty = 1.0
    limit = min(steps + _EXTRA_TOKENS, _MOST_TOKENS, spec.most_tokens)
    for written in range(limit):
        # 2. One call for all; score = log-probability / length penalty.
        following, past = reader.write(np.array([[text[-1]] for text in texts], np.int64), past)
        penalty = ((5 + written + 1) / 6) ** spec.alpha
        totals = logs[:, :, None] + following[:, 0].reshape(len(starts), size, -1)
        # 3. The best pairs of parent and token, within each half separately.
        labels = totals.shape[2]
        places = _best(totals.reshape(len(starts), -1), 2 * size)
        best = np.take_along_axis(totals.reshape(len(starts), -1), places, axis=1)
        parents, tokens = places // labels + halves * size, places % labels
        # 5. The pool keeps the best of what it had and of what ended now, from both halves together.
        ended = tokens == END
        for log, parent in zip(best[ended].tolist(), parents[ended].tolist(), strict=True):
            if log > _ABSENT / 2:
                pool.append((log / penalty, texts[parent]))
        pool = sorted(pool, key=lambda one: -one[0])[: spec.beam]
        # 4. From each half the best that have not ended live on.
        alive = np.argsort(np.where(ended, np.inf, -best), axis=1, kind="stable")[:, :size]
        logs = np.take_along_axis(best, alive, axis=1)
        chosen = np.take_along_axis(parents, alive, axis=1).ravel().tolist()
        added = np.take_along_axis(tokens, alive, axis=1).ravel().tolist()
        texts = [(*texts[parent], token) for parent, token in zip(chosen, added, strict=True)]
        past = past[:, :, chosen]
        # 6. Stop when every slot of the pool is finished.
        hope = float(logs.max()) / ((5 + limit) / 6) ** spec.alpha if spec.patient else -np.inf
        if len(pool) == spec.beam and hope <= pool[-1][0]:
            break
    if not pool:
        unfinished = zip((logs.ravel() / penalty).tolist(), texts, strict=True)
        pool = sorted((one for one in unfinished if one[0] > _ABSENT / 2), key=lambda one: -one[0])
    # 7. Backward ones are turned round.
    return [(text[:0:-1] if text[0] == BACKWARDS else text[1:], score) for score, text in pool]


def rescore(
    reader: Reader, found: Sequence[tuple[Ids, float]], backwards: float, ctc: float
) -> list[tuple[Ids, float]]:
    """Texts that CTC found, in the decoder's order.

    Args:
        reader: told what to read.
        found: ids and CTC's score of each, at least one text.
        backwards: share of the judgement from right to left, 0 to 1.
        ctc: weight of CTC's score beside it.

    Returns:
        Ids and new score, best first.
    """
    shares = [(start, share) for start, share in ((FORWARDS, 1 - backwards), (BACKWARDS, backwards)) if share]
    judged = judge(reader, [ids for ids, _ in found], [start for start, _ in shares]) @ [s for _, s in shares]
    scored = [(ids, float(j) + ctc * score) for (ids, score), j in zip(found, judged, strict=True)]
    return sorted(scored, key=lambda one: -one[1])


def judge(reader: Reader, texts: Sequence[Ids], starts: Sequence[int]) -> NDArray[np.float64]:
    """Log-probabilities (texts, starts) of whole texts, written from FORWARDS or from BACKWARDS."""
    most = max(map(len, texts)) + 1
    inputs = np.full((len(texts), len(starts), most), END, np.int64)
    targets = np.full_like(inputs, PAD)
    for row, ids in enumerate(texts):
        for way, start in enumerate(starts):
            turned = ids if start == FORWARDS else ids[::-1]
            inputs[row, way, : len(ids) + 1] = (start, *turned)
            targets[row, way, : len(ids) + 1] = (*turned, END)
    logs, _ = reader.write(inputs.reshape(-1, most), None)
    picked = np.take_along_axis(logs.reshape(*targets.shape, -1), targets[..., None], axis=-1)[..., 0]
    told: NDArray[np.float64] = np.where(targets == PAD, 0.0, picked.astype(np.float64)).sum(axis=-1)
    return told


def _best(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Places of the `count` largest of each row, largest first, the first of equal ones first."""
    count = min(count, values.shape[1])
    some = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(-np.take_along_axis(values, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)
