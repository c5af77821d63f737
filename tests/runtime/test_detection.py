"""Cavg, EER and calibration error: cases worked out by hand, and implementations that count one by one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stapes.tasks.detection import cavg, det, ece, eer, reliability

CLOSED = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.0, 1.0]]
OPEN = [*CLOSED, [0.7, 0.3], [0.1, 0.1], [0.7, 0.0]]


def test_cavg_of_a_closed_set_by_hand() -> None:
    # From 0.2 to 0.4 only the second recording is wrong: accepted as label 1, one of two of its class.
    assert cavg(CLOSED, [0, 0, 1, 1]) == pytest.approx((0 + 0.5 * 1 / 2) / 2)
    # At 0 all is accepted: 0.5. At 1 all but the last are missed: (0.5 · 1 + 0.5 · 1/2) / 2.
    assert cavg(CLOSED, [0, 0, 1, 1], bins=1) == pytest.approx(0.375)


def test_cavg_of_an_open_set_by_hand() -> None:
    classes = [0, 0, 1, 1, -1, -1, -1]
    # P_nontarget is 0.5 / 2. Over 0.7 the second recording is missed and nothing accepted wrongly; from 0.3
    # to 0.4 it would be (0.25 · 2/3 + 0.25 · 1/2) / 2.
    assert cavg(OPEN, classes) == pytest.approx(0.5 * 1 / 2 / 2)
    # Without the second recording, from 0.3 on there are only label 0 and two of three unknown ones.
    rest = [row for row in range(7) if row != 1]
    at_half = [[float(score >= 0.5) for score in OPEN[row]] for row in rest]
    assert cavg(at_half, [classes[row] for row in rest]) == pytest.approx(0.25 * 2 / 3 / 2)


def test_thresholds_are_few_and_lie_evenly() -> None:
    """Scores that a threshold in between would divide well, but all lie between two of the 21."""
    scores = [[0.52, 0.51], [0.51, 0.52], [0.0, 0.0], [1.0, 1.0]]
    assert cavg(scores, [0, 1, 0, 1]) == pytest.approx(0.5)
    # Among 201, 0.515: label 0 misses one recording of two, and accepts one of two of the other class.
    assert cavg(scores, [0, 1, 0, 1], bins=200) == pytest.approx((0.25 + 0.25) / 2)


def _organisers(scores: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """By the formula, trial by trial, as the challenge describes it."""
    labels = scores.shape[1]
    groups = [*range(labels), *([-1] if -1 in classes else [])]
    lowest, highest = scores.min(), scores.max()
    found = []
    for number in range(21):
        threshold = lowest + number * ((highest - lowest) / 20)
        total = 0.0
        for label in range(labels):
            for group in groups:
                mine = [row[label] for row, of in zip(scores, classes, strict=True) if of == group]
                accepted = sum(score >= threshold for score in mine) / len(mine)
                total += 0.5 * (1 - accepted) if group == label else 0.5 / (len(groups) - 1) * accepted
        found.append(total / labels)
    return min(found)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 5), st.integers(0, 6), st.booleans(), st.integers(0, 10_000))
def test_cavg_against_counting(labels: int, unknown: int, coarse: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = np.concatenate((np.arange(labels), rng.integers(0, labels, 20)))
    classes = np.concatenate((known, np.full(unknown, -1)))
    scores = rng.normal(size=(len(classes), labels)) + 1.5 * (classes[:, None] == np.arange(labels))
    scores = np.round(scores) if coarse else scores
    assert cavg(scores, classes) == pytest.approx(_organisers(scores, classes), abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "classes", "words"),
    [
        ([[0.1, 0.2]], [0, 1], r"got \(1, 2\) and \(2,\)"),
        ([0.1, 0.2], [0, 1], r"got \(2,\) and \(2,\)"),
        ([[0.1, 0.2]], [0], "each label at least once"),
        ([[0.1], [0.2]], [0, 1], "classes -1 to 0"),
        ([[0.1], [0.2]], [0, 0], "at least two classes"),
    ],
)
def test_cavg_refuses(scores: list[object], classes: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cavg(scores, classes)  # type: ignore[arg-type]


def test_eer_by_hand() -> None:
    assert eer([0.9, 0.8, 0.2, 0.1], [True, True, False, False]) == 0
    assert eer([0.9, 0.3, 0.4, 0.1], [True, True, False, False]) == pytest.approx(0.5)
    assert eer([0.1, 0.9], [True, False]) == 1
    assert eer([0.5] * 5, [True, True, False, False, False]) == pytest.approx(0.5)  # they tell nothing
    # Right ones 1 2 3 4, wrong ones 0 0 0 1.5: at 1.5, a quarter is missed and a quarter accepted.
    assert eer([1, 2, 3, 4, 0, 0, 0, 1.5], [True] * 4 + [False] * 4) == pytest.approx(0.25)
    # Right 1 3, wrong 0 0 2: the line from (1/3, 0.5) up to 2, where all wrong ones but it are rejected, to
    # (0, 0.5), and before it from (1/3, 0) to (1/3, 0.5): they are equal at 1/3.
    assert eer([1, 3, 0, 0, 2], [True, True, False, False, False]) == pytest.approx(1 / 3)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 1), st.integers(0, 10_000))
def test_eer_against_a_crossing_of_two_lines(right: int, wrong: int, digits: int, seed: int) -> None:
    """The usual way: the root of 1 - x - TPR(x) over a linearly interpolated ROC curve."""
    rng = np.random.default_rng(seed)
    scores = np.round(np.concatenate((rng.normal(1, 1, right), rng.normal(0, 1, wrong))), digits)
    targets = np.arange(right + wrong) < right
    points = [(0.0, 0.0)]
    for threshold in sorted(set(scores.tolist()), reverse=True):
        accepted = scores >= threshold
        points.append((accepted[~targets].mean(), accepted[targets].mean()))
    wanted = -1.0
    for (x, y), (x2, y2) in pairwise(points):
        before, after = 1 - x - y, 1 - x2 - y2
        if before >= 0 >= after and before != after:
            wanted = x + before / (before - after) * (x2 - x)
            break
    assert eer(scores, targets) == pytest.approx(wanted, abs=1e-9)


def test_eer_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="2 right and 0 wrong"):
        eer([0.1, 0.2], [True, True])


def test_det_at_every_threshold() -> None:
    accepts, misses = det([[0.9, 0.1], [0.4, 0.4]], [[True, False], [True, False]])
    np.testing.assert_allclose(accepts, [1, 0.5, 0, 0])
    np.testing.assert_allclose(misses, [0, 0, 0.5, 1])


def test_calibration_by_hand() -> None:
    sure, right = [0.95, 0.85, 0.55, 1.0, 0.0, 0.5], [True, False, True, True, False, True]
    counts, mean, share = reliability(sure, right, bins=2)
    assert counts.tolist() == [2, 4]  # the upper edge, 0.5, belongs to the lower bin
    np.testing.assert_allclose(mean, [0.25, 0.8375])
    np.testing.assert_allclose(share, [0.5, 0.75])
    assert ece(sure, right, bins=2) == pytest.approx((2 * 0.25 + 4 * 0.0875) / 6)
    assert ece([0.7] * 10, [True] * 7 + [False] * 3) == pytest.approx(0)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.integers(1, 20))
def test_calibration_against_counting(answers: list[tuple[float, bool]], bins: int) -> None:
    total = 0.0
    for number in range(bins):
        mine = [
            (sure, right)
            for sure, right in answers
            if number < sure * bins <= number + 1 or (number == 0 and sure == 0)
        ]
        total += abs(sum(sure - right for sure, right in mine))
    found = ece([sure for sure, _ in answers], [right for _, right in answers], bins)
    assert found == pytest.approx(total / len(answers), abs=1e-9)
