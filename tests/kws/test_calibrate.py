"""Thresholds from peaks, against a search through all of them."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.calibrate import Peaks, allot, operating_point, smoothed, stretches
from kws.det import curve

peaks_of = st.lists(st.integers(300, 999).map(lambda n: n / 1000), max_size=5)


def made(false: list[list[float]], true: list[list[float]], hours: float) -> Peaks:
    names = ["yes", "no", "up"][: len(false)]
    return Peaks(
        {n: np.sort(np.array(f, np.float32))[::-1] for n, f in zip(names, false, strict=True)},
        hours,
        {n: np.array(t, np.float32) for n, t in zip(names, true, strict=True)},
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(peaks_of, peaks_of), min_size=1, max_size=3), st.integers(0, 4))
def test_allotment_misses_as_few_as_any(parts: list[tuple[list[float], list[float]]], budget: int) -> None:
    peaks = made([f for f, _ in parts], [t for _, t in parts], hours=1.0)
    chosen = allot(peaks, rate=budget)
    point = operating_point(peaks, chosen)
    assert point["false_accepts"] <= budget

    def misses(thresholds: dict[str, float]) -> int:
        return sum(int((peaks.true[n] < t).sum()) for n, t in thresholds.items())

    options = [
        sorted({0.5, 0.999, *(min(max(round(float(f) + 0.005, 3), 0.5), 0.999) for f in peaks.false[n])})
        for n in peaks.false
    ]
    best = min(
        misses(dict(zip(peaks.false, combination, strict=True)))
        for combination in product(*options)
        if sum(int((peaks.false[n] >= t).sum()) for n, t in zip(peaks.false, combination, strict=True))
        <= budget
    )
    assert misses(chosen) <= best


def test_stretches_are_counted_once() -> None:
    scores = np.array([0.1, 0.4, 0.9, 0.5, 0.2, 0.35, 0.1, 0.8], np.float32)
    assert stretches(scores) == pytest.approx([0.9, 0.35, 0.8])
    assert stretches(np.zeros(3, np.float32)) == []


@given(st.integers(0, 30), st.integers(1, 5))
@settings(deadline=None)
def test_smoothing_is_the_decoders_mean(steps: int, hops: int) -> None:
    rng = np.random.default_rng(steps)
    scores = rng.random((steps, 3)).astype(np.float32)
    padded = np.concatenate((np.zeros((hops - 1, 3), np.float32), scores))
    wanted = [padded[i : i + hops].mean(0) for i in range(steps)]
    np.testing.assert_allclose(smoothed(scores, hops), np.array(wanted).reshape(steps, 3), atol=1e-6)


def test_curve_falls_and_rises() -> None:
    peaks = made([[0.4, 0.7, 0.95]], [[0.5, 0.99, 0.8, 0.2]], hours=2.0)
    rate, missed = curve(peaks)
    assert rate[0] == 1.5
    assert rate[-1] == 0
    assert missed[0] == 0.25
    assert (np.diff(rate) <= 0).all()
    assert (np.diff(missed) >= 0).all()
