"""One dialect classifier out of a recipe's "network" table, with its feature normalisation inside."""

from dataclasses import dataclass, field
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from dialect_id.campp import CAMPP
from dialect_id.dmsc import DMSC, DMSCSpec
from dialect_id.dtdnn import DTDNN
from dialect_id.ecapa import ECAPA
from dialect_id.pooled_encoder import PooledEncoder, PooledEncoderSpec
from dialect_id.xvector import XVector
from training.normalised import Normalised

Kind = Literal["dmsc", "pooled-encoder", "d-tdnn", "d-tdnn-ss", "x-vector", "ecapa", "cam++"]


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Which network, and its own settings; those of the others are not looked at."""

    kind: Kind = "dmsc"
    dmsc: DMSCSpec = field(default_factory=DMSCSpec)
    pooled_encoder: PooledEncoderSpec = field(default_factory=PooledEncoderSpec)
    embedding: int = 256
    dropout: float = 0.1
    """Of the embedding's values, before the classifier."""

    @property
    def step_frames(self) -> int:
        """Frames a step of a network that streams."""
        return 2 if self.kind == "pooled-encoder" else self.dmsc.stride

    def __post_init__(self) -> None:
        if self.embedding < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"embedding must be at least 1, dropout lie in [0, 1), got {self.embedding}, {self.dropout}"
            )


class Embedder(Protocol):
    """What all networks have."""

    def embed(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, frames, mels) utterances of `lengths` frames, all if None, to (batch, embedding)."""


class DialectNet(Normalised):
    """Normalisation, network, classifier: (batch, frames, mels) log-mel to (batch, labels) logits."""

    def __init__(self, spec: NetworkSpec, mels: int, labels: int) -> None:
        super().__init__(mels)
        self.network = _network(spec, mels)
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Linear(spec.embedding, labels)

    @property
    def streams(self) -> bool:
        """Whether `streaming`, `stream`, `start` and `embed_hops` are there."""
        return isinstance(self.network, DMSC | PooledEncoder)

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of whole utterances.

        Args:
            frames: (batch, frames, mels) log-mel, padded with anything.
            lengths: (batch,) frames of each utterance; None: all.

        Returns:
            (batch, labels).
        """
        return torch.as_tensor(self.classifier(self.dropout(self.embed(frames, lengths))))

    def embed(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The embeddings that the classifier sees, (batch, embedding)."""
        return cast("Embedder", self.network).embed(*self._prepared(frames, lengths))

    def embed_hops(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Of a network that streams, embeddings of what was heard up to the end of each hop.

        (batch, hops, embedding); hops after an utterance's end repeat its last one.
        """
        return self.streaming.embed_hops(*self._prepared(frames, lengths))

    def hops_and_steps(self, frames: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The embeddings after each hop, and the last block's steps (batch, steps, channels)."""
        return self.streaming.hops_and_steps(*self._prepared(frames, lengths))

    def start(self, batch: int) -> tuple[Tensor, ...]:
        """The states before the first frame: zeros."""
        return self.streaming.start(batch)

    def stream(self, frames: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Posteriors after each hop, and the next states.

        Args:
            frames: (batch, hops·hop, mels) log-mel.
            states: as `start` or the call before gave them.

        Returns:
            (batch, hops, labels) posteriors, then the states.
        """
        embeddings, following = self.streaming.stream(self.normalised(frames), *states)
        return torch.softmax(self.classifier(embeddings), dim=-1), *following

    @property
    def streaming(self) -> DMSC | PooledEncoder:
        """The network, if it streams.

        Raises:
            TypeError: it does not.
        """
        if not isinstance(self.network, DMSC | PooledEncoder):
            raise TypeError(f"a {type(self.network).__name__} hears whole utterances, it does not stream")
        return self.network

    def _prepared(self, frames: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Normalised frames, zero after the end; no lengths where all utterances fill the batch."""
        frames = self.normalised(frames)
        if lengths is None or bool((lengths == frames.shape[1]).all()):
            return frames, None
        there = torch.arange(frames.shape[1], device=frames.device) < lengths[:, None].to(frames.device)
        return frames.where(there[:, :, None], 0.0), lengths


def _network(spec: NetworkSpec, mels: int) -> nn.Module:
    if spec.kind in {"d-tdnn", "d-tdnn-ss"}:
        return DTDNN(spec.kind, mels, spec.embedding)
    if spec.kind == "x-vector":
        return XVector(mels, spec.embedding)
    if spec.kind == "ecapa":
        return ECAPA(mels, spec.embedding)
    if spec.kind == "cam++":
        return CAMPP(mels, spec.embedding)
    if spec.kind == "pooled-encoder":
        return PooledEncoder(spec.pooled_encoder, mels, spec.embedding)
    return DMSC(spec.dmsc, mels, spec.embedding)
