"""Temperature, floor and early guesses, fitted to what a model says of recordings it was not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from stapes.spec import Scores
from stapes.tasks.detection import UNKNOWN_CLASS
from stapes.tasks.dialect_id import tempered

Reals = NDArray[np.float64]
Classes = NDArray[np.int64]

TEMPERATURES = (0.05, 20.0)
"""None outside is looked for."""
_LEAST = 1e-30


def log_loss(posteriors: NDArray[np.floating], classes: Classes, temperature: float) -> float:
    """Mean of -log p(right label), in nats, of posteriors (rows, labels) at a temperature."""
    logs = np.log(np.maximum(posteriors.astype(np.float64), _LEAST)) / temperature
    peak = logs.max(axis=1, keepdims=True)
    total = peak[:, 0] + np.log(np.exp(logs - peak).sum(axis=1))
    return float((total - logs[np.arange(len(classes)), classes]).mean())


def fit_temperature(posteriors: NDArray[np.floating], classes: Classes) -> float:
    """The temperature of least log loss (Guo et al. 2017, arXiv 1706.04599, section 4.2).

    The loss is convex in 1 / temperature, so there is one.

    Args:
        posteriors: (rows, labels), at temperature 1.
        classes: (rows,) right labels, each known.
    """
    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(
        lambda log: log_loss(posteriors, classes, float(np.exp(log))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return round(float(np.exp(found.x)), 3)


def choose_floor(sureness: Reals, right: NDArray[np.bool_], cost: float) -> float:
    """The highest floor at which "unknown" takes the place of few right answers.

    Args:
        sureness: (recordings,) posterior of the likeliest label, of languages that the model knows.
        right: (recordings,) whether it is the right one.
        cost: share of these recordings whose right answer may be lost.

    Returns:
        A floor in steps of 0.001; what is below it is unknown.
    """
    allowed = int(cost * len(sureness) + 1e-9)
    rights = np.sort(sureness[right])
    if allowed >= len(rights):
        return 1.0
    return float(np.floor(rights[allowed] * 1000) / 1000)


@dataclass(frozen=True, slots=True)
class Heard:
    """The likeliest label of one recording, step by step."""

    truth: int
    best: Classes
    """(steps,)"""
    sureness: Reals
    """(steps,) posterior of that."""

    @classmethod
    def of(cls, scores: Scores, truth: int, temperature: float) -> "Heard":
        """From (steps, labels) posteriors at temperature 1."""
        rows = np.array([tempered(row, temperature) for row in scores])
        return cls(truth, rows.argmax(axis=1), rows.max(axis=1))

    def first(self, sure: float, start: int, stop: int) -> int | None:
        """The first step from `start` to before `stop` with such a posterior, if any."""
        reached = np.flatnonzero(self.sureness[start:stop] >= sure)
        return start + int(reached[0]) if len(reached) else None


@dataclass(frozen=True, slots=True)
class Early:
    """What guesses a threshold `sure` lets through early."""

    sure: float
    guessed: int
    """Recordings of known languages with an early guess..."""
    right: int
    """...and of these, how many were right."""

    @property
    def share(self) -> float:
        """Right ones among the early guesses."""
        return self.right / self.guessed if self.guessed else 1.0


def choose_sure(heard: Sequence[Heard], accuracy: float, least: float, start: int, stop: int) -> Early:
    """The lowest threshold at which early guesses are right often enough.

    Args:
        heard: recordings, of which those of known languages count.
        accuracy: wanted share of right ones among early guesses.
        least: the lowest threshold to take, the floor at least.
        start: first step at which a guess may be announced.
        stop: step from which on one is announced anyway.

    Returns:
        The threshold, in steps of 0.01; 0.99 if none is good enough.
    """
    known = [each for each in heard if each.truth != UNKNOWN_CLASS]
    early = Early(0.99, 0, 0)
    for percent in range(min(99, int(np.ceil(least * 100))), 100):
        sure = percent / 100
        firsts = [(each, step) for each in known if (step := each.first(sure, start, stop)) is not None]
        right = sum(bool(each.best[step] == each.truth) for each, step in firsts)
        early = Early(sure, len(firsts), right)
        if early.share >= accuracy:
            break
    return early
