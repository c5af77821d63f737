"""Sound is read in this process: to start others takes longer than all that these tests read."""

from collections.abc import Callable, Iterable
from typing import Any, Self

import pytest


class _Here:
    """Stands for a pool of processes."""

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, function: Callable[[Any], Any], given: Iterable[Any]) -> list[Any]:
        return [function(each) for each in given]


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.audio.ProcessPoolExecutor", _Here)
