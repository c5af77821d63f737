"""What a causal network carries from one stretch of frames to the next: pasts of convolutions, running sums.

One code path serves both uses: a whole utterance is a stream of one call from zero states.
"""

import torch
from torch import Tensor, nn

DEVIATION_FLOOR = 1e-2
"""Smallest standard deviation: keeps its gradient finite where a channel is constant."""


class Carry:
    """The states of one call, taken and renewed piece by piece as the layers ask for them, always in order.

    Evidence is counted in hops. Sums grow until the count reaches `cap`; from then on they decay by
    (cap − 1)/cap before each hop, so that a mean moves by 1/cap of what is new: states stay bounded in an
    endless stream, and old evidence fades.
    """

    def __init__(
        self,
        states: tuple[Tensor, Tensor, Tensor],
        steps: int,
        shares: Tensor,
        cap: int,
        valid: Tensor | None,
    ) -> None:
        """States and the division of this call into hops.

        Args:
            states: memory (batch, values), sums (batch, values), count (batch, 1), as `next_states` gives.
            steps: of a hop, at the rate that statistics are taken at.
            shares: (batch, hops), the part of each hop that is there: 1, less in an utterance's last hop,
                0 after it.
            cap: hops, 2 or more.
            valid: (batch, 1, hops, steps), 1 where a step belongs to the utterance; None: all do.
        """
        self.memory, self.sums, count = states
        self.steps, self.valid = steps, valid
        total = (count + shares.cumsum(1))[:, None]  # (batch, 1, hops)
        self.counts = total.clamp(max=float(cap))
        kept = torch.where(total <= cap, torch.ones_like(total), 1 - shares[:, None] / cap)
        # With S_h = d_h S_{h−1} + x_h and P_h = d_1 ⋯ d_h: S_h = P_h (S_0 + Σ_j x_j / P_j), no loop.
        self.fade = kept.log().cumsum(2).exp()
        self._memory_at = self._sums_at = 0
        self._pasts: list[Tensor] = []
        self._totals: list[Tensor] = []

    def join(self, x: Tensor, past: int) -> Tensor:
        """(batch, channels, 1, steps) with the `past` steps before it in front."""
        if past == 0:
            return x
        size = x.shape[1] * past
        before = self.memory[:, self._memory_at : self._memory_at + size]
        self._memory_at += size
        joined = torch.cat((before.reshape(-1, x.shape[1], 1, past).to(x.dtype), x), dim=3)
        self._pasts.append(joined[..., -past:])
        return joined

    def statistics(self, x: Tensor) -> Tensor:
        """Mean and deviation of all that was heard up to the end of each hop, that hop included.

        (batch, channels, 1, hops·steps) to (batch, 2·channels, hops) in float32.
        """
        hops = x.float().reshape(x.shape[0], x.shape[1], -1, self.steps)  # (batch, channels, hops, steps)
        if self.valid is not None:
            hops = hops * self.valid
        moments = torch.cat((hops.sum(3), hops.square().sum(3)), dim=1) / self.steps
        before = self.sums[:, self._sums_at : self._sums_at + moments.shape[1], None]
        self._sums_at += moments.shape[1]
        totals = self.fade * (before + (moments / self.fade).cumsum(2))
        self._totals.append(totals[:, :, -1])
        mean, square = (totals / self.counts).chunk(2, dim=1)
        deviation = (square - mean.square()).clamp(min=DEVIATION_FLOOR**2).sqrt()
        return torch.cat((mean, deviation), dim=1)

    def next_states(self) -> tuple[Tensor, Tensor, Tensor]:
        """The states after this call."""
        pasts = [past.flatten(1) for past in self._pasts]
        memory = torch.cat(pasts, dim=1) if pasts else self.memory
        return memory, torch.cat(self._totals, dim=1), self.counts[:, 0, -1:]


def whole(
    states: tuple[Tensor, Tensor, Tensor],
    total: int,
    lengths: Tensor | None,
    *,
    hop: int,
    stride: int,
    cap: int,
) -> Carry:
    """A carry for whole utterances; steps past an utterance's end do not count.

    Args:
        states: before the first frame.
        total: frames of the batch.
        lengths: (batch,) frames of each; None: all.
        hop: frames between two guesses.
        stride: frames a step.
        cap: as Carry's.
    """
    like = states[0]
    batch, hops, steps = len(like), -(-total // hop), hop // stride
    if lengths is None and total % hop == 0:
        shares, valid = like.new_ones(batch, hops), None
    else:
        ends = like.new_full((batch,), total) if lengths is None else lengths.to(like.device)
        there = torch.arange(hops * steps, device=like.device) < (ends // stride).clamp(min=1)[:, None]
        valid = there.reshape(batch, 1, hops, steps).to(like.dtype)
        shares = valid.mean(3)[:, 0]
    return Carry(states, steps, shares, cap, valid)


class CausalConv(nn.Module):
    """Convolution over past and present steps.

    Steps lie on the second of two axes, since the fast kernels (oneDNN's and onnxruntime's) are for
    two-dimensional maps.
    """

    def __init__(self, inward: int, outward: int, kernel: int, dilation: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation + 1 - stride
        if self.past < 0:
            raise ValueError(f"a stride of {stride} skips steps with kernel {kernel}, dilation {dilation}")
        self.memory = inward * self.past
        """Values that it keeps in the carry."""
        self.conv = nn.Conv2d(
            inward, outward, (1, kernel), stride=(1, stride), dilation=(1, dilation), bias=False
        )

    def forward(self, x: Tensor, carry: Carry) -> Tensor:
        """(batch, inward, 1, steps) to (batch, outward, 1, steps / stride)."""
        return torch.as_tensor(self.conv(carry.join(x, self.past)))


class RunningStatistics(nn.Module):
    """Mean and deviation so far; as a module, so that the sums of a network can be counted."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sums = 2 * channels
        """Values that it keeps in the carry."""

    def forward(self, x: Tensor, carry: Carry) -> Tensor:
        """See Carry.statistics."""
        return carry.statistics(x)


def sizes(network: nn.Module) -> tuple[int, int]:
    """Values of memory and of sums that a causal network carries for one utterance."""
    memory = sum(module.memory for module in network.modules() if isinstance(module, CausalConv))
    sums = sum(module.sums for module in network.modules() if isinstance(module, RunningStatistics))
    return memory, sums
