"""A task for tests that announces every score it is given, so that a stream's arithmetic can be compared."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stapes.events import DialectGuessed, Event
from stapes.spec import ModelSpec, Scores
from stapes.tasks import TASKS, Task


class TraceDecoder:
    """One event a step, with all its scores."""

    def __init__(self, spec: ModelSpec, _: object = None) -> None:
        self._spec = spec

    def push(self, scores: Scores, at: int) -> list[Event]:
        return [self._event(row.tolist(), at) for row in scores]

    def flush(self, at: int) -> list[Event]:
        return [self._event([], at)]

    def _event(self, row: list[float], at: int) -> DialectGuessed:
        spec = self._spec
        scores = dict(zip(spec.labels, row, strict=False))
        label = max(scores, key=scores.__getitem__) if scores else "flush"
        return DialectGuessed(
            at=at, model=spec.name, rate=spec.features.sample_rate, label=label, scores=scores
        )


def _clip(scores: Scores, spec: ModelSpec, _: object = None) -> dict[str, Any]:
    return {"label": spec.labels[int(scores.sum(axis=0).argmax())], "scores": {}}


@contextmanager
def registered() -> Iterator[None]:
    """The task "trace" in the registry, and "trace on", which carries on from speech to speech."""
    for name in ("trace", "trace on"):
        TASKS[name] = Task(
            ("label",),
            TraceDecoder,
            _clip,
            lambda results, *_: {"n": len(results)},
            carries=name == "trace on",
        )
    try:
        yield
    finally:
        del TASKS["trace"], TASKS["trace on"]
