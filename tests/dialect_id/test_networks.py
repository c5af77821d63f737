"""The rivals against their published sizes and definitions; what all networks have in common."""

import pytest
import torch

from dialect_id.campp import SEGMENT, ContextMask
from dialect_id.dtdnn import DTDNN
from dialect_id.network import DialectNet, Kind, NetworkSpec
from dialect_id.pooling import AttentiveStatistics, four_moments, mask_of, mean_and_deviation
from dialect_id.selection import Selection
from tests.tools.multiplies import multiplies_by_layer
from training.multiplies import count_multiplies

KINDS: tuple[Kind, ...] = ("dmsc", "pooled-encoder", "d-tdnn", "d-tdnn-ss", "x-vector", "ecapa", "cam++")


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_d_tdnns_have_the_published_parameters() -> None:
    # Of 30 MFCC to 512 values, without a classifier; 2.82 M and 3.50 M are published.
    assert parameters(DTDNN("d-tdnn", 30, 512)) == 2_822_272
    assert parameters(DTDNN("d-tdnn-ss", 30, 512)) == 3_501_696


def test_d_tdnn_parameters_by_hand() -> None:
    def dense(inward: int) -> int:
        return 2 * inward + 128 * inward + 2 * 128 + 3 * 128 * 64

    stem = 5 * 30 * 128 + 2 * 128
    blocks = sum(dense(128 + 64 * i) for i in range(6)) + sum(dense(256 + 64 * i) for i in range(12))
    transits = (2 * 512 + 512 * 256) + (2 * 1024 + 1024 * 512)
    assert stem + blocks + transits + 1024 * 512 == 2_822_272
    selection = (256 * 32 + 32) + 2 * (32 * 64 + 64)
    prelus = 128 + sum(256 + 64 * i for i in range(6)) + sum(384 + 64 * i for i in range(12)) + 512 + 1024
    assert 2_822_272 + 18 * (3 * 128 * 64 + selection) + prelus == 3_501_696


@pytest.mark.parametrize("kind", KINDS)
def test_networks_stay_under_four_million_parameters(kind: Kind) -> None:
    assert 2_000_000 < parameters(DialectNet(NetworkSpec(kind=kind), 80, 60)) < 4_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_no_matter(kind: Kind) -> None:
    torch.manual_seed(0)
    net = DialectNet(NetworkSpec(kind=kind, embedding=32), 20, 5)
    with torch.no_grad():
        net(torch.randn(4, 120, 20))
        net.eval()
        frames, lengths = torch.randn(3, 230, 20), torch.tensor([230, 151, 40])
        together = net(frames, lengths)
        apart = torch.cat([net(frames[i : i + 1, :n]) for i, n in enumerate(lengths)])
    assert together.shape == (3, 5)
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_all_weights_learn(kind: Kind) -> None:
    torch.manual_seed(0)
    net = DialectNet(NetworkSpec(kind=kind, embedding=32), 20, 5)
    frames, lengths = torch.randn(4, 150, 20), torch.tensor([150, 120, 90, 60])
    torch.nn.functional.cross_entropy(net(frames, lengths), torch.arange(4)).backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not without
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_multiplies_are_those_of_each_layer(kind: Kind) -> None:
    net = DialectNet(NetworkSpec(kind=kind), 80, 33)
    net.train()
    counted = count_multiplies(net, 100, 80)
    assert net.training  # the mode is left alone
    wanted = multiplies_by_layer(net.eval(), torch.zeros(1, 100, 80))
    if kind == "pooled-encoder":  # 6 layers' queries and values, 50 steps; and the position's convolution
        wanted += 6 * 2 * 50 * 50 * 192 + 50 * 192 * 12 * 64
    assert counted == wanted


def test_moments_are_their_definition_and_skip_padding() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 1, 40) ** 2
    lengths = torch.tensor([40, 25])
    mask = mask_of(lengths, 40)
    pairs, fours = mean_and_deviation(x, mask), four_moments(x, mask)
    for index, length in enumerate(lengths):
        heard = x[index, :, 0, :length].double()
        standard = (heard - heard.mean(1, keepdim=True)) / heard.std(1, correction=0, keepdim=True)
        wanted = torch.cat(
            [heard.mean(1), heard.std(1, correction=0), (standard**3).mean(1), (standard**4).mean(1)]
        )
        torch.testing.assert_close(fours[index].double(), wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(pairs[index].double(), wanted[:6], atol=1e-4, rtol=1e-4)


def test_even_attention_is_the_plain_mean_and_deviation() -> None:
    pooling = AttentiveStatistics(6).eval()
    last = pooling.attention[4]
    torch.nn.init.zeros_(last.weight)
    x, mask = torch.randn(2, 6, 1, 30), mask_of(torch.tensor([30, 12]), 30)
    torch.testing.assert_close(pooling(x, mask), mean_and_deviation(x, mask), atol=1e-5, rtol=1e-4)


def test_selection_weights_sum_to_one_over_branches() -> None:
    weights = Selection(8, 4, branches=3)(torch.randn(2, 8, 5))
    assert weights.shape == (2, 3, 4, 5)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 4, 5))


def test_context_mask_is_the_definition() -> None:
    torch.manual_seed(0)
    module = ContextMask(8, 4, dilation=1).eval()
    steps = SEGMENT + 30
    x = torch.rand(1, 8, 1, steps)
    with torch.no_grad():
        found = module(x, None)[0, :, 0]
        plain = module.conv(x)[0, :, 0]
        for part in (slice(0, SEGMENT), slice(SEGMENT, steps)):
            context = x[0, :, 0].mean(1) + x[0, :, 0, part].mean(1)
            squeezed = torch.relu(module.squeeze.weight[:, :, 0, 0] @ context + module.squeeze.bias)
            gate = torch.sigmoid(module.open.weight[:, :, 0, 0] @ squeezed + module.open.bias)
            torch.testing.assert_close(found[:, part], plain[:, part] * gate[:, None], atol=1e-5, rtol=1e-4)
