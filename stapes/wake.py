"""A keyword opens the ear: of all speech, models that wait for one are given only what follows it."""

from typing import Final

from stapes.endpoint import Boundary

WAIT_MS: Final = 8000
"""Speech that begins later than this after the keyword was not meant."""
REST_MS: Final = 500
"""Where the keyword's own speech goes on for less than this, it was the keyword alone: the next speech is
meant too."""


class Gate:
    """Starts and ends of speech in; out come those of the speech after a keyword.

    That is the rest of the speech that the keyword is in, from its end on, or the next speech.
    """

    def __init__(self, rate: int, pad_ms: int) -> None:
        """A closed gate.

        Args:
            rate: samples a second.
            pad_ms: what lanes take before a start; a keyword is not given with what follows it.
        """
        self._pad = pad_ms * rate // 1000
        self._wait, self._rest = WAIT_MS * rate // 1000, REST_MS * rate // 1000
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._speech = self._open = False
        self._deadline = -1
        """A start up to this sample is let through."""
        self._keyword: int | None = None
        """End of the keyword in whose own speech the gate opened."""

    def through(self, boundaries: list[Boundary], keywords: list[tuple[int, int]]) -> list[Boundary]:
        """What is let through, in the order in which it became known.

        Args:
            boundaries: the next ones of the stream.
            keywords: samples after which each was known, and where it ends.
        """
        heard = [(boundary.known, 0, boundary) for boundary in boundaries]
        heard += [(known, 1, Boundary(True, at, known)) for known, at in keywords]
        let = []
        for _, keyword, boundary in sorted(heard, key=lambda one: one[:2]):
            passed = self._spotted(boundary) if keyword else self._speaks(boundary)
            if passed is not None:
                let.append(passed)
        return let

    def _spotted(self, keyword: Boundary) -> Boundary | None:
        if self._open:
            return None
        self._deadline = keyword.at + self._wait
        if not self._speech:
            return None
        self._open, self._keyword = True, keyword.at
        return Boundary(True, keyword.at + self._pad, keyword.known)

    def _speaks(self, boundary: Boundary) -> Boundary | None:
        self._speech = boundary.started
        if boundary.started:
            self._open = boundary.at <= self._deadline
            if self._open:
                self._deadline, self._keyword = -1, None
            return boundary if self._open else None
        was, self._open = self._open, False
        if was and self._keyword is not None and boundary.at - self._keyword >= self._rest:
            self._deadline = -1
        return boundary if was else None
