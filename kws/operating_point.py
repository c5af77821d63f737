"""What a calibrated model does: events of a real `Stream` over other sound and over keywords."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy.stats import chi2
from tqdm import tqdm

from kws.clips import Clip
from kws.peaks import PAUSE_SECONDS, Listening, Samples, Spoken, after_pause
from stapes.events import KeywordSpotted
from stapes.model import Model
from training.audio import read_audio

LATE_SECONDS = 1.0
"""A keyword announced up to this long after its recording's end still counts as found."""


@dataclass(slots=True)
class OperatingPoint:
    """Counted events."""

    hours: float = 0.0
    """Hours of other sound."""
    false: Counter[str] = field(default_factory=Counter)
    """Events in other sound of each keyword, where the text does not hold it."""
    keywords: Counter[str] = field(default_factory=Counter)
    """Recordings of each keyword."""
    found: Counter[str] = field(default_factory=Counter)
    """Of these, how many were announced by name, from their start to LATE_SECONDS after their end."""
    mistaken: Counter[str] = field(default_factory=Counter)
    """Events in recordings of a keyword that named another one."""

    def figures(self) -> dict[str, Any]:
        """As plain values. "at_most" is the upper end of the rate's 90 % interval (Poisson, exact)."""
        false, keywords = self.false.total(), self.keywords.total()
        most = float(chi2.ppf(0.95, 2 * (false + 1))) / 2
        return {
            "hours": round(self.hours, 3),
            "false_accepts": false,
            "false_accepts_per_hour": round(false / self.hours, 3) if self.hours else None,
            "false_accepts_per_hour_at_most": round(most / self.hours, 3) if self.hours else None,
            "false_by_keyword": dict(sorted(self.false.items())),
            "keywords": keywords,
            "recall": round(self.found.total() / keywords, 4) if keywords else None,
            "recall_by_keyword": {word: round(self.found[word] / n, 4) for word, n in self.keywords.items()},
            "keywords_by_keyword": dict(self.keywords),
            "mistaken_by_keyword": dict(sorted(self.mistaken.items())),
        }


def observe(model: Model, clips: Sequence[Clip], others: Iterable[Spoken]) -> OperatingPoint:
    """Streams every recording, each from a stream's start to its end, and counts what was announced.

    Args:
        model: with its thresholds.
        clips: of one keyword each; heard between pauses.
        others: other sound, with the keywords that are said in it all the same.

    Raises:
        AudioError: a recording that cannot be read.
    """
    listening = Listening(model)
    rate = model.spec.features.sample_rate
    point = OperatingPoint()
    for clip, said in tqdm(others, desc="events in other sound", mininterval=5):
        samples = read_audio(clip.audio, rate)
        point.hours += len(samples) / rate / 3600
        point.false.update(event.label for event in _spotted(listening, samples) if event.label not in said)
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
