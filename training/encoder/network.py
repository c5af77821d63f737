"""Front end and transformer together: students, and HuBERT."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.encoder import cif
from training.encoder.front import FbankFront, WaveformFront
from training.encoder.spec import EncoderSpec
from training.encoder.transformer import ConvolvedPosition, Layer, attention_mask, streamed_mask


class Encoded(NamedTuple):
    """What an encoder makes of a batch."""

    front: Tensor
    """(batch, frames, width): the front end's output."""
    states: list[Tensor]
    """layers + 1 of (batch, frames, width): the first layer's input, then each layer's output."""
    lengths: Tensor
    """(batch,) frames of each recording."""
    weights: Tensor
    """(batch, frames, frames before compression), of which each frame is made; empty without compression."""
    alpha: Tensor
    """(batch, frames before compression) learned weights, before the rate is applied; empty likewise."""


class Encoder(nn.Module):
    """Samples (waveform) or log-mel frames (fbank) to features at 20 ms."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.front: WaveformFront | FbankFront = (
            FbankFront(spec) if spec.front == "fbank" else WaveformFront(spec)
        )
        self.position = ConvolvedPosition(spec)
        self.weights = cif.Weights(spec.width) if spec.compress else None
        self.norm = nn.LayerNorm(spec.width)
        self.dropout = nn.Dropout(spec.dropout)
        self.layers = nn.ModuleList(Layer(spec) for _ in range(spec.layers))
        for part in self.layers.modules():
            if isinstance(part, nn.Linear):  # BERT's, as HuBERT has it
                nn.init.normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        rate: Tensor | None = None,
        *,
        layers: bool = True,
    ) -> Encoded:
        """Features of a batch.

        Args:
            inputs: (batch, samples) in [-1, 1], or (batch, frames, mels) log-mel at 10 ms.
            lengths: (batch,) samples or frames of each; None: all of them.
            rate: λ, a scalar or (batch, 1), of an encoder that compresses: 0 keeps 20 ms, 1 is about 90 ms;
                None: 0.
            layers: False runs the front end alone, and gives no states.
        """
        front, counts = self.hear(inputs, lengths)
        empty = front.new_zeros(0)
        if not layers:
            return Encoded(front, [], counts, empty, empty)
        if self.weights is None:
            states = self.transform(front, counts if lengths is not None else None)
            return Encoded(front, states, counts, empty, empty)
        alpha = self.weights(front)
        rate = alpha.new_zeros(()) if rate is None else rate
        weights, units = cif.integrate(cif.controlled(alpha, rate), counts)
        states = self.transform((weights @ front.float()).to(front.dtype), units)
        return Encoded(front, states, units, weights, alpha)

    def hear(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The front end: (batch, frames, width), and (batch,) the frames of each."""
        given = torch.full(inputs.shape[:1], inputs.shape[1], device=inputs.device)
        counts = given if lengths is None else lengths
        if isinstance(self.front, FbankFront):
            return self.front(inputs, lengths), self.front.lengths(counts)
        return self.front(inputs), self.front.lengths(counts)

    def transform(self, x: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """The transformer on (batch, frames, width): the first layer's input and each layer's output."""
        if lengths is not None:  # the position's convolution reaches over the end
            x = x * (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
        states = [self.dropout(self.norm(self.position(x)))]
        mask = attention_mask(x.shape[1], self.spec, lengths)
        if mask is not None:
            mask = mask.to(x.device)
        for layer in self.layers:
            states.append(layer(states[-1], mask)[0])
        return states

    def start(self, batch: int) -> tuple[Tensor, ...]:
        """The states before the first frame.

        Of the front end; of the position; (batch, layers, history, 2 · width) keys and values; frames seen.

        Raises:
            ValueError: an encoder without chunks hears whole utterances only.
        """
        front, spec = self.front, self.spec
        if not spec.chunk or not isinstance(front, FbankFront):
            raise ValueError("this encoder has no chunks: it hears whole utterances only")
        zeros = self.norm.weight.new_zeros
        return (
            front.start(batch),
            zeros(batch, spec.position_kernel - 1, spec.width),
            zeros(batch, spec.layers, spec.history, 2 * spec.width),
            zeros(batch, 1),
        )

    def stream(
        self, frames: Tensor, heard: Tensor, placed: Tensor, looked: Tensor, seen: Tensor
    ) -> tuple[Tensor, ...]:
        """Whole chunks and states to features and states.

        (batch, chunks · 2 · chunk, mels) become (batch, chunks · chunk, width), equal to
        `forward` of the whole utterance, whatever the cutting into chunks.
        """
        states, following = self.stream_layers(frames, heard, placed, looked, seen)
        return states[-1], *following

    def stream_layers(
        self, frames: Tensor, heard: Tensor, placed: Tensor, looked: Tensor, seen: Tensor
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """As `stream`, with the first layer's input and each layer's output, apart from the next states."""
        front = self.front
        if not isinstance(front, FbankFront):
            raise ValueError("only the fbank front end streams")
        x, heard = front.stream(frames, heard)
        x, placed = self.position.stream(x, placed)
        states = [self.norm(x)]
        mask = streamed_mask(x.shape[1], self.spec, seen)
        kept = []
        for number, layer in enumerate(self.layers):
            x, pair = layer(states[-1], mask, looked[:, number])
            states.append(x)
            kept.append(pair[:, pair.shape[1] - self.spec.history :])
        count = (seen + x.shape[1]).clamp_max(self.spec.history)
        return states, (heard, placed, torch.stack(kept, 1), count)


def inherit(student: Encoder, teacher: Encoder) -> list[str]:
    """Copies the teacher's weights that fit: convolutions of the same front end, and first layers.

    Returns:
        Their names.
    """
    theirs, ours = teacher.state_dict(), student.state_dict()
    layers = teacher.spec.width == student.spec.width and teacher.spec.inner == student.spec.inner
    fit = [
        name
        for name, weight in ours.items()
        if name in theirs
        and theirs[name].shape == weight.shape
        and (layers or name.startswith(("front.convolution", "front.group_norm", "front.norm")))
    ]
    student.load_state_dict(ours | {name: theirs[name] for name in fit})
    return fit


def parameters(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(weight.numel() for weight in module.parameters())
