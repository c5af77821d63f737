"""The torch front end is the runtime's, up to rounding."""

import numpy as np
import pytest
import torch

from stapes.fbank import fbank
from stapes.spec import FbankSpec
from training.fbank import Fbank

MEAN, LARGEST = 1e-4, 5e-2
SPECS = [
    FbankSpec(),
    FbankSpec(mels=80, scale=32768.0, window="hann"),
    FbankSpec(mels=23, window="hamming"),
    FbankSpec(window="hamming", remove_dc=False),
    FbankSpec(sample_rate=8_000, high_hz=4_000.0),
]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("length", [0, 1, 399, 400, 401, 559, 560, 16_000, 16_001])
@pytest.mark.parametrize("batch", [1, 3, 20])
def test_equals_the_runtime(spec: FbankSpec, length: int, batch: int) -> None:
    x = (np.random.default_rng(length).standard_normal((batch, length)) * 0.1 + 0.02).astype(np.float32)
    theirs = Fbank(spec)(torch.from_numpy(x)).numpy()
    ours = np.stack([fbank(row, spec) for row in x])
    assert theirs.shape == ours.shape
    if ours.size:
        error = np.abs(theirs - ours)
        assert error.mean() < MEAN
        assert error.max() < LARGEST


def test_an_empty_batch_has_frames_of_the_right_shape() -> None:
    assert Fbank(FbankSpec())(torch.zeros(0, 16_000)).shape == (0, 98, 40)


def test_adds_nothing_to_a_checkpoint() -> None:
    module = Fbank(FbankSpec())
    assert not module.state_dict()
    assert not list(module.parameters())


def test_is_differentiable() -> None:
    x = torch.randn(2, 800, requires_grad=True)
    Fbank(FbankSpec())(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_other_shapes_are_refused_with_numbers() -> None:
    with pytest.raises(ValueError, match=r"\(16000,\)"):
        Fbank(FbankSpec())(torch.zeros(16_000))
