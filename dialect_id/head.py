"""The last layer as directions: scaled cosines, several to a label, and a margin while they are learnt."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.recipe import RecipeError


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """Which classifier stands on the embedding."""

    kind: Literal["linear", "cosine"] = "linear"
    scale: float = 30.0
    """cosine: what cosines are multiplied by to be logits."""
    centres: int = 1
    """cosine: directions of each label, the nearest of which counts (sub-center ArcFace, ECCV 2020)."""
    margin: float = 0.2
    """cosine: additive angular margin of the right label in radians (ArcFace, arXiv 1801.07698)."""
    margin_epochs: int = 5
    """Over which the margin rises from 0."""

    def __post_init__(self) -> None:
        if not self.scale > 0 or self.centres < 1 or not 0 <= self.margin < 1.5 or self.margin_epochs < 0:
            raise RecipeError(
                f"head wants scale > 0, centres >= 1, margin in [0, 1.5) and margin_epochs >= 0, got {self}"
            )

    def margin_at(self, epoch: int) -> float:
        """The margin in an epoch, from 0."""
        return 0.0 if self.kind == "linear" else self.margin * min(1.0, epoch / max(1, self.margin_epochs))


class CosineHead(nn.Module):
    """(..., embedding) to (..., labels): scale · the largest cosine with one of the label's centres."""

    def __init__(self, embedding: int, labels: int, spec: HeadSpec) -> None:
        super().__init__()
        self.scale, self.labels, self.centres = spec.scale, labels, spec.centres
        self.weight = nn.Parameter(torch.empty(labels * spec.centres, embedding))
        nn.init.xavier_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        cosines = F.linear(F.normalize(x, dim=-1), F.normalize(self.weight, dim=-1))
        if self.centres > 1:
            cosines = cosines.reshape(*cosines.shape[:-1], self.labels, self.centres).amax(-1)
        return self.scale * cosines


def with_margin(logits: Tensor, classes: Tensor, scale: float, margin: float) -> Tensor:
    """Scaled cosines, that of the right label turned away by a margin: s·cos θ to s·cos(θ + m).

    Args:
        logits: (batch, labels) float32.
        classes: (batch,), each 0 or more.
        scale: s.
        margin: m in radians. Where θ + m is beyond π the cosine falls on in a line, so that it is monotonic
            (ArcFace's "easy margin off").
    """
    if not margin:
        return logits
    at = classes[:, None]
    cosine = (logits.gather(1, at) / scale).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = torch.tensor(margin, device=logits.device)
    sine = (1 - cosine.square()).sqrt()
    turned = torch.where(
        cosine > -angle.cos(), cosine * angle.cos() - sine * angle.sin(), cosine - margin * angle.sin()
    )
    return logits.scatter(1, at, scale * turned)
