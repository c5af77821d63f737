"""A streaming encoder of speech, and running statistics of what its layers make of it.

The encoder is `training.encoder`'s; this network may begin with the weights of one that `asr.distill` taught.
Our own, after what probes of self-supervised encoders do (SUPERB, arXiv 2105.01051, section 2: a mix of
layers, pooled), with the statistics of DMSC in place of the mean.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dialect_id.causal import Carry, RunningStatistics, sizes, whole
from training.checkpoint import CheckpointError, first_weights
from training.encoder.network import Encoder
from training.encoder.spec import EncoderSpec

_ENCODER = "net.network.encoder."
_FEATURES = ("front.mean", "front.scale")


@dataclass(frozen=True, slots=True)
class PooledEncoderSpec:
    """The shape of a PooledEncoder."""

    encoder: EncoderSpec = field(
        default_factory=lambda: EncoderSpec(
            layers=6, width=192, inner=768, heads=4, position_kernel=64, chunk=25, history=75, dropout=0.0
        )
    )
    """On Fbank and in chunks; its `mels` are the features'. A recipe's table replaces all of this default."""
    taps: tuple[int, ...] = (2, 4, 6)
    """Layers that are pooled, counted from 1."""
    pooled: int = 384
    """Channels that the taps are mapped to, and of which statistics are taken."""
    hop: int = 50
    """Frames between two guesses; whole chunks."""
    cap: int = 60
    """Hops after which old evidence begins to fade: 30 s."""

    def __post_init__(self) -> None:
        chunk = 2 * self.encoder.chunk
        if not chunk or self.hop < 1 or self.hop % chunk:
            raise ValueError(f"hop must be whole chunks of encoder.chunk, got {self.hop} and {chunk} frames")
        if not self.taps or not all(1 <= tap <= self.encoder.layers for tap in self.taps):
            raise ValueError(f"taps must be 1 to {self.encoder.layers}, got {self.taps}")
        if self.pooled < 1 or self.cap < 2:
            raise ValueError(f"need channels and a cap of 2 or more, got {self.pooled} and {self.cap}")


class PooledEncoder(nn.Module):
    """Normalised log-mel to one embedding a hop, of all that was heard up to it."""

    STATES = ("heard", "placed", "looked", "seen", "sums", "count")

    def __init__(self, spec: PooledEncoderSpec, mels: int, embedding: int) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(replace(spec.encoder, mels=mels))
        self.gather = nn.Linear(len(spec.taps) * spec.encoder.width, spec.pooled, bias=False)
        self.gather_norm = nn.BatchNorm2d(spec.pooled)
        self.statistics = RunningStatistics(spec.pooled)
        self.embedding = nn.Linear(2 * spec.pooled, embedding, bias=False)
        self.norm = nn.BatchNorm1d(embedding, affine=False)

    @property
    def step_channels(self) -> int:
        """Of what `hops_and_steps` gives of each step."""
        return self.spec.encoder.width

    def start(self, batch: int) -> tuple[Tensor, ...]:
        """The states before the first frame: the encoder's, sums (batch, values), count (batch, 1)."""
        like = self.embedding.weight
        return *self.encoder.start(batch), like.new_zeros(batch, sizes(self)[1]), like.new_zeros(batch, 1)

    def embed(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, frames, mels) utterances of `lengths` frames, all if None, to (batch, embedding)."""
        return self.embed_hops(frames, lengths)[:, -1]

    def embed_hops(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """The same after each hop of the utterance: (batch, hops, embedding)."""
        return self.hops_and_steps(frames, lengths)[0]

    def hops_and_steps(self, frames: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `embed_hops`, and what the last layer makes of each step: (batch, steps, channels)."""
        batch, total = frames.shape[:2]
        *_, sums, count = self.start(batch)
        carry = whole(
            (sums[:, :0], sums, count), total, lengths, hop=self.spec.hop, stride=2, cap=self.spec.cap
        )
        if carry.valid is not None and lengths is None:
            lengths = torch.full((batch,), total, device=frames.device)
        padded = F.pad(frames, (0, 0, 0, -total % self.spec.hop))
        states = self.encoder(padded, lengths).states
        return self._embedded(states, carry), states[-1]

    def stream(self, frames: Tensor, *states: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(batch, hops·hop, mels) and states to (batch, hops, embedding) and the next states."""
        *encoders, sums, count = states
        layers, following = self.encoder.stream_layers(frames, *encoders)
        shares = frames.new_ones(frames.shape[0], frames.shape[1] // self.spec.hop)
        carry = Carry((sums[:, :0], sums, count), self.spec.hop // 2, shares, self.spec.cap, None)
        embeddings = self._embedded(layers, carry)
        return embeddings, (*following, *carry.next_states()[1:])

    def _embedded(self, states: list[Tensor], carry: Carry) -> Tensor:
        """The encoder's states to (batch, hops, embedding)."""
        heard = self.gather(torch.cat([states[tap] for tap in self.spec.taps], dim=-1))
        x = torch.relu_(self.gather_norm(heard.transpose(1, 2).unsqueeze(2)))
        embeddings = self.embedding(self.statistics(x, carry).transpose(1, 2))
        return torch.as_tensor(self.norm(embeddings.transpose(1, 2))).transpose(1, 2)


def of_student(name: str) -> str:
    """The name in a DialectNet's student of a weight of `asr.distill`'s pupil; "" of those that have none.

    The features' mean and scale, which the pupil has in its front end, belong to the whole network here.
    """
    inside = name.removeprefix("student.")
    if inside == name:
        return ""
    if inside in _FEATURES:
        return f"net.{inside.removeprefix('front.')}"
    return f"{_ENCODER}{inside}"


def begin_with_encoder(student: nn.Module, path: Path) -> None:
    """Puts the encoder in a best.pt of `asr.distill` into a DialectNet's student.

    Raises:
        CheckpointError: as `first_weights`, or it is another encoder than the student's.
        OSError: it cannot be opened.
    """
    left = first_weights(student, path, renamed=of_student)
    without = [n for n in left if n.startswith(_ENCODER) and n.removeprefix(_ENCODER) not in _FEATURES]
    if without:
        raise CheckpointError(f"{path} holds another encoder: it has no {without[0]} of that shape")
