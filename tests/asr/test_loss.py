"""Losses by hand, and error rates."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr import loss
from asr.errors import distance, error_rate
from asr.vocabulary import END


def test_two_directions_by_hand() -> None:
    # Four symbols; ε = 0.1, so 0.9 on the right one and 0.1 / 3 on each other.
    probabilities = torch.tensor(
        [
            [[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]],  # L2R
            [[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.2, 0.6], [0.25, 0.25, 0.25, 0.25]],  # R2L
        ]
    )
    targets = torch.tensor([[[1, END, 0], [2, END, 0]]])  # the third is padding

    def smoothed(row: list[float], right: int) -> float:
        others = sum(math.log(p) for i, p in enumerate(row) if i != right)
        return -0.9 * math.log(row[right]) - 0.1 / 3 * others

    forward = (smoothed([0.1, 0.2, 0.3, 0.4], 1) + smoothed([0.7, 0.1, 0.1, 0.1], 3)) / 2
    backward = (smoothed([0.4, 0.3, 0.2, 0.1], 2) + smoothed([0.1, 0.1, 0.2, 0.6], 3)) / 2
    found = loss.two_directions(probabilities.log()[None] + 3.0, targets, 0.1)
    assert float(found) == pytest.approx(0.5 * forward + 0.5 * backward, abs=1e-6)
    one = loss.two_directions(probabilities.log()[None, :1], targets[:, :1], 0.1)
    assert float(one) == pytest.approx(forward, abs=1e-6)


def test_without_smoothing_it_is_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(3, 2, 5, 9), torch.randint(1, 9, (3, 2, 5))
    wanted = torch.nn.functional.cross_entropy(logits.flatten(0, 2), targets.flatten())
    torch.testing.assert_close(loss.two_directions(logits, targets, 0.0), wanted)


def test_ctc_by_hand() -> None:
    # Two steps, one label: aa, -a, a- of nine alignments.
    p = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.1, 0.3]])
    likelihood = 0.3 * 0.1 + 0.5 * 0.1 + 0.3 * 0.6
    found = loss.ctc(p.log()[None], torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1]))
    assert float(found) == pytest.approx(-math.log(likelihood), abs=1e-6)


def test_ctc_ignores_recordings_shorter_than_their_text() -> None:
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    found = loss.ctc(logits, torch.tensor([2]), torch.tensor([[1, 2, 1]]), torch.tensor([3]))
    found.backward()
    assert float(found.detach()) == 0
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == 0


def test_a_teachers_features_count_where_they_are() -> None:
    guesses = torch.tensor([[[1.0], [2.0], [9.0]], [[5.0], [5.0], [5.0]]])
    features = torch.zeros(2, 3, 1)
    found = loss.taught(guesses, torch.tensor([2, 3]), features, torch.tensor([True, False]))
    assert float(found) == pytest.approx((1 + 4) / 2)


def recursive(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(recursive(a[1:], b[1:]) + (a[0] != b[0]), recursive(a[1:], b) + 1, recursive(a, b[1:]) + 1)


@given(st.text("abc", max_size=5), st.text("abcd", max_size=5))
def test_distance_is_levenshteins(a: str, b: str) -> None:
    assert distance(a, b) == recursive(a, b)


def test_error_rates() -> None:
    assert error_rate(["one two three", "four"], ["one too three", "four five"], "word") == 2 / 4
    assert error_rate(["一二 三"], ["一三"], "character") == pytest.approx(1 / 3)
