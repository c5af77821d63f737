"""Phrases that are expected: hypotheses that contain one score higher.

The bonus grows with each character of a phrase as it is written, so that the beam does not lose it half-way,
and is taken back if the phrase is not finished; no character counts twice. Phrases are matched as text,
however the symbols cut it: an automaton over characters with failure links (Aho and Corasick 1975).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from stapes.tasks.symbols import SPACE


@dataclass(frozen=True, slots=True)
class Match:
    """How far a hypothesis has come in the phrases."""

    node: int = -1
    """Of the automaton; -1: nothing is written yet."""
    earned: float = 0.0
    """Bonus of complete phrases, which stays."""
    paid: int = 0
    """Which characters of the phrase being written belong to complete ones: a bit each, the last's is 1."""
    bonus: float = 0.0
    """What was earned, and that of the phrase being written."""


class Hotwords:
    """The automaton of some phrases."""

    def __init__(self, phrases: Sequence[str], labels: Sequence[str], bonus: float) -> None:
        """Builds it.

        Args:
            phrases: words as they are written, such as "new york".
            labels: all symbols; where none is a space, phrases begin and end anywhere (Mandarin).
            bonus: for each character, in nats.
        """
        self._space = SPACE if any(SPACE in label for label in labels) else ""
        self._bonus = bonus
        self._next: list[dict[str, int]] = [{}]
        self._depth, self._complete = [0], [0]
        """Of each node: its characters, and those at its end that are the longest complete phrase."""
        for phrase in phrases:
            words = phrase.lower().split()
            if words:
                self._add(self._space + self._space.join(words))
        self._fall = self._links()

    def _add(self, phrase: str) -> None:
        node = 0
        for char in phrase:
            if char not in self._next[node]:
                self._next[node][char] = len(self._next)
                self._next.append({})
                self._depth.append(self._depth[node] + 1)
                self._complete.append(0)
            node = self._next[node][char]
        self._complete[node] = self._depth[node]

    def _links(self) -> list[int]:
        """For each node, that of its longest ending that also begins a phrase; it may end with another."""
        fall = [0] * len(self._next)
        waiting = deque(self._next[0].values())
        while waiting:
            node = waiting.popleft()
            for char, child in self._next[node].items():
                waiting.append(child)
                back = fall[node]
                while back and char not in self._next[back]:
                    back = fall[back]
                fall[child] = self._next[back].get(char, 0)
                self._complete[child] = self._complete[child] or self._complete[fall[child]]
        return fall

    def __bool__(self) -> bool:
        """Whether there are any."""
        return len(self._fall) > 1

    def after(self, match: Match, symbol: str) -> Match:
        """The match once a symbol has been written."""
        if not self:
            return match
        node, earned, paid = max(match.node, 0), match.earned, match.paid
        begin = self._space if match.node < 0 and not symbol.startswith(self._space) else ""
        for char in begin + symbol.lower():
            if char == self._space:
                earned, paid = self._completed(node, earned, paid)
            while node and char not in self._next[node]:
                node = self._fall[node]
            node = self._next[node].get(char, 0)
            paid = paid << 1 & _bits(self._depth[node])
            if not self._space:
                earned, paid = self._completed(node, earned, paid)
        return Match(node, earned, paid, earned + self._bonus * (self._depth[node] - paid.bit_count()))

    def last(self, match: Match) -> float:
        """The bonus of a hypothesis that ends here: a phrase that is not complete is lost."""
        return self._completed(max(match.node, 0), match.earned, match.paid)[0]

    def _completed(self, node: int, earned: float, paid: int) -> tuple[float, int]:
        """What is earned and paid once the phrases that end at a node are."""
        whole = _bits(self._complete[node])
        return earned + self._bonus * (whole & ~paid).bit_count(), paid | whole


def _bits(count: int) -> int:
    """So many ones."""
    return (1 << count) - 1
