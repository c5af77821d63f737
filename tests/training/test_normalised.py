"""Normalisation inside a network: set, applied, and carried by the weights."""

import torch

from training.normalised import Normalised


def test_features_come_out_with_mean_zero_and_deviation_one() -> None:
    torch.manual_seed(0)
    frames = 3 * torch.randn(4, 500, 5) + torch.arange(5)
    plain, network = Normalised(5), Normalised(5)
    torch.testing.assert_close(plain.normalised(frames), frames)  # until it is told
    network.normalise(frames.mean((0, 1)), frames.std((0, 1)))
    found = network.normalised(frames)
    torch.testing.assert_close(found.mean((0, 1)), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std((0, 1)), torch.ones(5))
    assert sorted(network.state_dict()) == ["mean", "scale"]
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(plain.normalised(frames), found)
    assert not list(network.parameters())  # nothing that training would change
