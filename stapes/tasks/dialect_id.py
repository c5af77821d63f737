"""Which language or dialect: posteriors that gather evidence over speech, announced when they are sure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from stapes.events import DialectGuessed, Event
from stapes.spec import ModelSpec, Scores, SpecError
from stapes.tasks import detection

UNKNOWN = "unknown"
"""What is said where no label is likely. Never a label of a network."""
TOLD = 5
"""An event names the scores of so many labels, the likeliest."""
_LEAST = 1e-30
"""Posteriors are raised to this, so that they have a logarithm."""
_LEAST_TOLD = 1e-4
"""The least score over 0 that a result has: they are rounded to four places."""

_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "temperature": (0.01, 100),
    "floor": (0, 1),
    "sure": (0, 1),
    "min_speech_ms": (0, 3_600_000),
    "decide_ms": (0, 3_600_000),
    "turn_ratio": (1, 1_000_000),
    "turn_hops": (1, 100_000),
}


@dataclass(frozen=True, slots=True)
class DialectParams:
    """`ModelSpec.params` of a dialect_id model. Every key must be there, and no other.

    The defaults are for an exporter to write into a model that has not been calibrated.
    """

    temperature: float = 1.0
    """Posteriors are p^(1/temperature), normalised: over 1 makes them less sure (arXiv 1706.04599)."""
    floor: float = 0.1
    """Where the likeliest label's posterior is below this, the answer is "unknown"."""
    sure: float = 0.9
    """A guess of at least this posterior is announced early."""
    min_speech_ms: int = 1000
    """Nothing is announced before so much speech."""
    decide_ms: int = 5000
    """After so much speech the likeliest is announced, sure or not, or "unknown"."""
    turn_ratio: float = 2.0
    """To be announced in place of the last guess, another must be so many times as likely..."""
    turn_hops: int = 3
    """...and the likeliest in so many steps running."""

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """The params of a model, checked.

        Raises:
            SpecError: a key that is missing or unknown, a value out of range, or a label "unknown".
        """
        raw = spec.params
        for key in raw:
            if key not in _RANGES:
                raise SpecError(
                    f"{spec.name}: unknown key 'params.{key}'; a dialect_id model has {', '.join(_RANGES)}"
                )
        for field in fields(cls):
            if field.name not in raw:
                raise SpecError(f"{spec.name}: key 'params.{field.name}' is missing")
            value = raw[field.name]
            least, most = _RANGES[field.name]
            whole = field.type is int
            fine = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            if not fine or not isfinite(value) or not least <= value <= most:
                raise SpecError(
                    f"{spec.name}: 'params.{field.name}' must be a {'whole ' * whole}number "
                    f"from {least} to {most}, got {value!r}"
                )
        if raw["decide_ms"] < raw["min_speech_ms"]:
            raise SpecError(
                f"{spec.name}: 'params.decide_ms' must be at least min_speech_ms, "
                f"got {raw['decide_ms']} and {raw['min_speech_ms']}"
            )
        if UNKNOWN in spec.labels:
            raise SpecError(f"{spec.name}: {UNKNOWN!r} is the answer where no label fits, it cannot be one")
        return cls(**raw)


