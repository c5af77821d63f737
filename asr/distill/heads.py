"""Prediction heads, which exist in training only, and the student under them."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.distill.units import Units, likeness
from training.encoder.network import Encoder
from training.encoder.spec import EncoderSpec

UnitHead = Literal["none", "embedded", "linear", "hard"]


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """What a student predicts while it learns."""

    kind: Literal["layer-wise", "expand-last"] = "layer-wise"
    """layer-wise: a linear map of each of `students`' layers; expand-last: all out of the last one."""
    students: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    """layer-wise: the student's layers, one for each of `teachers`."""
    teachers: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    """The teacher's layers that are predicted."""
    units: UnitHead = "none"
    """Discriminative loss: embedded (type 1), linear (type 2), hard (type 3)."""

    def __post_init__(self) -> None:
        if not self.teachers and self.units == "none":
            raise ValueError("nothing to predict: neither teachers' layers nor units")
        if self.kind == "layer-wise" and len(self.students) != len(self.teachers):
            raise ValueError(
                f"{len(self.students)} layers of the student for {len(self.teachers)} of the teacher"
            )


class Predicted(NamedTuple):
    """What a student says of a batch; what it was not asked for has no elements."""

    front: Tensor
    """(batch, frames, teacher's width): the front end's guess of the first hidden state (stage 1)."""
    layers: Tensor
    """(batch, layers, frames, teacher's width)."""
    units: Tensor
    """(batch, frames, units) logits."""
    lengths: Tensor
    """(batch,) frames."""
    weights: Tensor
    """(batch, frames, frames before compression) of a student that compresses."""
    alpha: Tensor
    """(batch, frames before compression), likewise."""


class LayerWise(nn.Module):
    """A linear map for each predicted layer, on a layer of the student's own (FitHuBERT's head)."""

    def __init__(self, spec: HeadSpec, width: int, taught: int) -> None:
        super().__init__()
        self.students = spec.students
        self.maps = nn.ModuleList(nn.Linear(width, taught) for _ in spec.students)

    def forward(self, states: list[Tensor]) -> Tensor:
        """(batch, layers, frames, taught)."""
        told = [each(states[layer]) for each, layer in zip(self.maps, self.students, strict=True)]
        return torch.stack(told, 1)


class ExpandLast(nn.Module):
    """Linear, GELU, then a linear map a predicted layer, on the last layer (DistilHuBERT's head)."""

    def __init__(self, spec: HeadSpec, width: int, taught: int) -> None:
        super().__init__()
        self.count = len(spec.teachers)
        self.expand = nn.Linear(width, self.count * taught)
        self.weight = nn.Parameter(torch.randn(self.count, taught, taught) * taught**-0.5)
        self.bias = nn.Parameter(torch.zeros(self.count, 1, taught))

    def forward(self, states: list[Tensor]) -> Tensor:
        """(batch, layers, frames, taught)."""
        wide = F.gelu(self.expand(states[-1]))
        wide = wide.reshape(*wide.shape[:2], self.count, wide.shape[2] // self.count).transpose(1, 2)
        return torch.as_tensor(wide @ self.weight + self.bias)


class Pupil(nn.Module):
    """A student with its heads on; `student` alone is kept."""

    def __init__(
        self, student: EncoderSpec, heads: HeadSpec, taught: int, units: Units | None = None, pool: int = 1
    ) -> None:
        """Makes random weights.

        Args:
            student: its sizes.
            heads: what it predicts.
            taught: the teacher's width.
            units: the teacher's; embedded and hard heads compare themselves with their embeddings.
            pool: frames of the student to one of the teacher's stored ones.

        Raises:
            ValueError: a head for units, and none given.
        """
        super().__init__()
        self.student = Encoder(student)
        self.front_head = nn.Linear(student.width, taught)
        self.layer_heads: LayerWise | ExpandLast | None = None
        if heads.teachers:
            head = LayerWise if heads.kind == "layer-wise" else ExpandLast
            self.layer_heads = head(heads, student.width, taught)
        self.kind, self.tau, self.pool = heads.units, 1.0, pool
        if heads.units != "none":
            if units is None:
                raise ValueError(f"a head of kind {heads.units} wants the teacher's units")
            count, width = units.embeddings.shape
            self.unit_head = nn.Linear(student.width, count if heads.units == "linear" else width)
            self.tau = units.tau
            self.register_buffer("embeddings", units.embeddings.clone())

    embeddings: Tensor

    def forward(
        self, inputs: Tensor, lengths: Tensor, stage: int = 2, rate: Tensor | None = None
    ) -> Predicted:
        """Predictions: of the front end in stage 1, which touches nothing else, of the rest in stage 2."""
        encoded = self.student(inputs, lengths, rate, layers=stage == 2)
        rest = (-(-encoded.lengths // self.pool), encoded.weights, encoded.alpha)
        nothing = encoded.front.new_zeros(0)
        if stage == 1:
            return Predicted(self.front_head(self._pooled(encoded.front)), nothing, nothing, *rest)
        states = [self._pooled(state) for state in encoded.states]
        layers = self.layer_heads(states) if self.layer_heads else nothing
        return Predicted(nothing, layers, self._units(states[-1]), *rest)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == 1:
            return x
        return F.avg_pool1d(x.transpose(1, 2), self.pool, ceil_mode=True).transpose(1, 2)

    def _units(self, last: Tensor) -> Tensor:
        if self.kind == "none":
            return last.new_zeros(0)
        told = self.unit_head(last)
        if self.kind == "linear":  # "type2_no_tau"
            return torch.as_tensor(told)
        return likeness(told, self.embeddings) / self.tau
