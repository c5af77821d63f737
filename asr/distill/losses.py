"""What a student is taught: to say the teacher's features, and to tell its units apart (arXiv 2210.15631)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def valid(frames: int, lengths: Tensor) -> Tensor:
    """(batch, frames), True up to each recording's length."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def regression(
    told: Tensor, taught: Tensor, lengths: Tensor, *, distance: float = 1.0, cosine: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The regression loss, and the mean cosine between what is told and taught.

    distance · mean |told − taught| + cosine · mean −log σ(cos(told, taught)), over recordings' own frames.

    Args:
        told: (batch, layers, frames, width), the student's predictions.
        taught: the same of the teacher.
        lengths: (batch,) frames of each.
        distance: weight of the first term.
        cosine: weight of the second.
    """
    told, taught = told.float(), taught.float()
    mask = valid(told.shape[2], lengths)[:, None].expand(told.shape[:3])
    away = (told - taught).abs().mean(-1)[mask].mean()
    alike = F.cosine_similarity(told, taught, dim=-1)[mask]
    return distance * away - cosine * F.logsigmoid(alike).mean(), alike.mean().detach()


def front_end(told: Tensor, taught: Tensor, lengths: Tensor) -> Tensor:
    """Stage 1: mean |told − taught| of (batch, frames, width): front end against first hidden state."""
    return regression(told[:, None], taught[:, None], lengths, cosine=0.0)[0]


def soft_units(logits: Tensor, taught: Tensor, lengths: Tensor) -> Tensor:
    """Discriminative types 1 and 2: KL(teacher ‖ student), the mean over frames.

    Args:
        logits: (batch, frames, units) of the student.
        taught: the teacher's logits, its temperature included.
        lengths: (batch,) frames of each.
    """
    mask = valid(logits.shape[1], lengths)
    student, teacher = logits.float()[mask].log_softmax(-1), taught.float()[mask].log_softmax(-1)
    return F.kl_div(student, teacher, log_target=True, reduction="batchmean")


def hard_units(logits: Tensor, taught: Tensor, lengths: Tensor) -> Tensor:
    """Discriminative type 3: noise-contrastive over all units, the teacher's likeliest against the others.

    With every other unit as a negative, and the positive never among them, this is cross-entropy.
    """
    mask = valid(logits.shape[1], lengths)
    return F.cross_entropy(logits.float()[mask], taught[mask].argmax(-1))


def agreement(logits: Tensor, taught: Tensor, lengths: Tensor) -> Tensor:
    """Share of frames in which student and teacher have the same likeliest unit."""
    same = logits.argmax(-1) == taught.argmax(-1)
    return same[valid(logits.shape[1], lengths)].float().mean()
