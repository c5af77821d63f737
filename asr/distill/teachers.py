"""Teachers: whoever gives features at 20 ms of samples at 16 kHz."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from asr.distill.hubert import convert, load_hubert
from asr.distill.units import Units
from stapes.spec import FbankSpec
from training.encoder import cif
from training.encoder.network import Encoder
from training.fbank import Fbank
from training.whisper import WhisperTeacher


class Teacher(Protocol):
    """What a student is told to be like; every figure names it."""

    @property
    def name(self) -> str:
        """For figures and cards."""

    @property
    def width(self) -> int:
        """Of a feature."""

    @property
    def depth(self) -> int:
        """Layers above the front end."""

    def features(self, waves: Tensor, layers: Sequence[int] = (-1,)) -> tuple[Tensor, ...]:
        """(batch, frames, width) of each layer, 0 the first hidden state, of (batch, samples)."""


class EncoderTeacher:
    """HuBERT from disk, or one that we pre-trained (asr.distill.pretrain)."""

    def __init__(
        self, encoder: Encoder, name: str, features: FbankSpec | None = None, period_ms: float = 20.0
    ) -> None:
        """Makes a teacher.

        Args:
            encoder: what hears.
            name: for figures and cards.
            features: the front end that feeds it if it does not hear samples.
            period_ms: 20 to 90, of an encoder that compresses; 20 of others.

        Raises:
            ValueError: an encoder of log-mel frames without their spec, or another period of one that does
                not compress.
        """
        self.encoder = encoder.eval().requires_grad_(False)
        self.name = name
        if period_ms != 20.0 and not encoder.spec.compress:
            raise ValueError(f"a period of {period_ms} ms: this encoder does not compress")
        self.rate = torch.tensor(cif.rate_of(period_ms))
        if (features is None) != (encoder.spec.front == "waveform"):
            raise ValueError(f"an encoder on {encoder.spec.front} with features {features}")
        self.fbank = Fbank(features) if features else None

    @property
    def width(self) -> int:
        """Of a feature."""
        return self.encoder.spec.width

    @property
    def depth(self) -> int:
        """Transformer layers."""
        return self.encoder.spec.layers

    @torch.no_grad()
    def features(self, waves: Tensor, layers: Sequence[int] = (-1,)) -> tuple[Tensor, ...]:
        """See `Teacher`.

        Raises:
            ValueError: several recordings, of which an encoder that compresses may make unlike numbers of
                frames.
        """
        if self.encoder.spec.compress and len(waves) > 1:
            raise ValueError("an encoder that compresses hears one recording at a time")
        states = self.encoder(self.fbank(waves) if self.fbank else waves, None, self.rate).states
        return tuple(states[layer].float() for layer in layers)


def load_teacher(name: str) -> tuple[Teacher, Units | None]:
    """A teacher by what a recipe calls it, and its own units if it has any.

    Args:
        name: "whisper:FOLDER" (training.whisper), "hubert:FILE" (asr.distill.hubert), "bundle" (torchaudio's
            HUBERT_BASE, which torchaudio fetches) or "own:FILE", a best.pt of asr.distill.pretrain.

    Raises:
        ValueError: none of these.
        WeightsError: the weights are missing or not what they should be.
    """
    kind, _, where = name.partition(":")
    if kind == "whisper":
        return WhisperTeacher.load(where), None
    if kind == "hubert":
        encoder, units = load_hubert(where)
        return EncoderTeacher(encoder, f"HuBERT ({Path(where).name})"), units
    if kind == "bundle":
        import torchaudio

        encoder, units = convert(torchaudio.pipelines.HUBERT_BASE.get_model().state_dict())
        return EncoderTeacher(encoder, "HuBERT Base (torchaudio)"), units
    if kind == "own":
        from asr.distill.pretrain import load_pretrained

        return load_pretrained(Path(where))
    raise ValueError(f"no teacher is called {name!r}: whisper:, hubert:, own: or bundle")
