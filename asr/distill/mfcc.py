"""Cepstra, of which HuBERT's first units are made: 13 of them, their slopes, and the slopes of these."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct
from torch import Tensor
from torch.nn import functional as F

from stapes.spec import FbankSpec
from training.fbank import Fbank

FEATURES = FbankSpec(mels=23, scale=32768.0)
CEPSTRA = 13


class Mfcc:
    """A teacher without layers (asr.distill.teachers.Teacher): (batch, samples) to 39 numbers at 20 ms."""

    name = "MFCC"
    width = 3 * CEPSTRA
    depth = 0

    def __init__(self) -> None:
        self.fbank = Fbank(FEATURES)
        basis: NDArray[np.float64] = dct(np.eye(FEATURES.mels), norm="ortho")[:, :CEPSTRA]
        self.basis = torch.from_numpy(basis).float()

    @torch.no_grad()
    def features(self, waves: Tensor, layers: Sequence[int] = (-1,)) -> tuple[Tensor, ...]:
        """The same for each layer asked for; every second frame, as HuBERT's are."""
        cepstra = self.fbank(waves) @ self.basis
        first = slopes(cepstra)
        return (torch.cat((cepstra, first, slopes(first)), -1)[:, ::2],) * len(layers)


def slopes(x: Tensor) -> Tensor:
    """Of (batch, frames, width), over two frames on both sides by least squares, the ends repeated."""
    ahead = F.pad(x.transpose(1, 2), (2, 2), mode="replicate").transpose(1, 2)
    near = ahead[:, 3:-1] - ahead[:, 1:-3]
    far = ahead[:, 4:] - ahead[:, :-4]
    return (near + 2 * far) / 10
