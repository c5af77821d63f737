"""The networks against their published sizes, and the streaming one against itself run whole."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.baselines import DSCNN, BCResNet, SubSpectralNorm
from kws.cenet import CENet, Depth, GraphConv
from kws.graph_tcn import GraphTCN, GraphTCNSpec
from kws.multiplies import count_multiplies
from kws.network import KeywordNet
from kws.recipe import KwsRecipe
from tests.tools.multiplies import multiplies_by_layer
from training.recipe import load


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("depth", "plain", "with_graph"), [(6, 16_240, 27_595), (24, 44_272, 55_627), (40, 60_912, 72_267)]
)
def test_cenet_has_the_published_parameters(depth: Depth, plain: int, with_graph: int) -> None:
    assert parameters(CENet(depth)) == plain
    assert parameters(CENet(depth, graph_stages=(1, 2, 3))) == with_graph


def test_bc_resnet_has_the_published_parameters() -> None:
    assert round(parameters(BCResNet(1)) / 1e3, 1) == 9.2
    assert round(parameters(BCResNet(3)) / 1e3, 1) == 54.2


def test_default_stays_within_the_multiplies_of_cenet_gcn_40() -> None:
    recipe = load(KwsRecipe, Path(__file__).resolve().parents[2] / "kws/recipes/kws.toml")
    counts = count_multiplies(KeywordNet(recipe.network, 40, 12), frames=100)
    assert counts.total <= 16_800_000
    assert counts.between_nodes > 0


def test_graph_convolution_is_the_definition() -> None:
    torch.manual_seed(0)
    graph = GraphConv(8)
    graph.gamma.data.fill_(0.7)
    x = torch.randn(2, 8, 3, 5)
    out = graph(x)
    nodes = x.flatten(2)  # (batch, channels, positions)
    for b in range(2):
        for i in range(15):
            theta = graph.theta.weight @ nodes[b, :, i] + graph.theta.bias
            logits = torch.stack(
                [theta @ (graph.phi.weight @ nodes[b, :, j] + graph.phi.bias) for j in range(15)]
            )
            edges = logits.exp() / logits.exp().sum()
            mixed = sum(
                edges[j] * (graph.weight.weight @ nodes[b, :, j] + graph.weight.bias) for j in range(15)
            )
            wanted = nodes[b, :, i] + 0.7 * torch.relu(torch.as_tensor(mixed))
            torch.testing.assert_close(out[b].flatten(1)[:, i], wanted, atol=1e-5, rtol=1e-4)


def test_sub_spectral_norm_normalises_each_band_apart() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 20, 7) * torch.arange(1, 21)[:, None]
    out = SubSpectralNorm(3, bands=5)(x)
    for band in range(5):
        part = x[:, :, 4 * band : 4 * band + 4]
        mean, var = part.mean((0, 2, 3), keepdim=True), part.var((0, 2, 3), unbiased=False, keepdim=True)
        torch.testing.assert_close(
            out[:, :, 4 * band : 4 * band + 4], (part - mean) / (var + 1e-5).sqrt(), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize(
    "network",
    [
        CENet(6),
        CENet(40),
        CENet(6, (2,)),
        CENet(40, (1, 2, 3)),
        BCResNet(1),
        BCResNet(3),
        DSCNN(),
        GraphTCN(),
    ],
)
@pytest.mark.parametrize("frames", [98, 100])
def test_multiplies_of_the_weights_are_those_of_each_layer(network: torch.nn.Module, frames: int) -> None:
    network.train()
    counted = count_multiplies(network, frames)
    assert network.training  # the mode is left alone
    assert counted.parametric == multiplies_by_layer(network.eval(), torch.zeros(1, frames, 40))


def random_graph_tcn(spec: GraphTCNSpec) -> GraphTCN:
    torch.manual_seed(1)
    network = GraphTCN(spec).eval()
    network.gamma.data.fill_(0.8)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean = torch.randn_like(torch.as_tensor(module.running_mean)) * 0.1
            module.running_var = torch.rand_like(torch.as_tensor(module.running_var)) + 0.5
    return network


NETWORK = random_graph_tcn(GraphTCNSpec())


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_streaming_in_chunks_is_the_whole(hops: list[int]) -> None:
    torch.manual_seed(0)
    frames = torch.randn(2, 10 * sum(hops), 40)
    with torch.no_grad():
        whole = NETWORK.stream(frames, *NETWORK.start(2))[0]
        states, parts, at = NETWORK.start(2), [], 0
        for count in hops:
            scores, *kept = NETWORK.stream(frames[:, at : at + 10 * count], *states)
            states, at = (kept[0], kept[1], kept[2]), at + 10 * count
            parts.append(scores)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-6, rtol=1e-5)
    assert whole.shape == (2, sum(hops), 12)


def test_training_judges_the_last_window_of_the_stream() -> None:
    frames = torch.randn(3, 140, 40)
    with torch.no_grad():
        streamed = NETWORK.stream(frames, *NETWORK.start(3))[0][:, -1]
        torch.testing.assert_close(NETWORK(frames).softmax(-1), streamed, atol=1e-6, rtol=1e-5)


def test_a_score_depends_on_no_later_frame() -> None:
    frames = torch.randn(1, 60, 40)
    changed = frames.clone()
    changed[:, 40:] += 5
    with torch.no_grad():
        before = NETWORK.stream(frames, *NETWORK.start(1))[0]
        after = NETWORK.stream(changed, *NETWORK.start(1))[0]
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_without_graph_the_window_is_averaged() -> None:
    network = random_graph_tcn(GraphTCNSpec(graph=False))
    frames = torch.randn(1, 100, 40)
    with torch.no_grad():
        nodes = network.nodes(frames, *network.start(1)[:2])[0][:, :, :64]
        wanted = network.classifier(nodes.mean(1))
        torch.testing.assert_close(network(frames), wanted, atol=1e-5, rtol=1e-4)
