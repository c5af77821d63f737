"""STBD against its published sizes; streamed against whole encoders, cached steps against whole texts."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.attention import attend, blocked, glu
from asr.compare import Comparison
from asr.decoder import DecoderSpec
from asr.dropout import Dropout
from asr.encoder import EncoderSpec, visible
from asr.positions import rotate, rotation, sinusoids
from asr.recipe import AsrRecipe
from asr.stbd import Stbd, StbdSpec
from stapes.endpoint import EndpointSpec
from training.recipe import load

torch.set_num_threads(1)
RECIPES = Path(__file__).resolve().parents[2] / "asr/recipes"


@pytest.mark.parametrize(
    ("recipe", "weights", "published"), [("stbd-big", 56_986_624, 57.0), ("stbd-256", 14_861_824, 14.9)]
)
def test_stbd_has_the_published_weights(recipe: str, weights: int, published: float) -> None:
    spec = load(AsrRecipe, RECIPES / f"{recipe}.toml").network
    with torch.device("meta"):
        network = Stbd(spec, 4335)
    count = sum(p.numel() for p in network.parameters())
    assert count == weights
    assert round(count / 1e6, 1) == published


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_build_networks(path: Path) -> None:
    recipe = load(Comparison, path).shared if path.stem.startswith("compare") else load(AsrRecipe, path)
    with torch.device("meta"):
        Stbd(recipe.network, 500)


@pytest.mark.parametrize("name", ["asr", "asr-zh"])
def test_text_is_shown_within_640_ms(name: str) -> None:
    """A word waits for the end of its hop, and the hop for the end of its last frame; speech that begins
    waits for the endpointer to be sure. tests/runtime/test_asr.py has that nothing else is waited for."""
    recipe, endpoint = load(AsrRecipe, RECIPES / f"{name}.toml"), EndpointSpec()
    hop_ms = recipe.network.encoder.hop * recipe.features.hop_ms
    assert 0 < max(hop_ms, endpoint.min_speech_ms) + recipe.features.frame_ms <= 640


def small(norm: str, positions: str, convolution: int, convolution_norm: str = "layer") -> Stbd:
    torch.manual_seed(0)
    encoder = EncoderSpec(
        mels=8,
        stack=4,
        width=16,
        heads=2,
        inner=16,
        blocks=2,
        norm=norm,  # type: ignore[arg-type]
        positions=positions,  # type: ignore[arg-type]
        convolution=convolution,
        convolution_norm=convolution_norm,  # type: ignore[arg-type]
        chunk=3,
        left=5,
        chunks=(2, 3, 7),
        whole=0.3,
    )
    decoder = DecoderSpec(width=16, heads=2, inner=16, blocks=2, norm=norm)  # type: ignore[arg-type]
    net = Stbd(StbdSpec(encoder, decoder, ctc=True), 11).eval()
    net.normalise(torch.randn(8), torch.rand(8) + 0.5)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean, module.running_var = torch.randn(16) * 0.1, torch.rand(16) + 0.5
    return net


SHAPES = [
    ("post", "sinusoid", 0, "layer"),
    ("pre", "rotary", 5, "layer"),
    ("pre", "sinusoid", 3, "batch"),
    ("post", "rotary", 5, "batch"),
]
NETS = [small(*shape) for shape in SHAPES]


@settings(deadline=None, max_examples=12)
@given(st.sampled_from(NETS), st.integers(1, 9), st.integers(1, 3))
def test_streaming_is_the_whole_under_the_chunk_mask(net: Stbd, chunks: int, batch: int) -> None:
    hop = net.spec.encoder.hop
    frames = torch.randn(batch, chunks * hop, 8)
    with torch.no_grad():
        whole, steps = net.encode(frames, torch.full((batch,), chunks * hop))
        states, parts = net.encoder.start(batch), []
        for at in range(0, chunks * hop, hop):
            memory, *kept = net.stream(frames[:, at : at + hop], *states)
            assert [state.shape for state in kept] == [state.shape for state in states]
            states = tuple(kept)
            parts.append(memory)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-4, rtol=1e-4)
    assert steps.tolist() == [3 * chunks] * batch


@pytest.mark.parametrize("net", NETS, ids=["-".join(map(str, shape)) for shape in SHAPES])
def test_padding_changes_nothing(net: Stbd) -> None:
    frames, lengths = torch.randn(2, 40, 8), torch.tensor([40, 25])
    with torch.no_grad():
        for chunk in (0, 3):
            memory, steps = net.encode(frames, lengths, chunk)
            alone, _ = net.encode(frames[1:, :25], lengths[1:], chunk)
            torch.testing.assert_close(memory[1:, :6], alone, atol=1e-5, rtol=1e-4)
            assert steps.tolist() == [10, 6]
            assert torch.isfinite(memory).all()


def test_sixty_seconds_are_encoded_and_streamed_alike() -> None:
    net = NETS[1]
    frames = torch.randn(1, 6000, 8)
    with torch.no_grad():
        whole, _ = net.encode(frames, torch.tensor([6000]))
        states, last = net.encoder.start(1), torch.empty(0)
        for at in range(0, 6000, 12):
            last, *kept = net.stream(frames[:, at : at + 12], *states)
            states = tuple(kept)
    torch.testing.assert_close(last, whole[:, -3:], atol=1e-4, rtol=1e-4)
    assert float(states[-1]) == 1500


def test_a_step_sees_its_chunk_and_the_left_context() -> None:
    seen = visible(7, torch.tensor([7, 5]), chunk=2, left=3)[:, 0].int().tolist()
    assert seen[0] == [
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 0],
        [0, 1, 1, 1, 1, 1, 0],
        [0, 0, 0, 1, 1, 1, 1],
    ]
    assert seen[1][4] == [0, 1, 1, 1, 1, 0, 0]  # step 5 is padding
    assert seen[1][6] == [0, 0, 0, 1, 1, 0, 1]  # and sees itself, so that no row is empty


def test_no_chunk_sees_a_later_one() -> None:
    net = NETS[1]
    frames = torch.randn(1, 48, 8)
    later = frames.clone()
    later[:, 24:] += 1
    with torch.no_grad():
        before, after = (net.encode(each, torch.tensor([48]))[0] for each in (frames, later))
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_training_draws_chunks() -> None:
    encoder = small("pre", "rotary", 5).encoder
    assert encoder.draw_chunk() == 3
    encoder.train()
    torch.manual_seed(0)
    drawn = [encoder.draw_chunk() for _ in range(400)]
    assert set(drawn) == {0, 2, 3, 7}
    assert 0.2 < drawn.count(0) / 400 < 0.4


@pytest.mark.parametrize("net", NETS[:2], ids=["post", "pre"])
def test_cached_steps_are_the_whole_text(net: Stbd) -> None:
    memory, steps = torch.randn(2, 9, 16), torch.tensor([9, 4])
    tokens = torch.randint(5, 11, (2, 3, 6))
    with torch.no_grad():
        wanted = net.decoder(tokens, memory, steps)
        source, past = net.decoder.source(memory), net.decoder.start(6)
        for at in range(6):
            logits, past = net.decoder.step(tokens[:, :, at], past, source, steps)
            torch.testing.assert_close(logits, wanted[:, :, at], atol=1e-5, rtol=1e-4)
    assert past.shape == (2, 2, 6, 2, 6, 8)


def test_streams_do_not_see_each_other_nor_later_tokens() -> None:
    net = NETS[0]
    memory = torch.randn(1, 9, 16)
    tokens = torch.randint(5, 11, (1, 2, 6))
    other = tokens.clone()
    other[:, 1], other[:, 0, 4:] = 7, 8
    with torch.no_grad():
        before, after = (net.decoder(each, memory, None) for each in (tokens, other))
    torch.testing.assert_close(before[:, 0, :4], after[:, 0, :4])


def test_attention_is_the_definition() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 5, 6).unbind(0)
    seen = torch.rand(5, 5) > 0.5
    seen.fill_diagonal_(True)
    wanted = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    torch.testing.assert_close(attend(query, key, value, blocked(seen)), wanted)
    x = torch.randn(3, 8)
    torch.testing.assert_close(glu(x), x[:, :4] * torch.sigmoid(x[:, 4:]))


def test_sinusoids_are_sines_then_cosines() -> None:
    table = sinusoids(torch.tensor([0.0, 1.0, 10.0]), 4)
    torch.testing.assert_close(table[0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    # two timescales, the shortest 1 and the longest 1e5
    angles = torch.tensor([10.0, 10.0 / 1e5])
    torch.testing.assert_close(table[2], torch.cat((angles.sin(), angles.cos())))


def test_rotation_knows_differences_only() -> None:
    query, key = torch.randn(1, 8), torch.randn(1, 8)
    products = []
    for first in (-20, 0, 300):
        cos, sin = rotation(first, first + 6, 8)
        products.append(rotate(query, (cos[5:], sin[5:])) @ rotate(key, (cos[2:3], sin[2:3])).T)
    torch.testing.assert_close(products[0], products[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(products[0], products[2], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 30, "heads": 4},
        {"convolution": 1},
        {"chunk": 4, "left": 0},
        {"whole": 0.5},
    ],
)
def test_impossible_shapes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) if len(wrong) == 1 else r"width|left"):
        EncoderSpec(**wrong)  # type: ignore[arg-type]


def test_a_network_must_write_text_somehow() -> None:
    with pytest.raises(ValueError, match="nothing writes text"):
        StbdSpec(decoder=DecoderSpec(blocks=0))
    with pytest.raises(ValueError, match="middle_ctc must be a block"):
        StbdSpec(ctc=True, middle_ctc=9)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    dropout = Dropout(0.2)
    torch.manual_seed(0)
    x = torch.ones(300, 301)
    out = dropout(x)
    share = round(256 * 0.2) / 256
    assert float((out == 0).float().mean()) == pytest.approx(share, abs=0.01)
    assert out.max() == pytest.approx(1 / (1 - share))
    torch.manual_seed(0)
    torch.testing.assert_close(dropout(x), out)
    assert dropout.eval()(x) is x
    with pytest.raises(ValueError, match="1"):
        Dropout(1.0)