def tempered(row: Scores | NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Posteriors (labels,) at a temperature, in double precision.

    Row by row: of several at once, the last digits would depend on how many they are.
    """
    logs = np.log(np.maximum(row.astype(np.float64), _LEAST)) / temperature
    raised = np.exp(logs - logs.max())
    result: NDArray[np.float64] = raised / raised.sum()
    return result


class DialectDecoder:
    """Announces the language once it is sure, and again when the evidence has turned.

    A step's posteriors are those of all speech so far: the network's running statistics gather the evidence.
    "unknown" takes part as one more label, whose posterior is always `floor`.

    *   The first guess: after `min_speech_ms` of speech, as soon as a label reaches `sure`; failing that,
        after `decide_ms`, or at the end of a stream that had `min_speech_ms`, whatever is likeliest.
    *   A new guess: another that has been the likeliest for `turn_hops` steps running, at each of them
        `turn_ratio` times as likely as what was announced last.
    """

    def __init__(self, spec: ModelSpec, _: object = None) -> None:
        self._params = DialectParams.of(spec)
        self._model, self._rate, self._labels = spec.name, spec.features.sample_rate, spec.labels
        self._hop = spec.window.hop * spec.features.hop_samples
        self._speech = 0
        """Samples of speech so far."""
        self._said: str | None = None
        self._other, self._times = "", 0
        """What has been likelier than what was said, and in how many steps running."""
        self._last: NDArray[np.float64] | None = None

    def push(self, scores: Scores, at: int) -> list[Event]:
        """Posteriors (steps, labels) that lie evenly over a hop of speech; the last ends at sample `at`."""
        events: list[Event] = []
        steps = len(scores)
        for number, row in enumerate(scores, 1):
            speech = self._speech + self._hop * number // steps
            label = self._step(tempered(row, self._params.temperature), speech)
            if label:
                events.append(self._guess(label, at - self._hop * (steps - number) // steps))
        self._speech += self._hop if steps else 0
        return events

    def flush(self, at: int) -> list[Event]:
        """The end: the likeliest, if nothing was announced in spite of enough speech."""
        if self._last is None or self._said is not None or not self._lasts(self._params.min_speech_ms):
            return []
        self._said = self._likeliest(self._last)[0]
        return [self._guess(self._said, at)]

    def _step(self, row: NDArray[np.float64], speech: int) -> str | None:
        """What is to be announced after a step that ends after so many samples of speech."""
        params = self._params
        self._last = row
        label, posterior = self._likeliest(row)
        if self._said is None:
            early = (
                posterior >= params.sure and label != UNKNOWN and self._lasts(params.min_speech_ms, speech)
            )
            if not early and not self._lasts(params.decide_ms, speech):
                return None
        else:
            said = params.floor if self._said == UNKNOWN else row[self._labels.index(self._said)]
            turned = label != self._said and posterior >= params.turn_ratio * said
            self._times = (self._times + 1 if label == self._other else 1) if turned else 0
            self._other = label
            if self._times < params.turn_hops:
                return None
        self._said, self._times = label, 0
        return label

    def _likeliest(self, row: NDArray[np.float64]) -> tuple[str, float]:
        best = int(row.argmax())
        return _answer(self._labels[best], float(row[best]), self._params.floor)

    def _lasts(self, ms: int, speech: int | None = None) -> bool:
        return (self._speech if speech is None else speech) * 1000 >= ms * self._rate

    def _guess(self, label: str, at: int) -> DialectGuessed:
        row = self._last if self._last is not None else np.zeros(0)
        best = np.argsort(-row, kind="stable")[:TOLD].tolist()
        told = {self._labels[i]: round(float(row[i]), 4) for i in best}
        return DialectGuessed(at=at, model=self._model, rate=self._rate, label=label, scores=told)


def _answer(label: str, posterior: float, floor: float) -> tuple[str, float]:
    """The likeliest of a label and "unknown", with its posterior."""
    return (label, posterior) if posterior >= floor else (UNKNOWN, floor)


def clip(scores: Scores, spec: ModelSpec, _: object = None) -> dict[str, Any]:
    """The language of a whole clip, by its last step, which has heard all of it.

    Args:
        scores: (steps, labels), at least one step.
        spec: of the model that gave them.

    Returns:
        "label", which may be "unknown", and "scores": the posterior of each label, at the temperature.
    """
    params = DialectParams.of(spec)
    row = tempered(scores[-1], params.temperature)
    best = int(row.argmax())
    return {
        "label": _answer(spec.labels[best], float(row[best]), params.floor)[0],
        "scores": {label: round(float(p), 4) for label, p in zip(spec.labels, row, strict=True)},
    }


def metrics(results: Sequence[Mapping[str, Any]], truths: Sequence[str], spec: ModelSpec) -> dict[str, Any]:
    """Figures of language recognition; a true label that the model has not counts as "unknown".

    Labels that no clip is of are left out of "eer" and "cavg", which would look better for them. The score
    of a trial is the logarithm of the posterior, at least that of 0.0001: Cavg's thresholds, evenly spread,
    then lie close where posteriors are low, as they must where labels are many (our reading; AP20-OLR leaves
    the scale of scores to the contestant).

    Args:
        results: what `clip` gave for each.
        truths: the right label of each.
        spec: of the model.

    Returns:
        "n"; "accuracy", with "unknown" wrong for a language that the model knows, and right for others;
        "known_accuracy", of the likeliest label alone, without "unknown", over languages that it knows;
        "eer" over all trials, "cavg" (open set if there are unknown truths, else closed set), "unknown_eer"
        (unknown languages told by the likeliest label's posterior), "ece" of the likeliest label over known
        languages: 0 to 1, None where there is nothing to tell; and "confusion": true to found to count.
    """
    known = {label: i for i, label in enumerate(spec.labels)}
    confusion: dict[str, dict[str, int]] = {}
    right = 0
    for result, truth in zip(results, truths, strict=True):
        wanted = truth if truth in known else UNKNOWN
        right += result["label"] == wanted
        row = confusion.setdefault(wanted, {})
        row[result["label"]] = row.get(result["label"], 0) + 1
    n = len(results)
    scores = np.array([[result["scores"][label] for label in spec.labels] for result in results])
    scores = scores.reshape(n, len(spec.labels))
    classes = np.array([known.get(truth, detection.UNKNOWN_CLASS) for truth in truths], np.int64)
    figures = {"accuracy": right / n if n else None} | figures_of(scores, classes)
    rounded = {key: None if value is None else round(value, 6) for key, value in figures.items()}
    return {"n": n} | rounded | {"confusion": confusion}


def figures_of(scores: NDArray[np.float64], classes: NDArray[np.int64]) -> dict[str, float | None]:
    """What `metrics` says of posteriors (clips, labels) and true classes (clips,); -1: none of the labels."""
    told = classes != detection.UNKNOWN_CLASS
    figures: dict[str, float | None] = dict.fromkeys(("known_accuracy", "eer", "cavg", "unknown_eer", "ece"))
    if not told.any():
        return figures
    best = scores.argmax(axis=1)
    right, sureness = (best == classes)[told], scores.max(axis=1)
    figures["known_accuracy"] = float(right.mean())
    figures["ece"] = detection.ece(sureness[told], right)
    if not told.all():
        figures["unknown_eer"] = detection.eer(-sureness, ~told)
    present, numbers = np.unique(classes[told], return_inverse=True)
    if len(present) > 1 or not told.all():
        trials = np.log(np.maximum(scores[:, present], _LEAST_TOLD))
        among = np.full(len(classes), detection.UNKNOWN_CLASS)
        among[told] = numbers
        figures["eer"] = detection.eer(trials, among[:, None] == np.arange(len(present)))
        figures["cavg"] = detection.cavg(trials, among)
    return figures
