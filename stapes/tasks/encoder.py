"""Encoders: features of sound for others to build on, every 20 ms, or more seldom of those that compress."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Self

import numpy as np

from stapes.events import Event, FeaturesHeard
from stapes.spec import ModelSpec, Scores, SpecError

RATE = "rate"
"""The graph's input for λ, of an encoder that compresses."""


@dataclass(frozen=True, slots=True)
class EncoderParams:
    """`ModelSpec.params` of an encoder. Both of the last two keys are there, or none; and no other."""

    step_frames: int
    """Frames of each step, before it is compressed."""
    period_ms: float | None = None
    """Of an encoder that compresses: the mean period of its steps, from that of `step_frames` to..."""
    longest_ms: float | None = None
    """...the mean period of its learned weights."""

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """The params of a model, checked.

        Raises:
            SpecError: a key that is missing or unknown, a value out of range, or a window that overlaps.
        """
        raw, names = spec.params, [field.name for field in fields(cls)]
        for key in raw:
            if key not in names:
                raise SpecError(f"{spec.name}: unknown key 'params.{key}'; an encoder has {', '.join(names)}")
        frames = raw.get("step_frames")
        hop, mode = spec.window.hop, spec.window.mode
        if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1 or hop % frames:
            raise SpecError(
                f"{spec.name}: 'params.step_frames' must be a whole number of which the window's hop, {hop}, "
                f"is a multiple, got {frames!r}"
            )
        if spec.window.lookahead or (mode != "stateful" and (mode != "segment" or spec.states)):
            raise SpecError(
                f"{spec.name}: an encoder's window is 'stateful', or 'segment' without states, and has no "
                f"lookahead, got {mode!r}, {len(spec.states)} states, {spec.window.lookahead}"
            )
        if "longest_ms" not in raw and "period_ms" in raw:
            shortest = frames * spec.features.hop_ms
            raise SpecError(f"{spec.name} does not compress: it has a step every {shortest:g} ms, always")
        params = cls(**raw)
        params._check_periods(spec)
        return params

    def _check_periods(self, spec: ModelSpec) -> None:
        if self.longest_ms is None:
            return
        shortest = self.step_frames * spec.features.hop_ms
        for name, most in (("longest_ms", 10_000.0), ("period_ms", self.longest_ms)):
            value = getattr(self, name)
            fine = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
            if not fine or not shortest <= value <= most or (name == "longest_ms" and value == shortest):
                raise SpecError(
                    f"{spec.name}: 'params.{name}' must be a number from {shortest:g} to {most:g}, "
                    f"got {value!r}"
                )

    def period(self, spec: ModelSpec) -> float:
        """From one step to the next in ms, on average."""
        return float(self.period_ms or self.step_frames * spec.features.hop_ms)


def inputs(spec: ModelSpec) -> dict[str, float]:
    """λ, 0 to 1, of an encoder that compresses (arXiv 2211.02332).

    Its frames weigh α' = λα + (1 - λ), and the learned weights α have a mean of shortest / longest, so the
    mean period is shortest / (1 - λ (1 - shortest / longest)).
    """
    params = EncoderParams.of(spec)
    if params.longest_ms is None:
        return {}
    shortest = params.step_frames * spec.features.hop_ms
    return {RATE: (1 - shortest / params.period(spec)) / (1 - shortest / params.longest_ms)}


class FeatureDecoder:
    """Tells features as they are: an event a call.

    A stream's last call is filled up with silence; steps that reach over the end are not told.
    """

    def __init__(self, spec: ModelSpec, _: object = None) -> None:
        params = EncoderParams.of(spec)
        self._spec, self._period = spec, params.period(spec)
        self._step = params.step_frames * spec.features.hop_samples
        self._frames = 0
        """Of the stream so far, by a model that hears all of it."""

    def push(self, scores: Scores, at: int) -> list[Event]:
        """Features (steps, width), of which the last ends at sample `at`."""
        spec, kept = self._spec, len(scores)
        if spec.streamed:
            self._frames += spec.window.hop
            end = (self._frames - 1) * spec.features.hop_samples + spec.features.frame_samples
            over = -(-(end - at) // self._step)
            kept, at = kept - over, end - over * self._step
        if kept <= 0:
            return []
        told = scores[:kept].copy()
        told.flags.writeable = False
        rate = spec.features.sample_rate
        return [FeaturesHeard(at=at, model=spec.name, rate=rate, features=told, period_ms=self._period)]

    def flush(self, at: int) -> list[Event]:  # noqa: ARG002 - every step was told when it came
        """Nothing is held back: []."""
        return []


def clip(scores: Scores, spec: ModelSpec, _: object = None) -> dict[str, Any]:
    """The features of a whole clip, for JSON.

    Args:
        scores: (steps, width).
        spec: of the model that gave them.

    Returns:
        "period_ms", from one step to the next, and "features", lists of numbers rounded to four places.
    """
    rounded = np.round(scores.astype(np.float64), 4)
    return {"period_ms": EncoderParams.of(spec).period(spec), "features": rounded.tolist()}


def metrics(results: Sequence[Mapping[str, Any]], truths: Sequence[str], spec: ModelSpec) -> dict[str, Any]:  # noqa: ARG001
    """Features are neither right nor wrong: "n" alone."""
    return {"n": len(results)}
