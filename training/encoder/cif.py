"""Once-for-all sequence compression (arXiv 2211.02332): frames are summed up to units of a chosen rate.

Continuous integrate-and-fire: each frame has a weight α in (0, 1); the weights are integrated, and each time
the integral passes a whole number a vector goes out, the α-weighted sum of its frames. λ sets the rate.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LONGEST_MS = 90.0
"""Mean period of the learned weights at λ = 1; frames are 20 ms."""


class Weights(nn.Module):
    """α of each frame: a convolution, a norm, and a sigmoid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, 5, padding=2)
        self.norm = nn.LayerNorm(width)
        self.weigh = nn.Linear(width, 1)
        nn.init.constant_(self.weigh.bias, -1.25)  # σ = 0.22, the mean weight at 90 ms

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, width) to (batch, frames) in (0, 1), float32."""
        x = F.relu(self.norm(self.convolution(x.transpose(1, 2)).transpose(1, 2)))
        return torch.as_tensor(self.weigh(x)[..., 0].float().sigmoid())


def controlled(alpha: Tensor, rate: Tensor) -> Tensor:
    """α' = λα + (1 − λ) up to λ = 1, which compresses by the learned weights; then (2 − λ)α, up to 2."""
    return torch.where(rate <= 1, rate * alpha + (1 - rate), (2 - rate) * alpha)


def rate_of(period_ms: float) -> float:
    """λ for a mean frame period: period = 20 / (1 − 7λ/9) ms, the learned α having a mean of 2/9.

    Raises:
        ValueError: a period outside of 20 to 90 ms.
    """
    if not 20 <= period_ms <= LONGEST_MS:
        raise ValueError(f"a period of {period_ms} ms: wants 20 to {LONGEST_MS:.0f}")
    return 9 / 7 * (1 - 20 / period_ms)


def period_of(rate: float) -> float:
    """The mean frame period in ms at λ, 0 to 1; the inverse of `rate_of`."""
    return 20 / (1 - 7 * rate / 9)


def integrate(alpha: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The matrix that compresses frames.

    Without a loop: after frame t the integral S(t) has filled unit n, the part from n to n + 1, up to
    S(t) − n, and the weight of a frame is by how much it fills the unit. What is left at the end makes a
    unit if it is at least half of one, as does a recording shorter than that; each unit's weights add up
    to 1.

    The integral is in double precision, its whole and its broken part apart: of a long recording float32
    would lose the latter.

    Args:
        alpha: (batch, frames) weights, as of `controlled`.
        lengths: (batch,) frames of each; None: all of them.

    Returns:
        (batch, units, frames), and (batch,) units of each.
    """
    if lengths is not None:
        alpha = alpha * (torch.arange(alpha.shape[1], device=alpha.device) < lengths[:, None])
    total = alpha.double().cumsum(1)
    counts = (total[:, -1] + 0.5).floor().clamp_min(1).long()
    most = counts.max().item()
    # The number depends on the sound: these bounds are what an exporter may rely on.
    torch._check(most >= 1)  # type: ignore[no-untyped-call]
    torch._check(most <= alpha.shape[1])  # type: ignore[no-untyped-call]
    unit = torch.arange(most, device=alpha.device)[None, :, None]
    whole = total.floor()
    part = (total - whole).to(alpha.dtype)
    filled = (whole.to(alpha.dtype)[:, None] - unit + part[:, None]).clamp(0, 1)
    overlap = filled - F.pad(filled[..., :-1], (1, 0))
    overlap = overlap * (unit < counts[:, None, None])
    return overlap / overlap.sum(-1, keepdim=True).clamp_min(1e-6), counts


def guidance(alpha: Tensor, starts: Tensor, lengths: Tensor) -> Tensor:
    """What α learns from a segmentation: 0.5 · frame loss + 0.05 · segment loss.

    Frames of a segment share one unit between them, α̂ = 1 / frames; and the integral should be i at the
    end of segment i. The paper's segments come from unsupervised ASR; ours are runs of a teacher's unit (our
    reading).

    Args:
        alpha: (batch, frames).
        starts: (batch, frames), True where a segment begins; the first frame always does.
        lengths: (batch,) frames of each.
    """
    at = torch.arange(alpha.shape[1], device=alpha.device)
    known = at < lengths[:, None]
    number = starts.long().cumsum(1)  # from 1
    sizes = torch.zeros_like(alpha).scatter_add_(1, number - 1, known.to(alpha.dtype))
    wanted = 1 / sizes.gather(1, number - 1).clamp_min(1)
    frame = (alpha - wanted).abs()[known].mean()
    ends = known & (F.pad(starts[:, 1:], (0, 1), value=True) | (at + 1 == lengths[:, None]))
    total = (alpha * known).cumsum(1)
    return 0.5 * frame + 0.05 * (total - number)[ends].abs().mean()


def runs(units: Tensor, shortest: int = 2) -> Tensor:
    """(batch, frames), True where a run of equal units begins, at least `shortest` frames after the last."""
    starts = torch.zeros_like(units, dtype=torch.bool)
    since = torch.full(units.shape[:1], shortest, device=units.device)
    for at in range(units.shape[1]):
        new = since >= shortest if at == 0 else (units[:, at] != units[:, at - 1]) & (since >= shortest)
        starts[:, at] = new
        since = torch.where(new, 1, since + 1)
    return starts
