"""Whisper's own front end: 80 log-mel energies, Slaney's filters, levels relative to the clip's loudest."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

RATE = 16_000
FFT, HOP = 400, 160
"""25 ms and 10 ms, in samples."""


class WhisperMel(nn.Module):
    """(batch, samples) float32 at 16 kHz to (batch, mels, samples // 160)."""

    window: Tensor
    filters: Tensor

    def __init__(self, mels: int = 80) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)
        self.register_buffer("filters", torch.from_numpy(slaney_filters(mels)).float(), persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Features of clips of one length, at least 201 samples."""
        spectrum = torch.stft(waves, FFT, HOP, window=self.window, return_complex=True)
        power = spectrum[..., :-1].abs().square()  # the last frame is dropped
        levels = (self.filters @ power).clamp_min(1e-10).log10()
        loudest = levels.amax((1, 2), keepdim=True)
        return (torch.maximum(levels, loudest - 8.0) + 4.0) / 4.0


def slaney_filters(mels: int) -> NDArray[np.float64]:
    """(mels, 201) triangles, linear in Hz up to 1 kHz, then logarithmic, each of area 2 / its width in Hz."""
    hz = np.arange(FFT // 2 + 1) * RATE / FFT
    edges = _slaney_hz(np.linspace(0.0, _slaney_mel(RATE / 2), mels + 2))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((hz - left) / (centre - left), (right - hz) / (right - centre))
    return np.asarray(np.maximum(0.0, triangles) * 2.0 / (right - left))


_LINEAR = 200 / 3
"""Hz a mel below 1 kHz."""
_STEP = np.log(6.4) / 27
"""Logarithm of the ratio of two frequencies a mel apart, above 1 kHz."""


def _slaney_mel(hz: float) -> float:
    return float(1000 / _LINEAR + np.log(hz / 1000) / _STEP) if hz >= 1000 else hz / _LINEAR


def _slaney_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = 1000 * np.exp(_STEP * (mel - 1000 / _LINEAR))
    return np.where(mel * _LINEAR < 1000, mel * _LINEAR, above)
