"""What a calibrated model does: events of a real `Stream` over other sound and over keywords."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy.stats import chi2
from tqdm import tqdm

from kws.clips import Clip
from kws.conditions import Samples, Sound
from kws.peaks import PAUSE_SECONDS, Listening, after_pause
from stapes.events import KeywordSpotted
from stapes.model import Model
from training.audio import read_audio

LATE_SECONDS = 1.0
"""A keyword announced up to this long after its recording's end still counts as found."""


@dataclass(slots=True)
class Heard:
    """Other sound of one condition, and what fired in it."""

    hours: float = 0.0
    false: Counter[str] = field(default_factory=Counter)
    """Events of each keyword where the text does not hold it."""

    def figures(self) -> dict[str, Any]:
        """As plain values. "at_most" is the upper end of the rate's 90 % interval (Poisson, exact)."""
        false = self.false.total()
        most = float(chi2.ppf(0.95, 2 * (false + 1))) / 2
        return {
            "hours": round(self.hours, 3),
            "false_accepts": false,
            "false_accepts_per_hour": round(false / self.hours, 3) if self.hours else None,
            "false_accepts_per_hour_at_most": round(most / self.hours, 3) if self.hours else None,
            "false_by_keyword": dict(sorted(self.false.items())),
        }


@dataclass(slots=True)
class OperatingPoint:
    """Counted events."""

    conditions: dict[str, Heard] = field(default_factory=dict)
    """Other sound, by condition."""
    keywords: Counter[str] = field(default_factory=Counter)
    """Recordings of each keyword."""
    found: Counter[str] = field(default_factory=Counter)
    """Of these, how many were announced by name, from their start to LATE_SECONDS after their end."""
    mistaken: Counter[str] = field(default_factory=Counter)
    """Events in recordings of a keyword that named another one."""

    def together(self) -> Heard:
        """Other sound of all conditions."""
        parts = self.conditions.values()
        return Heard(sum(part.hours for part in parts), sum((part.false for part in parts), Counter()))

    def figures(self) -> dict[str, Any]:
        """As plain values: all other sound together, each condition, and the keywords.

        Clean and noisy speech are the same recordings, so the interval of all together is narrower than it
        should be; those of the conditions are not.
        """
        keywords = self.keywords.total()
        return {
            **self.together().figures(),
            "conditions": {name: part.figures() for name, part in self.conditions.items()},
            "keywords": keywords,
            "recall": round(self.found.total() / keywords, 4) if keywords else None,
            "recall_by_keyword": {word: round(self.found[word] / n, 4) for word, n in self.keywords.items()},
            "keywords_by_keyword": dict(self.keywords),
            "mistaken_by_keyword": dict(sorted(self.mistaken.items())),
        }


def observe(model: Model, clips: Sequence[Clip], others: Iterable[Sound]) -> OperatingPoint:
    """Streams every recording, each from a stream's start to its end, and counts what was announced.

    Args:
        model: with its thresholds.
        clips: of one keyword each; heard between pauses.
        others: other sound.

    Raises:
        AudioError: a recording that cannot be read.
    """
    listening = Listening(model)
    rate = model.spec.features.sample_rate
    point = OperatingPoint()
    for sound in tqdm(others, desc="events in other sound", mininterval=5):
        samples = sound.read(rate)
        heard = point.conditions.setdefault(sound.condition, Heard())
        heard.hours += len(samples) / rate / 3600
        spotted = _spotted(listening, samples)
        heard.false.update(event.label for event in spotted if event.label not in sound.said)
    for clip in tqdm(clips, desc="events of keywords", mininterval=5):
        samples = read_audio(clip.audio, rate)
        start = round(PAUSE_SECONDS * rate)
        end = start + len(samples) + round(LATE_SECONDS * rate)
        spotted = _spotted(listening, after_pause(samples, rate))
        point.keywords[clip.label] += 1
        point.found[clip.label] += any(e.label == clip.label and start < e.at <= end for e in spotted)
        point.mistaken.update(event.label for event in spotted if event.label != clip.label)
    return point


def _spotted(listening: Listening, samples: Samples) -> list[KeywordSpotted]:
    return [event for event in listening.events(samples) if isinstance(event, KeywordSpotted)]
