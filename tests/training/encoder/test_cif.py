"""Once-for-all compression against the loop that defines it, and its rate."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.encoder import cif
from training.encoder.network import Encoder
from training.encoder.spec import EncoderSpec

SMALL = EncoderSpec(
    mels=8, layers=2, width=16, inner=24, heads=2, position_kernel=6, position_groups=2, dropout=0.0
)


def _fired(frames: list[list[float]], alpha: list[float]) -> list[list[float]]:
    """Integrate and fire, a frame at a time; the rest at the end counts from a half on, scaled up to 1."""
    out, total, held = [], 0.0, [0.0] * len(frames[0])
    for frame, weight in zip(frames, alpha, strict=True):
        if total + weight < 1:
            total += weight
            held = [h + weight * x for h, x in zip(held, frame, strict=True)]
            continue
        used = 1 - total
        out.append([h + used * x for h, x in zip(held, frame, strict=True)])
        total = weight - used
        held = [total * x for x in frame]
    if total >= 0.5 or not out:
        out.append([h / total for h in held])
    return out


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(0, 10_000), st.floats(0, 1.9))
def test_integration_is_the_loops(count: int, seed: int, rate: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    alpha = torch.rand(2, count, generator=generator, dtype=torch.float64) * 0.98 + 0.01
    frames = torch.randn(2, count, 3, generator=generator, dtype=torch.float64)
    weights = cif.controlled(alpha, torch.tensor(rate, dtype=torch.float64))
    lengths = torch.tensor([count, max(1, count // 2)])
    matrix, counts = cif.integrate(weights, lengths)
    for row in range(2):
        n = int(lengths[row])
        wanted = torch.tensor(
            _fired(frames[row, :n].tolist(), weights[row, :n].tolist()), dtype=torch.float64
        )
        if abs(float(weights[row, :n].sum() + 0.5) % 1) < 1e-9:
            continue  # on the edge of a unit, either count is right
        assert int(counts[row]) == len(wanted)
        torch.testing.assert_close((matrix[row] @ frames[row])[: len(wanted)], wanted, atol=1e-9, rtol=1e-9)
        assert not matrix[row, len(wanted) :].any()


def test_rate_and_period() -> None:
    assert cif.rate_of(20) == 0
    assert cif.rate_of(90) == pytest.approx(1)
    for period in (20, 33, 60, 90):
        assert cif.period_of(cif.rate_of(period)) == pytest.approx(period)
    with pytest.raises(ValueError, match="120"):
        cif.rate_of(120)
    alpha = torch.full((1, 900), 2 / 9)
    for rate, period in ((0.0, 20), (0.5, cif.period_of(0.5)), (1.0, 90), (1.5, 180)):
        _, counts = cif.integrate(cif.controlled(alpha, torch.tensor(rate)))
        assert 900 * 20 / int(counts) == pytest.approx(period, rel=0.01)


def test_rate_zero_is_the_encoder_without_compression() -> None:
    torch.manual_seed(0)
    encoder = Encoder(replace(SMALL, compress=True)).eval()
    plain = Encoder(SMALL).eval()
    plain.load_state_dict({k: v for k, v in encoder.state_dict().items() if not k.startswith("weights.")})
    frames, lengths = torch.randn(2, 40, 8), torch.tensor([40, 25])
    ours, theirs = encoder(frames, lengths, torch.tensor(0.0)), plain(frames, lengths)
    assert ours.lengths.tolist() == theirs.lengths.tolist() == [20, 13]
    torch.testing.assert_close(ours.states[-1][1, :13], theirs.states[-1][1, :13])
    slow = encoder(frames, lengths, torch.tensor(1.0))
    assert slow.states[-1].shape[1] == slow.lengths.max() < 10


def test_rate_and_weights_learn() -> None:
    torch.manual_seed(0)
    encoder = Encoder(replace(SMALL, compress=True))
    rate = torch.tensor(0.6, requires_grad=True)
    encoder(torch.randn(1, 60, 8), None, rate).states[-1][..., 0].square().sum().backward()
    assert rate.grad is not None
    assert rate.grad != 0
    assert encoder.weights.weigh.weight.grad.abs().sum() > 0


def test_guidance_by_hand() -> None:
    units = torch.tensor([[5, 5, 5, 7, 9, 9, 0, 0]])
    starts = cif.runs(units)
    # 7 lasts one frame: 9 begins too early after it and stays in its segment
    assert starts.nonzero()[:, 1].tolist() == [0, 3, 6]
    alpha = torch.tensor([[0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 1.0, 9.0]])
    # the last frame is padding: segments of 3, 3 and 1; ends at 1.5, 2.25, 3.25
    frame = (3 * (0.5 - 1 / 3) + 3 * (1 / 3 - 0.25) + 0) / 7
    segment = (0.5 + 0.25 + 0.25) / 3
    loss = cif.guidance(alpha, starts, torch.tensor([7]))
    assert float(loss) == pytest.approx(0.5 * frame + 0.05 * segment, abs=1e-6)
