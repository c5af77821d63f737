"""Encoders as ONNX: streamed with states, compressed with the rate as an input; and how they are timed."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from asr.distill import speed
from training.encoder.network import Encoder
from training.encoder.spec import EncoderSpec

SMALL = {
    "mels": 8,
    "layers": 2,
    "width": 16,
    "inner": 24,
    "heads": 2,
    "position_kernel": 6,
    "position_groups": 2,
}

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's exporter warns of itself


class _Streamed(nn.Module):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frames: Tensor, heard: Tensor, placed: Tensor, looked: Tensor, seen: Tensor) -> Any:
        return self.encoder.stream(frames, heard, placed, looked, seen)


class _Compressed(nn.Module):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frames: Tensor, rate: Tensor) -> Tensor:
        return self.encoder(frames, None, rate[0]).states[-1]


def _session(module: nn.Module, example: Any, shapes: Any, path: Path) -> Any:
    with torch.no_grad():
        captured = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
        torch.onnx.export(captured, dynamo=True, verbose=False).save(str(path), external_data=False)
    return onnxruntime.InferenceSession(str(path))


def _run(session: Any, *given: np.ndarray) -> list[np.ndarray]:
    return session.run(None, {each.name: x for each, x in zip(session.get_inputs(), given, strict=True)})


@pytest.mark.slow
def test_streamed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder, hop = Encoder(EncoderSpec(**SMALL, chunk=4, history=6)).eval(), 8
    shapes = ({0: Dim.DYNAMIC, 1: hop * Dim("hops")}, *({0: Dim.DYNAMIC} for _ in range(4)))
    example = (torch.randn(2, 3 * hop, 8), *encoder.start(2))
    session = _session(_Streamed(encoder), example, shapes, tmp_path / "streamed.onnx")
    frames = torch.randn(1, 5 * hop, 8)
    with torch.no_grad():
        wanted = encoder(frames).states[-1].numpy()
    for hops in (1, 5):
        states, parts = [state.numpy() for state in encoder.start(1)], []
        for part in frames.split(hops * hop, 1):
            features, *states = _run(session, part.numpy(), *states)
            parts.append(features)
        np.testing.assert_allclose(np.concatenate(parts, 1), wanted, atol=1e-5)


@pytest.mark.slow
def test_rate_is_an_input(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderSpec(**SMALL, compress=True)).eval()
    example = (torch.randn(1, 40, 8), torch.tensor([0.5]))
    shapes = ({1: 2 * Dim("pairs", min=4)}, {})
    session = _session(_Compressed(encoder), example, shapes, tmp_path / "compressed.onnx")
    counts = []
    for rate in (0.0, 0.5, 1.0):
        frames = torch.randn(1, 120, 8)
        (given,) = _run(session, frames.numpy(), np.float32([rate]))
        with torch.no_grad():
            wanted = encoder(frames, None, torch.tensor(rate)).states[-1].numpy()
        np.testing.assert_allclose(given, wanted, atol=1e-4)
        counts.append(given.shape[1])
    assert counts[0] == 60 > counts[1] > counts[2]


def test_timing() -> None:
    rows = speed.compare(EncoderSpec(layers=1, width=32, inner=32, heads=2), 1, 0.5, 1, engines=("torch",))
    assert len(rows) == 1
    for row in rows:
        both = sum(row["waveform"].values()) / sum(row["fbank"].values())
        assert row["ratio"] == pytest.approx(both, rel=0.01)
        assert row["ratio"] > 1
