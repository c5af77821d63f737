"""A keyword opens the ear: of all speech, models that wait for one are given only what follows it."""

from collections.abc import Sequence
from typing import Final

from stapes.endpoint import Boundary
from stapes.events import KeywordSpotted
from stapes.lanes import Found, WindowLane
from stapes.segments import SegmentLane, SpeechLane
from stapes.tasks import task_of

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


class Waker:
    """The lanes of a stream that wait for a keyword of one of its models."""

    lanes: list[SegmentLane | SpeechLane]
    """Those that wait."""

    def __init__(
        self, lanes: Sequence[WindowLane | SegmentLane | SpeechLane], wake: str, rate: int, pad_ms: int
    ) -> None:
        """All wait whose models take utterances.

        Args:
            lanes: of the stream, in order.
            wake: name of the model whose keywords wake the others.
            rate: samples a second.
            pad_ms: see `Gate`.

        Raises:
            ValueError: no keyword model of that name, or none that could wait for it.
        """
        names = [lane.model.spec.name for lane in lanes if lane.model.spec.task == "kws"]
        if wake not in names:
            raise ValueError(
                f"no keyword model {wake!r} to wake the others: name it among the models too, "
                f"whose keyword models are: {', '.join(names) or 'none'}"
            )
        self.lanes = [
            lane
            for lane in lanes
            if not isinstance(lane, WindowLane) and not task_of(lane.model.spec).carries
        ]
        if not self.lanes:
            raise ValueError(f"no model waits for a keyword of {wake!r}: none takes utterances, as asr does")
        self._order = next(
            i
            for i, lane in enumerate(lanes)
            if lane.model.spec.name == wake and lane.model.spec.task == "kws"
        )
        self._gate = Gate(rate, pad_ms)

    def reset(self) -> None:
        """Back to the start of the stream."""
        self._gate.reset()

    def tell(self, boundaries: list[Boundary], found: list[Found]) -> None:
        """Tells the lanes that wait of the speech that is theirs.

        Args:
            boundaries: the next ones of the stream.
            found: what the other lanes found up to there.
        """
        keywords = [
            (settled, event.at)
            for settled, order, event in found
            if order == self._order and isinstance(event, KeywordSpotted)
        ]
        let = self._gate.through(boundaries, keywords)
        for lane in self.lanes:
            lane.expect(let)
