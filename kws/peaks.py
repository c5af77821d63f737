"""Smoothed posteriors of real streams, and their peaks: what thresholds are chosen by."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kws.clips import Clip
from kws.conditions import Samples, Sound
from stapes.events import Event
from stapes.model import Model
from stapes.spec import Scores
from stapes.stream import Stream
from training.audio import read_audio

PAUSE_SECONDS = 1.5
"""Silence before a keyword when it is heard alone in a stream."""
LOWEST = 0.3
"""Peaks below this are not looked at: no threshold will be set there."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Highest smoothed posteriors of each keyword: one per stretch above `LOWEST`, or per keyword clip."""

    false: dict[str, NDArray[np.float32]]
    """Peaks in speech and noise that does not hold the keyword, falling."""
    hours: float
    """Hours of that."""
    true: dict[str, NDArray[np.float32]]
    """For each clip of the keyword its highest posterior; 0 if another keyword is surer."""


class Tapped(Model):
    """A model that keeps the scores of each call, so that they are those of a real `Stream`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.kept: list[Scores] = []

    def __call__(self, frames: Scores) -> Scores:
        """As Model."""
        scores = super().__call__(frames)
        self.kept.append(scores)
        return scores

    def reset(self) -> None:
        """As Model; a new stream keeps its own scores."""
        super().reset()
        self.kept = []


class Listening:
    """One model in a `Stream`, begun anew for each recording."""

    def __init__(self, model: Model) -> None:
        """`model` may be any; a `Tapped` one gives scores too."""
        self._stream = Stream(model, sample_rate=model.spec.features.sample_rate)
        self.spec = model.spec

    def events(self, samples: Samples) -> list[Event]:
        """Every event of a stream of (samples,) from its start to its end."""
        self._stream.reset()
        return [*self._stream.feed(samples), *self._stream.close()]

    def scores(self, samples: Samples) -> Scores:
        """(decisions, labels) posteriors of the same stream."""
        self.events(samples)
        model = self._stream.models[0]
        if not isinstance(model, Tapped):
            raise TypeError(f"scores are kept by a Tapped model, not by {type(model).__name__}")
        return np.concatenate([np.zeros((0, len(self.spec.labels)), np.float32), *model.kept])


def smoothed(scores: Scores, hops: int) -> Scores:
    """Mean of the last `hops` decisions, as the decoder takes it: before the first there were zeros."""
    if not len(scores):
        return scores
    padded = np.pad(scores, ((hops - 1, 0), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, hops, axis=0)
    return np.asarray(windows.mean(axis=2, dtype=np.float64), np.float32)


def stretches(scores: NDArray[np.float32]) -> list[float]:
    """The highest value of each stretch of (decisions,) `scores` from LOWEST on."""
    above = np.concatenate(([False], scores >= LOWEST, [False]))
    edges = np.flatnonzero(above[1:] != above[:-1])
    return [float(scores[a:b].max()) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def measure(
    model: Tapped, clips: Sequence[Clip], others: Iterable[Sound], hops: Sequence[int]
) -> dict[int, dict[str, Peaks]]:
    """Peaks of `clips` of keywords, each after a pause, and of each condition of `others`.

    Of `others` the keywords said there do not count. `true` is the same in all conditions: the clips as
    they are.

    Args:
        model: of which each recording is heard once.
        clips: of keywords.
        others: other sound, with the keywords said in it.
        hops: numbers of decisions to take the mean of.

    Returns:
        For each of `hops` the peaks by condition.

    Raises:
        AudioError: a recording that cannot be read.
    """
    listening = Listening(model)
    spec = model.spec
    rate = spec.features.sample_rate
    columns = {label: i for i, label in enumerate(spec.labels) if label not in spec.params["background"]}
    false: dict[tuple[int, str], dict[str, list[float]]] = {}
    heard: Counter[str] = Counter()
    true: dict[int, dict[str, list[float]]] = {count: {label: [] for label in columns} for count in hops}
    for sound in tqdm(others, desc="peaks of other sound", mininterval=5):
        samples = sound.read(rate)
        heard[sound.condition] += len(samples)
        scores = listening.scores(samples)
        for count in hops:
            means = smoothed(scores, count)
            peaks = false.setdefault((count, sound.condition), {label: [] for label in columns})
            for label, column in columns.items():
                if label not in sound.said:
                    peaks[label] += stretches(means[:, column])
    for clip in tqdm(clips, desc="peaks of keywords", mininterval=5):
        scores = listening.scores(after_pause(read_audio(clip.audio, rate), rate))
        for count in hops:
            means = smoothed(scores, count)
            best = {label: float(means[:, column].max()) for label, column in columns.items()}
            own = best[clip.label]
            true[count][clip.label].append(own if own == max(best.values()) else 0.0)
    found: dict[int, dict[str, Peaks]] = {count: {} for count in hops}
    for (count, condition), by_label in false.items():
        found[count][condition] = Peaks(
            {label: np.sort(np.array(values, np.float32))[::-1] for label, values in by_label.items()},
            heard[condition] / rate / 3600,
            {label: np.array(values, np.float32) for label, values in true[count].items()},
        )
    return found


def pooled(parts: Sequence[Peaks]) -> Peaks:
    """Peaks of several conditions, of the same keyword clips, as if they were one."""
    return Peaks(
        {
            label: np.sort(np.concatenate([part.false[label] for part in parts]))[::-1]
            for label in parts[0].false
        },
        sum(part.hours for part in parts),
        parts[0].true,
    )


def after_pause(samples: Samples, rate: int) -> Samples:
    """`samples` with PAUSE_SECONDS of silence before them, and as much after."""
    pause = round(PAUSE_SECONDS * rate)
    return np.pad(samples, (pause, pause))
