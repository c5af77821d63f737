"""Every event that a stream can announce.

An event says *what* happened and *where in the audio*; it never carries a clock, so the same
samples give the same events from a file, a microphone or a socket.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """What all events share; use the classes below."""

    at: int
    """Samples since the start of the stream, at `rate`."""
    model: str = ""
    """Name of the model that announced it; empty where no model did."""
    rate: int = 16_000
    """Samples a second of the model's audio; turns `at` into seconds."""

    @property
    def seconds(self) -> float:
        """`at` in seconds."""
        return self.at / self.rate

    def to_json(self) -> str:
        """One line of JSON: the event's name, `at`, `seconds`, `model`, then its own fields."""
        fields = asdict(self)
        head = {
            "event": type(self).__name__,
            "at": fields.pop("at"),
            "seconds": round(self.seconds, 4),
            "model": fields.pop("model"),
        }
        del fields["rate"]
        return json.dumps(head | fields, ensure_ascii=False, default=_listed)


def _listed(value: Any) -> Any:
    """An array as lists, rounded to four places in double precision: float32 has long decimals."""
    return np.round(np.asarray(value, np.float64), 4).tolist()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted(_Event):
    """Speech began at `at` (announced a little later, once it is sure)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechEnded(_Event):
    """Speech that had started ended at `at`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordSpotted(_Event):
    """A keyword was spoken; `at` is the end of the window that tipped the scale."""

    label: str
    score: float
    """Smoothed posterior, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChanged(_Event):
    """The text of the utterance so far; may still be revised."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a text."""

    text: str
    start: float
    """Where it begins, in seconds since the start of the stream."""
    end: float
    """Where it ends."""
    confidence: float
    """0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFinished(_Event):
    """The final text of an utterance that ended at `at`."""

    text: str
    nbest: tuple[tuple[str, float], ...] = ()
    """Texts with their scores, best first: natural logarithms, which compare within an utterance."""
    words: tuple[Word, ...] = ()
    """Where and how surely each was said; none ends after `at`."""
    confidence: float = 1.0
    """Of the whole text: the geometric mean of its words'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialectGuessed(_Event):
    """The language or dialect being spoken, or "unknown"."""

    label: str
    scores: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeaturesHeard(_Event):
    """What an encoder made of the sound up to `at`: the steps since its last such event.

    Of n steps, the i-th from 0 ends `(n - 1 - i) * period_ms` before `at`; of an encoder that compresses, on
    average.
    """

    features: NDArray[np.float32]
    """(steps, width), not to be written to; in JSON a list of lists, rounded to four places."""
    period_ms: float
    """From one step to the next."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FeaturesHeard):
            return NotImplemented
        return self._plain() == other._plain() and np.array_equal(self.features, other.features)

    def __hash__(self) -> int:
        return hash((*self._plain(), self.features.shape))

    def _plain(self) -> tuple[int, str, int, float]:
        return self.at, self.model, self.rate, self.period_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLost(_Event):
    """Audio that did not arrive, or was not finite: replaced by silence from `at` on."""

    samples: int
    """How many samples were lost, at `rate`."""
    reason: str
    """"not finite" or "overflow"."""


Event = (
    SpeechStarted
    | SpeechEnded
    | KeywordSpotted
    | TextChanged
    | TextFinished
    | DialectGuessed
    | FeaturesHeard
    | AudioLost
)
