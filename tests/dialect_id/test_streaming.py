"""The network as a stream against itself run whole, and its running statistics against their definition."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dialect_id.causal import Carry, CausalConv
from dialect_id.dmsc import DMSCSpec, LocalScales
from dialect_id.network import DialectNet, NetworkSpec
from dialect_id.pooled_encoder import PooledEncoderSpec
from tests.dialect_id.made_up import SMALL

MELS, LABELS, HOP, CAP = 12, 5, 10, 4
ALL = DMSCSpec(stem=16, layers=(2, 2), growth=8, bottleneck=16, hop=HOP, cap=CAP)
SPECS = {
    "all three": ALL,
    "none": replace(ALL, dynamic=False, local_scales=1, global_pooling=False),
    "dynamic": replace(ALL, local_scales=1, global_pooling=False),
    "local": replace(ALL, dynamic=False, local_scales=2, global_pooling=False),
    "global": replace(ALL, dynamic=False, local_scales=1),
    "kernels 3 and 5, every frame": replace(ALL, branches=((3, 1), (5, 1)), stride=1),
    "one branch, one block": replace(ALL, branches=((3, 2),), layers=(2,)),
}


POOLED = "pooled encoder"
NETWORKS = {name: NetworkSpec(dmsc=spec, embedding=16) for name, spec in SPECS.items()}
NETWORKS[POOLED] = NetworkSpec(
    kind="pooled-encoder",
    pooled_encoder=PooledEncoderSpec(SMALL, taps=(1, 2), pooled=24, hop=HOP, cap=CAP),
    embedding=16,
)


@cache
def net_of(name: str) -> DialectNet:
    """A network whose normalisations have seen something."""
    torch.manual_seed(1)
    net = DialectNet(NETWORKS[name], MELS, LABELS)
    net.normalise(torch.full((MELS,), -5.0), torch.full((MELS,), 4.0))
    with torch.no_grad():
        for _ in range(20):
            net(noise(8, 4 * HOP))
    return net.eval()


def noise(batch: int, frames: int) -> Tensor:
    return torch.randn(batch, frames, MELS) * 4 - 5


def by_calls(net: DialectNet, frames: Tensor, hops: list[int]) -> tuple[Tensor, list[Tensor]]:
    states, parts, at = list(net.start(len(frames))), [], 0
    for count in hops:
        scores, *states = net.stream(frames[:, at : at + HOP * count], *states)
        parts.append(scores)
        at += HOP * count
    return torch.cat(parts, dim=1), states


@pytest.mark.parametrize("name", NETWORKS)
@settings(deadline=None, max_examples=8)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_streaming_in_any_calls_is_the_whole(name: str, hops: list[int]) -> None:
    net, total = net_of(name), sum(hops)
    torch.manual_seed(total)
    frames = noise(2, HOP * total)
    with torch.no_grad():
        scores, states = by_calls(net, frames, hops)
        at_once, states_at_once = by_calls(net, frames, [total])
        whole = net(frames, torch.tensor([HOP * total] * 2)).softmax(-1)
        hopwise = net.classifier(net.embed_hops(frames)).softmax(-1)
    assert scores.shape == (2, total, LABELS)
    torch.testing.assert_close(scores, at_once, atol=1e-4, rtol=0)
    torch.testing.assert_close(scores[:, -1], whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(scores, hopwise, atol=1e-4, rtol=0)
    for state, other in zip(states, states_at_once, strict=True):
        torch.testing.assert_close(state, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["all three", POOLED])
def test_padding_is_no_matter(name: str) -> None:
    net = net_of(name)
    frames, lengths = noise(4, 67), torch.tensor([67, 50, 23, 1])
    with torch.no_grad():
        together = net(frames, lengths)
        apart = torch.cat([net(frames[i : i + 1, :n]) for i, n in enumerate(lengths)])
        hops = net.classifier(net.embed_hops(frames, lengths))
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(hops[:, -1], together, atol=1e-4, rtol=1e-4)  # the last one is repeated


@pytest.mark.parametrize("name", ["all three", POOLED])
def test_a_guess_depends_on_no_later_frame(name: str) -> None:
    net = net_of(name)
    frames = noise(1, 6 * HOP)
    changed = frames.clone()
    changed[:, 4 * HOP :] += 5
    with torch.no_grad():
        before, after = (by_calls(net, each, [6])[0] for each in (frames, changed))
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-3)


def test_state_is_bounded_and_old_evidence_fades() -> None:
    net = net_of("all three")
    quiet, loud = noise(1, 30 * HOP), noise(1, 60 * HOP) + 3
    with torch.no_grad():
        _, (_, _, count) = by_calls(net, quiet, [30])
        assert float(count) == CAP
        faded, states = by_calls(net, torch.cat((quiet, loud), dim=1), [90])
        fresh, others = by_calls(net, loud, [60])
    torch.testing.assert_close(faded[:, -1], fresh[:, -1], atol=1e-4, rtol=0)
    torch.testing.assert_close(states[1], others[1], atol=1e-3, rtol=1e-4)


def test_running_statistics_are_those_of_a_capped_mean() -> None:
    torch.manual_seed(0)
    steps, hops = 3, 11
    x = torch.randn(2, 4, 1, steps * hops, dtype=torch.float64).float() + 2
    carry = Carry(
        (torch.zeros(2, 0), torch.zeros(2, 8), torch.zeros(2, 1)), steps, torch.ones(2, hops), CAP, None
    )
    found = carry.statistics(x)
    parts = x.reshape(2, 4, hops, steps).double()
    mean = square = torch.zeros(2, 4, dtype=torch.float64)
    for hop in range(hops):
        n = min(hop + 1, CAP)
        mean = mean + (parts[:, :, hop].mean(2) - mean) / n
        square = square + (parts[:, :, hop].square().mean(2) - square) / n
        wanted = torch.cat((mean, (square - mean.square()).sqrt()), dim=1)
        torch.testing.assert_close(found[:, :, hop].double(), wanted, atol=1e-4, rtol=1e-4)
    whole = torch.cat(
        (x[..., : CAP * steps].mean((2, 3)), x[..., : CAP * steps].std((2, 3), correction=0)), 1
    )
    torch.testing.assert_close(found[:, :, CAP - 1], whole, atol=1e-5, rtol=1e-4)  # up to the cap: all alike


def test_local_scales_are_the_definition() -> None:
    torch.manual_seed(0)
    module = LocalScales(12, 6, kernel=3, dilation=2, scales=3).eval()
    x = torch.randn(2, 12, 1, 9)
    carry = Carry(
        (torch.zeros(2, 1000), torch.zeros(2, 0), torch.zeros(2, 1)), 9, torch.ones(2, 1), CAP, None
    )
    with torch.no_grad():
        found = module(x, carry)
        maps = [x[:, :4]]
        for index, conv in enumerate(module.convs):
            assert isinstance(conv, CausalConv)
            heard = x[:, 4 * index + 4 : 4 * index + 8] + maps[-1]
            y = torch.zeros(2, 4, 1, 9)
            for at in range(9):
                for tap, back in enumerate((4, 2, 0)):
                    if at >= back:
                        y[..., 0, at] += heard[..., 0, at - back] @ conv.conv.weight[:, :, 0, tap].T
            maps.append(torch.relu(y / (1 + 1e-5) ** 0.5))
        wanted = torch.einsum("oc,bcht->boht", module.fuse.weight[:, :, 0, 0], torch.cat(maps, 1))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_constant_and_silent_input_gives_finite_gradients() -> None:
    net = DialectNet(NetworkSpec(dmsc=ALL, embedding=16), MELS, LABELS)
    frames = torch.zeros(4, 3 * HOP, MELS)
    frames[1] = 7.0
    net(frames).logsumexp(-1).sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["all three", POOLED])
def test_half_precision_training_keeps_statistics_in_float32(name: str) -> None:
    net = net_of(name)
    frames = noise(2, 40 * HOP)
    with torch.no_grad():
        wanted = net(frames).softmax(-1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = net(frames).float().softmax(-1)
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [{"stride": 3}, {"local_scales": 5}, {"local_scales": 0}, {"cap": 1}, {"layers": ()}, {"branches": ()}],
)
def test_spec_refuses_what_does_not_fit(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="got"):
        replace(ALL, **wrong)  # type: ignore[arg-type]


def test_only_a_network_that_streams_streams() -> None:
    net = DialectNet(NetworkSpec(kind="x-vector"), MELS, LABELS)
    assert not net.streams
    with pytest.raises(TypeError, match="XVector"):
        net.start(1)
