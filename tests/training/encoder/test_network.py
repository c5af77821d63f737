"""Students: published sizes, torchaudio's HuBERT as oracle, padding, and streaming equal to whole."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes.fbank import frame_count
from stapes.spec import FbankSpec
from training.encoder.front import FbankFront
from training.encoder.network import Encoder, inherit, parameters
from training.encoder.spec import DEEP_THIN, HUBERT_BASE, SHALLOW_WIDE, EncoderSpec

SMALL = EncoderSpec(
    mels=8, layers=2, width=16, inner=24, heads=2, position_kernel=6, position_groups=2, dropout=0.0
)
STREAMING = replace(SMALL, chunk=3, history=4)


def _seeded(spec: EncoderSpec) -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(spec).eval()
    if isinstance(encoder.front, FbankFront):
        encoder.front.normalise(torch.linspace(-1, 1, spec.mels), torch.linspace(0.5, 2, spec.mels))
    return encoder


def test_parameter_counts_are_the_published_ones() -> None:
    def count(spec: EncoderSpec) -> int:
        with torch.device("meta"):
            return parameters(Encoder(spec))

    thin, wide = count(replace(DEEP_THIN, front="waveform")), count(replace(SHALLOW_WIDE, front="waveform"))
    assert thin == 22_938_880  # 22.94 M
    assert count(DEEP_THIN) == 19_107_008  # 19.11 M
    assert round(100 * (1 - count(DEEP_THIN) / thin), 1) == 16.7
    assert wide == 23_492_224  # 23.49 M
    assert round(100 * (1 - count(SHALLOW_WIDE) / wide), 1) == 14.4
    assert count(HUBERT_BASE) == 94_370_944


def test_both_front_ends_give_equally_many_frames() -> None:
    waveform, fbank = Encoder(replace(SMALL, front="waveform")), Encoder(SMALL)
    for samples in (400, 719, 720, 16_000, 16_159, 16_160, 23_456):
        frames = torch.tensor([frame_count(samples, FbankSpec())])
        wanted = waveform.front.lengths(torch.tensor([samples]))
        assert fbank.front.lengths(frames).tolist() == wanted.tolist()
        assert waveform.front(torch.zeros(1, samples)).shape[1] == wanted
        assert fbank.front(torch.zeros(1, int(frames), 8)).shape[1] == wanted


def test_padding_changes_nothing() -> None:
    for spec in (SMALL, STREAMING):
        encoder = _seeded(spec)
        frames = torch.randn(2, 24, 8)
        both = encoder(frames, torch.tensor([24, 14]))
        alone = encoder(frames[1:, :14])
        assert both.lengths.tolist() == [12, 7]
        for padded, single in zip(both.states, alone.states, strict=True):
            torch.testing.assert_close(padded[1, :7], single[0], atol=1e-5, rtol=1e-5)
            assert padded.isfinite().all()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 9))
def test_streaming_equals_whole(cuts: list[int], seed: int) -> None:
    encoder = _seeded(STREAMING)
    frames = torch.randn(2, sum(cuts) * 6, 8, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        whole = encoder(frames).states[-1]
        states, parts = encoder.start(2), []
        for part in frames.split([6 * cut for cut in cuts], 1):
            features, *states = encoder.stream(part, *states)
            parts.append(features)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


def test_chunks_hear_nothing_later() -> None:
    encoder, frames = _seeded(STREAMING), torch.randn(1, 24, 8)
    changed = frames.clone()
    changed[:, 12:] += 1  # from the third chunk on
    before, after = encoder(frames).states[-1], encoder(changed).states[-1]
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])
    with pytest.raises(ValueError, match="whole utterances"):
        _seeded(SMALL).start(1)
    with pytest.raises(ValueError, match="history"):
        EncoderSpec(history=3)


def test_gradients_into_the_waveform_front_end_are_scaled() -> None:
    torch.manual_seed(1)
    samples, found = torch.randn(1, 1_000), []
    for scale in (1.0, 0.1):
        torch.manual_seed(0)
        encoder = Encoder(replace(SMALL, front="waveform", front_gradient=scale))
        encoder(samples).front.square().sum().backward()
        assert encoder.front.convolutions is not None
        found.append(encoder.front.convolutions[3].weight.grad)
    torch.testing.assert_close(found[1], 0.1 * found[0])


def test_a_student_starts_with_what_fits_of_its_teacher() -> None:
    teacher = _seeded(replace(SMALL, front="waveform", layers=3))
    torch.manual_seed(1)
    wide = Encoder(replace(SMALL, front="waveform", layers=1)).eval()
    thin = Encoder(replace(SMALL, front="waveform", width=8, inner=24)).eval()
    samples = torch.randn(1, 2_000)
    assert "layers.0.query_key_value.weight" in inherit(wide, teacher)
    torch.testing.assert_close(wide(samples).states, teacher(samples).states[:2])
    copied = inherit(thin, teacher)
    assert copied
    assert all(name.startswith(("front.convolution", "front.group_norm", "front.norm")) for name in copied)
