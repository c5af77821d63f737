"""Tiny models for the runtime's tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stapes.model import Model
from stapes.spec import WindowMode
from tests.tools import tiny_onnx, trace

Tiny = Callable[..., Model]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    """Makes a tiny model: `tiny(mode, **what tests.tools.tiny_onnx.spec takes)`."""
    made: dict[str, Model] = {}

    def make(mode: WindowMode, **settings: Any) -> Model:
        key = f"{mode} {sorted(settings.items())}"
        if key not in made:
            folder = tmp_path_factory.mktemp("tiny")
            made[key] = Model.load(tiny_onnx.write(folder, tiny_onnx.spec(mode, **settings)))
        return made[key]

    with trace.registered():
        yield make
