"""STBD, the speech transformer with a bidirectional decoder (arXiv 2008.04481), and its device-sized kin."""

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from asr.attention import linear
from asr.decoder import Decoder, DecoderSpec
from asr.encoder import Encoder, EncoderSpec
from training.normalised import Normalised


@dataclass(frozen=True, slots=True)
class StbdSpec:
    """The whole network. The defaults are the paper's: 57.0 M weights with 4335 symbols."""

    encoder: EncoderSpec = field(default_factory=EncoderSpec)
    decoder: DecoderSpec = field(default_factory=DecoderSpec)
    ctc: bool = False
    """A linear layer on the memory, to read text off it step by step."""
    middle_ctc: int = 0
    """The same layer also reads the output of this block (from 1), in training only (arXiv 2102.03216)."""
    teacher_block: int = 0
    """Block, from 1, whose output foretells a teacher's features, in training only. 0: none."""
    teacher_width: int = 0
    """Of the teacher's features."""

    def __post_init__(self) -> None:
        for name in ("middle_ctc", "teacher_block"):
            if not 0 <= getattr(self, name) <= self.encoder.blocks:
                raise ValueError(f"{name} must be a block, 1 to {self.encoder.blocks}, or 0 for none")
        if self.middle_ctc and not self.ctc:
            raise ValueError("middle_ctc needs ctc")
        if not self.ctc and not self.decoder.blocks:
            raise ValueError("without ctc and without decoder blocks, nothing writes text")


class Outputs(NamedTuple):
    """What training looks at; what the network lacks is None."""

    steps: Tensor
    """(batch,) of each memory."""
    logits: Tensor | None
    """(batch, streams, tokens, symbols) of the decoder."""
    ctc: Tensor | None
    """(batch, steps, symbols) logits."""
    middle_ctc: Tensor | None
    """(batch, steps, symbols) logits."""
    teacher: Tensor | None
    """(batch, steps, teacher width)"""


class Stbd(Normalised):
    """Raw log-mel frames to text; normalisation of features is inside."""

    def __init__(self, spec: StbdSpec, symbols: int) -> None:
        super().__init__(spec.encoder.mels)
        self.spec = spec
        self.encoder = Encoder(spec.encoder)
        if spec.decoder.blocks:
            self.decoder = Decoder(spec.decoder, symbols, spec.encoder.width)
        if spec.ctc:
            self.ctc = linear(spec.encoder.width, symbols)
        if spec.teacher_block:
            self.teacher = linear(spec.encoder.width, spec.teacher_width)

    def forward(
        self, frames: Tensor, lengths: Tensor, tokens: Tensor | None = None, chunk: int | None = None
    ) -> Outputs:
        """All that training needs of a batch.

        Args:
            frames: (batch, frames, mels) log-mel.
            lengths: (batch,) frames of each.
            tokens: (batch, streams, tokens) from the start symbols on; None: the decoder is left out.
            chunk: see Encoder.forward.
        """
        spec = self.spec
        memory, steps, blocks = self.encoder(self.normalised(frames), lengths, chunk)
        return Outputs(
            steps,
            self.decoder(tokens, memory, steps) if spec.decoder.blocks and tokens is not None else None,
            self.ctc(memory) if spec.ctc else None,
            self.ctc(self.encoder.norm(blocks[spec.middle_ctc - 1])) if spec.middle_ctc else None,
            self.teacher(blocks[spec.teacher_block - 1]) if spec.teacher_block else None,
        )

    def encode(self, frames: Tensor, lengths: Tensor, chunk: int | None = None) -> tuple[Tensor, Tensor]:
        """(batch, frames, mels) log-mel to memory (batch, steps, width) and the steps of each (batch,)."""
        memory, steps, _ = self.encoder(self.normalised(frames), lengths, chunk)
        return memory, steps

    def stream(self, frames: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The next (batch, spec.encoder.hop, mels) log-mel frames to memory and states (Encoder.stream)."""
        return self.encoder.stream(self.normalised(frames), *states)
