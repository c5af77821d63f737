"""Words with their times and how sure they are, by aligning a text with CTC's posteriors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stapes.events import Word
from stapes.spec import Scores
from stapes.tasks.symbols import BLANK, SPACE, SPECIALS


def align(logs: NDArray[np.float64], ids: Sequence[int]) -> NDArray[np.int64]:
    """The likeliest alignment that CTC allows (Viterbi; arXiv Graves et al. 2006, section 4.1, with maxima).

    Args:
        logs: (steps, labels) natural log-posteriors, at least one step.
        ids: of the text, at least one. One that is too long for the steps is cut.

    Returns:
        (ids, 2): the first step of each symbol, and the one after its last.
    """
    steps = len(logs)
    ids = _fitting(ids, steps)
    states = np.full(2 * len(ids) + 1, BLANK)
    states[1::2] = ids
    # A blank between two symbols may be left out, unless they are the same.
    skips = np.zeros(len(states), bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), -np.inf)
    score[:2] = logs[0, states[:2]]
    moves = np.zeros((steps, len(states)), np.int8)
    for step in range(1, steps):
        one = np.concatenate(([-np.inf], score[:-1]))
        two = np.where(skips, np.concatenate(([-np.inf, -np.inf], score[:-2])), -np.inf)
        options = np.stack((score, one, two))
        moves[step] = options.argmax(axis=0)
        score = options.max(axis=0) + logs[step, states]
    state = len(states) - 1 if score[-1] >= score[-2] else len(states) - 2
    spans = np.zeros((len(ids), 2), np.int64)
    for step in range(steps - 1, -1, -1):
        if state % 2:
            spans[state // 2, 0] = step
            if not spans[state // 2, 1]:
                spans[state // 2, 1] = step + 1
        state -= int(moves[step, state])
    return spans


def _fitting(ids: Sequence[int], steps: int) -> list[int]:
    """As many of the ids as the steps have room for: one each, and a blank between two that are the same."""
    kept: list[int] = []
    room = steps
    for number in ids:
        room -= 2 if kept and kept[-1] == number else 1
        if room < 0:
            break
        kept.append(number)
    return kept


def words(
    ids: Sequence[int], scores: Scores, ends: Sequence[float], step: float, labels: Sequence[str]
) -> tuple[Word, ...]:
    """The words of a text, by CTC's alignment.

    A symbol's posterior is the largest of its steps; a word is as sure as the geometric mean of its symbols.

    Args:
        ids: of the text.
        scores: (steps, labels) posteriors of CTC.
        ends: where each step ends, in seconds.
        step: length of a step in seconds.
        labels: all symbols; where none has a space, each symbol is a word (Mandarin).
    """
    spoken = [i for i in ids if i >= SPECIALS]
    if not spoken or not len(scores):
        return ()
    logs = np.log(np.maximum(scores.astype(np.float64), 1e-12))
    spans = align(logs, spoken)
    spaced = any(SPACE in label for label in labels)
    found: list[Word] = []
    text, first, last, peaks = "", 0, 0, list[float]()

    def finish() -> None:
        if text:
            start, end = max(0.0, ends[first] - step), ends[last]
            sure = float(np.exp(np.mean(peaks)))
            found.append(Word(text=text, start=round(start, 3), end=round(end, 3), confidence=round(sure, 4)))

    for number, (begin, end) in zip(spoken, spans.tolist(), strict=False):
        symbol = labels[number]
        if not spaced or symbol.startswith(SPACE):
            finish()
            text, peaks = "", []
        plain = symbol.replace(SPACE, "")
        if not plain:
            continue
        if not text:
            first = begin
        text, last = text + plain, end - 1
        peaks.append(float(logs[begin:end, number].max()))
    finish()
    return tuple(found)
