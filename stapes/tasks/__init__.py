"""The registry of tasks: how each turns scores into events, judges a whole clip, and is measured.

A new task is a module here, one line in `TASKS`, and its event in `stapes.events`. A module is imported when
something of it is first called: who spots keywords does not wait for the search of texts to be read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from stapes.events import Event
from stapes.spec import ModelSpec, Scores, SpecError
from stapes.tasks.reading import Extras


class Decoder(Protocol):
    """Scores in, events out; one a model and stream. Holds what must be remembered between calls."""

    def push(self, scores: Scores, at: int) -> list[Event]:
        """The next scores.

        Args:
            scores: (steps, labels); the steps lie evenly over the frames that they are of.
            at: end of what the last step covers, in samples at the model's rate.
        """
        ...

    def flush(self, at: int) -> list[Event]:
        """The stream, or with "segment" models of a task that does not carry on the speech, ended at `at`."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What the rest of the package has to know of a task."""

    truth: tuple[str, ...]
    """Keys of the right answer in a manifest line: the first that is there counts. Empty: no answer is."""
    decoder: Callable[[ModelSpec, Extras], Decoder]
    """A fresh decoder; the extras are the model's. Raises SpecError for params that are missing, unknown or
    out of range."""
    clip: Callable[[Scores, ModelSpec, Extras], dict[str, Any]]
    """The result for a whole clip, from the (steps, labels) scores of it; see `stapes.scoring.judge`."""
    metrics: Callable[[Sequence[Mapping[str, Any]], Sequence[str], ModelSpec], dict[str, Any]]
    """Figures over the results of many clips and their right answers."""
    carries: bool = False
    """Of models that hear only speech, by hops: whether a stretch of speech goes on where the last one ended.
    If not, each is an utterance of its own: it begins with states of zero, and ends with `flush`."""
    features: bool = False
    """Whether scores are features: any numbers, of which every step counts and lies where its frames are."""
    inputs: Callable[[ModelSpec], Mapping[str, float]] = lambda _: {}
    """Numbers that the graph takes at each call, (batch, 1) each, beside frames and states. Raises SpecError
    as `decoder` does."""

    def answer(self, line: Mapping[str, Any]) -> str | None:
        """The right answer in a manifest line; None where there is none, or it is no string."""
        found = next((line[key] for key in self.truth if key in line), None)
        return found if isinstance(found, str) else None


def _of(module: str, name: str) -> Callable[..., Any]:
    """The function or class `name` of a task's module, imported by the first call."""

    def call(*args: Any) -> Any:
        return getattr(import_module(f"stapes.tasks.{module}"), name)(*args)

    return call


def _task(module: str, decoder: str, truth: tuple[str, ...], **more: Any) -> Task:
    clip, metrics = _of(module, "clip"), _of(module, "metrics")
    return Task(truth=truth, decoder=_of(module, decoder), clip=clip, metrics=metrics, **more)


TASKS: Final[dict[str, Task]] = {
    "asr": _task("asr", "TextDecoder", ("text",)),
    "dialect_id": _task(
        "dialect_id", "DialectDecoder", ("language", "dialect", "accent", "label"), carries=True
    ),
    "encoder": _task("encoder", "FeatureDecoder", (), features=True, inputs=_of("encoder", "inputs")),
    "kws": _task("kws", "KeywordDecoder", ("label",)),
}
"""By the name that a model file gives as its task."""


def task_of(spec: ModelSpec) -> Task:
    """The task of a model.

    Raises:
        SpecError: one that this stapes does not know.
    """
    if spec.task not in TASKS:
        raise SpecError(
            f"{spec.name}: unknown task {spec.task!r}; this stapes knows {', '.join(sorted(TASKS))}"
        )
    return TASKS[spec.task]


def inputs_of(spec: ModelSpec, batch: int = 1) -> dict[str, NDArray[np.float32]]:
    """Numbers that a model's graph takes at each call, (batch, 1), by name; none of an unknown task.

    Raises:
        SpecError: params that are unknown or out of range.
    """
    numbers = TASKS[spec.task].inputs(spec) if spec.task in TASKS else {}
    return {name: np.full((batch, 1), value, np.float32) for name, value in numbers.items()}
