"""Keyword spotting: posteriors, smoothed, against a threshold for each keyword."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from stapes.events import Event, KeywordSpotted
from stapes.spec import ModelSpec, Scores, SpecError

UNKNOWN = "_unknown_"
"""The label for words that are no keywords."""


@dataclass(frozen=True, slots=True)
class KeywordParams:
    """`ModelSpec.params` of a keyword model. Every key must be there, and no other."""

    thresholds: Mapping[str, float]
    """For each keyword, the smoothed posterior from which on it counts as spoken, over 0 and up to 1."""
    smooth_hops: int
    """The last so many posteriors are averaged."""
    refractory_ms: int
    """After a keyword none is announced for so long: one word is not two."""
    background: tuple[str, ...]
    """Labels that are never announced, such as `_silence_`."""

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """The params of a model, checked.

        Raises:
            SpecError: a key that is missing or unknown, or a value out of range.
        """
        raw = spec.params
        known = ("thresholds", "smooth_hops", "refractory_ms", "background")
        for key in raw:
            if key not in known:
                raise SpecError(
                    f"{spec.name}: unknown key 'params.{key}'; a kws model has {', '.join(known)}"
                )
        for key in known:
            if key not in raw:
                raise SpecError(f"{spec.name}: key 'params.{key}' is missing")
        background = raw["background"]
        if not isinstance(background, list | tuple) or not all(label in spec.labels for label in background):
            raise SpecError(f"{spec.name}: 'params.background' must be a list of labels, got {background!r}")
        keywords = [label for label in spec.labels if label not in background]
        thresholds = raw["thresholds"]
        if not isinstance(thresholds, Mapping) or thresholds.keys() != set(keywords) or not keywords:
            raise SpecError(
                f"{spec.name}: 'params.thresholds' must name each of {keywords}, got {thresholds!r}"
            )
        for label, threshold in thresholds.items():
            if (
                isinstance(threshold, bool)
                or not isinstance(threshold, int | float)
                or not 0 < threshold <= 1
            ):
                raise SpecError(
                    f"{spec.name}: 'params.thresholds.{label}' must be over 0 and up to 1, got {threshold!r}"
                )
        for key, least, most in (("smooth_hops", 1, 100_000), ("refractory_ms", 0, 3_600_000)):
            value = raw[key]
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise SpecError(
                    f"{spec.name}: 'params.{key}' must be a whole number from {least} to {most}, "
                    f"got {value!r}"
                )
        return cls(dict(thresholds), raw["smooth_hops"], raw["refractory_ms"], tuple(background))


class KeywordDecoder:
    """Announces a keyword once, when the mean of its last posteriors reaches its threshold.

    Before the first posterior all are taken to have been 0. After an announcement every keyword waits for
    the refractory time, and the same one also until its mean has been below its threshold.
    """

    def __init__(self, spec: ModelSpec, _: object = None) -> None:
        params = KeywordParams.of(spec)
        self._model, self._rate = spec.name, spec.features.sample_rate
        self._hop = spec.window.hop * spec.features.hop_samples
        self._refractory = params.refractory_ms * self._rate // 1000
        self._smooth = params.smooth_hops
        self._columns = [
            (i, x, params.thresholds[x]) for i, x in enumerate(spec.labels) if x in params.thresholds
        ]
        # Oldest first, always: a sum in another order would round differently at another time of the stream.
        self._recent = np.zeros((params.smooth_hops, len(spec.labels)))
        self._spoken: set[str] = set()
        """Keywords announced whose mean has not been below their threshold since."""
        self._last: int | None = None

    def push(self, scores: Scores, at: int) -> list[Event]:
        """Posteriors (steps, labels), of which the last ends at sample `at`."""
        events: list[Event] = []
        for left, row in zip(range(len(scores) - 1, -1, -1), scores, strict=True):
            event = self._step(row, at - self._hop * left // len(scores))
            if event is not None:
                events.append(event)
        return events

    def flush(self, at: int) -> list[Event]:  # noqa: ARG002 - what was not announced by now was not spoken
        """Nothing is held back: []."""
        return []

    def _step(self, row: Scores, at: int) -> KeywordSpotted | None:
        recent = self._recent
        if self._smooth > 1:
            recent[:-1] = recent[1:]
        recent[-1] = row
        means = (np.add.reduce(recent, axis=0) / self._smooth).tolist()
        best, label, best_threshold = 0.0, "", 1.0
        for column, keyword, threshold in self._columns:
            mean = means[column]
            if mean > best:
                best, label, best_threshold = mean, keyword, threshold
            if mean < threshold:
                self._spoken.discard(keyword)
        if best < best_threshold or label in self._spoken:
            return None
        if self._last is not None and at - self._last < self._refractory:
            return None
        self._spoken.add(label)
        self._last = at
        return KeywordSpotted(at=at, model=self._model, rate=self._rate, label=label, score=round(best, 4))


def clip(scores: Scores, spec: ModelSpec, _: object = None) -> dict[str, Any]:
    """The label of a whole clip: of the step at which some keyword is surest, the likeliest label.

    Args:
        scores: (steps, labels), at least one step.
        spec: of the model that gave them.

    Returns:
        "label", and "scores": the posterior of each label at that step.
    """
    background = KeywordParams.of(spec).background
    keywords = [i for i, label in enumerate(spec.labels) if label not in background]
    row = scores[int(scores[:, keywords].max(axis=1).argmax())]
    return {
        "label": spec.labels[int(row.argmax())],
        "scores": {label: round(float(score), 4) for label, score in zip(spec.labels, row, strict=True)},
    }


def metrics(results: Sequence[Mapping[str, Any]], truths: Sequence[str], spec: ModelSpec) -> dict[str, Any]:
    """Accuracy and confusion of many clips; a true label that the model has not counts as `_unknown_`.

    Args:
        results: what `clip` gave for each.
        truths: the right label of each.
        spec: of the model.

    Returns:
        "n", "accuracy" (None of no clips), and "confusion": true label to found label to count.
    """
    confusion: dict[str, dict[str, int]] = {}
    right = 0
    for result, truth in zip(results, truths, strict=True):
        wanted = truth if truth in spec.labels else UNKNOWN
        right += result["label"] == wanted
        row = confusion.setdefault(wanted, {})
        row[result["label"]] = row.get(result["label"], 0) + 1
    n = len(results)
    return {"n": n, "accuracy": round(right / n, 6) if n else None, "confusion": confusion}
