"""The cosine head and its margin against values worked out by hand."""

import math

import pytest
import torch

from dialect_id.head import CosineHead, HeadSpec, with_margin
from training.recipe import RecipeError


def test_logits_are_scaled_cosines_of_the_nearest_centre() -> None:
    head = CosineHead(2, 2, HeadSpec(kind="cosine", scale=10.0, centres=2))
    # Centres of label 0: east and north; of label 1: west, and south-east.
    head.weight.data = torch.tensor([[3.0, 0.0], [0.0, 0.5], [-1.0, 0.0], [2.0, -2.0]])
    logits = head(torch.tensor([[3.0, 4.0], [0.0, -7.0]]))
    # (3, 4)/5: cosines 0.6 and 0.8 of label 0; −0.6 and (0.6 − 0.8)/√2 of label 1. (0, −1): 0, −1; 0, 1/√2.
    wanted = torch.tensor([[8.0, -10 * 0.2 / math.sqrt(2)], [0.0, 10 / math.sqrt(2)]])
    torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=1e-5)


def test_margin_turns_the_right_label_alone() -> None:
    angles = torch.tensor([[60.0, 40.0, 90.0], [120.0, 20.0, 10.0]])
    logits = 30 * torch.cos(torch.deg2rad(angles))
    found = with_margin(logits, torch.tensor([0, 2]), 30.0, math.radians(30))
    # 60° + 30° = 90°, 10° + 30° = 40°: cosines 0 and 0.766044.
    wanted = logits.clone()
    wanted[0, 0], wanted[1, 2] = 0.0, 30 * 0.7660444431
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)
    # Cross-entropy of the first: cosines 0, cos 40°, 0, scaled by 30.
    loss = torch.nn.functional.cross_entropy(found[:1], torch.tensor([0]))
    assert float(loss) == pytest.approx(math.log(2 + math.exp(30 * 0.7660444431)), abs=1e-3)


def test_margin_is_monotonic_beyond_half_a_turn() -> None:
    angles = torch.linspace(0.01, math.pi - 0.01, 400)
    logits = torch.cos(angles)[:, None].repeat(1, 2)
    turned = with_margin(logits, torch.zeros(400, dtype=torch.long), 1.0, 0.4)[:, 0]
    assert bool((turned.diff() < 0).all())
    assert bool((turned < logits[:, 0]).all())


def test_gradients_are_finite_at_the_very_centre() -> None:
    logits = torch.tensor([[30.0, -30.0], [-30.0, 30.0]], requires_grad=True)
    with_margin(logits, torch.tensor([0, 0]), 30.0, 0.2).sum().backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


def test_margin_rises_over_the_first_epochs() -> None:
    spec = HeadSpec(kind="cosine", margin=0.2, margin_epochs=4)
    assert [round(spec.margin_at(epoch), 3) for epoch in range(6)] == [0.0, 0.05, 0.1, 0.15, 0.2, 0.2]
    assert HeadSpec(kind="linear").margin_at(9) == 0.0
    assert HeadSpec(kind="cosine", margin=0.2, margin_epochs=0).margin_at(1) == 0.2
    with pytest.raises(RecipeError, match="margin"):
        HeadSpec(margin=1.6)
