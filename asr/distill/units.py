"""A teacher's units: embeddings of pseudo-labels, and the distribution over them that a frame has."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Units(nn.Module):
    """z = cos(project(frame), unit) / τ over all units: HuBERT's own, or centroids of any teacher's frames.

    HuBERT's are its 500 k-means units and 4 specials, behind its final projection. For another teacher they
    are centroids of its last layer's frames without a projection: our reading.
    """

    embeddings: Tensor

    def __init__(self, embeddings: Tensor, project: nn.Linear | None = None, tau: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings)
        self.project, self.tau = project, tau
        self.requires_grad_(False)

    @classmethod
    def of(cls, embeddings: Tensor, weight: Tensor, bias: Tensor, tau: float = 0.1) -> Self:
        """HuBERT's: (units, embedding), and the (embedding, width) projection with its bias."""
        project = nn.Linear(weight.shape[1], weight.shape[0])
        project.load_state_dict({"weight": weight, "bias": bias})
        return cls(embeddings, project, tau)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, width) of the teacher's last layer to (batch, frames, units) logits."""
        frames = frames.float()
        return likeness(frames if self.project is None else self.project(frames), self.embeddings) / self.tau


def likeness(x: Tensor, embeddings: Tensor) -> Tensor:
    """Cosines of (…, width) with (units, width): (…, units)."""
    with torch.autocast(x.device.type, enabled=False):  # a temperature of 0.1 would bring out its rounding
        return torch.as_tensor(F.normalize(x.float(), dim=-1) @ F.normalize(embeddings.float(), dim=-1).T)
