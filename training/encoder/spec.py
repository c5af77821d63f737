"""Sizes of encoders: students, and the HuBERT that they come from."""

from dataclasses import dataclass
from typing import Literal

Front = Literal["fbank", "waveform"]


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """A post-norm transformer on frames of 20 ms; the defaults are the deep and thin student (D&T)."""

    front: Front = "fbank"
    mels: int = 80
    """Of the fbank front end, at 10 ms."""
    layers: int = 12
    width: int = 480
    inner: int = 480
    """Width within the feed-forward parts."""
    heads: int = 12
    dropout: float = 0.1
    position_kernel: int = 128
    """Frames that the convolution which stands for positions sees."""
    position_groups: int = 16
    front_channels: int = 512
    """Of the waveform front end's convolutions: HuBERT's and the paper's students' number."""
    front_gradient: float = 0.1
    """Gradients into the waveform front end are scaled by this."""
    chunk: int = 0
    """Frames (20 ms) that are heard together, for streaming; attention sees these and `history`, and the
    convolutions see nothing later. 0: the whole utterance."""
    history: int = 0
    """Frames before its chunk that a frame attends to."""

    compress: bool = False
    """Once-for-all compression (training.encoder.cif) before the transformer, its rate an input."""

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % self.position_groups:
            raise ValueError(
                f"width {self.width} is no multiple of {self.heads} heads and {self.position_groups} groups"
            )
        for name in ("layers", "position_kernel", "front_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be positive")
        if self.chunk < 0 or self.history < 0 or (self.history and not self.chunk):
            raise ValueError(f"chunk {self.chunk} and history {self.history}: a history wants chunks")
        if self.chunk and (self.front == "waveform" or self.compress):
            raise ValueError("chunks want the fbank front end and no compression")


DEEP_THIN = EncoderSpec()
"""D&T, arXiv 2210.15631 (papers' section 4.1): 19.11 M on fbank, 22.94 M on the waveform."""
SHALLOW_WIDE = EncoderSpec(layers=2, width=768, inner=3072)
"""S&W, DistilHuBERT's shape: 20.10 M on fbank, 23.49 M on the waveform."""
HUBERT_BASE = EncoderSpec(front="waveform", layers=12, width=768, inner=3072)
"""HuBERT Base (arXiv 2106.07447), 94.37 M."""
