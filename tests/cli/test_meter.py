"""The level meter against its definition."""

import io

import numpy as np
import pytest

from stapes.cli.meter import WIDTH, LevelMeter, bar


@pytest.mark.parametrize(
    ("peak", "full", "word"),
    [
        (0.0, 0, "silent"),
        (1e-5, 0, "-100 dBFS"),
        (10 ** (-30 / 20), WIDTH // 2, "-30 dBFS"),
        (0.5, round(WIDTH * (1 - 6.02 / 60)), "-6 dBFS"),
        (1.0, WIDTH, "CLIPPING"),
    ],
)
def test_bar(peak: float, full: int, word: str) -> None:
    text = bar(peak)
    assert text.count("#") == full
    assert word in text


def test_one_line_a_tenth_of_a_second() -> None:
    terminal = io.StringIO()
    meter = LevelMeter(terminal, 16_000)
    for _ in range(50):  # a second
        meter.hear(np.full(320, 0.25, np.float32))
    assert terminal.getvalue().count("\r") == 10
    assert "\n" not in terminal.getvalue()
    meter.clear()
    assert terminal.getvalue().endswith(" \r")
