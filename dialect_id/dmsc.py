"""Dynamic multi-scale convolution (arXiv 2108.07787) as a causal network that streams.

The paper's abstract names three parts; their layout is not public, so all of it here is our reading, built
on D-TDNN (a densely connected TDNN with bottleneck layers, which the paper compares with). Each part has its
switch; with all three off a causal D-TDNN is left. Ours beside the reading: convolutions look back only,
statistics are running ones, and each map is normalised and activated once, where it is made, and not again
in every later layer that reads it (half the training time on a CPU).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dialect_id.causal import Carry, CausalConv, RunningStatistics, sizes, whole
from dialect_id.selection import Selection


@dataclass(frozen=True, slots=True)
class DMSCSpec:
    """The shape of a DMSC."""

    dynamic: bool = True
    """Dynamic kernel convolution: every layer has all `branches` and chooses between them from statistics.
    Off: the layers of block i have branch i alone."""
    local_scales: int = 4
    """Local multi-scale learning: groups of a branch's channels, each group seeing the one before; 1: off."""
    global_pooling: bool = True
    """Global multi-scale pooling: statistics of the stem and of every block. Off: of the last block alone."""
    branches: tuple[tuple[int, int], ...] = ((3, 1), (3, 3))
    """Kernel and dilation of each, in steps."""
    stem: int = 128
    """Channels before the first block."""
    stem_kernel: int = 5
    stride: int = 2
    """Frames a step: all after the stem runs at this fraction of the frame rate."""
    layers: tuple[int, ...] = (6, 12)
    """Of each dense block; the channels are halved after each."""
    growth: int = 64
    """Channels that a layer adds."""
    bottleneck: int = 128
    hop: int = 50
    """Frames between two guesses."""
    cap: int = 60
    """Hops after which old evidence begins to fade: 30 s."""

    def __post_init__(self) -> None:
        if self.stride < 1 or self.hop < 1 or self.hop % self.stride:
            raise ValueError(f"hop must be a multiple of stride, got {self.hop} and {self.stride}")
        if self.stem_kernel < self.stride:
            raise ValueError(f"stem_kernel must be at least stride, got {self.stem_kernel} and {self.stride}")
        if min(self.stem, self.bottleneck, *self.layers, *(x for pair in self.branches for x in pair)) < 1:
            raise ValueError(f"channels, layers, kernels and dilations must be at least 1, got {self}")
        if self.growth < 2:
            raise ValueError(f"growth must be at least 2, got {self.growth}")
        if self.local_scales < 1 or self.bottleneck % self.local_scales:
            raise ValueError(
                f"local_scales must divide bottleneck, got {self.local_scales} and {self.bottleneck}"
            )
        if not self.layers or not self.branches or self.cap < 2:
            raise ValueError(f"need layers, branches and a cap of 2 or more, got {self}")


class LocalScales(nn.Module):
    """y₁ = x₁, yᵢ = convᵢ(xᵢ + yᵢ₋₁) over groups of channels, then a 1×1 convolution (Res2-style)."""

    def __init__(self, channels: int, outward: int, kernel: int, dilation: int, scales: int) -> None:
        super().__init__()
        self.width = channels // scales
        self.convs = nn.ModuleList(
            CausalConv(self.width, self.width, kernel, dilation) for _ in range(scales - 1)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(self.width) for _ in range(scales - 1))
        self.fuse = nn.Conv2d(channels, outward, 1, bias=False)

    def forward(self, x: Tensor, carry: Carry) -> Tensor:
        """(batch, channels, 1, steps) to (batch, outward, 1, steps)."""
        groups = torch.split(x, self.width, dim=1)
        scales = [groups[0]]
        for group, conv, norm in zip(groups[1:], self.convs, self.norms, strict=True):
            scales.append(torch.relu_(norm(conv(group + scales[-1], carry))))
        return torch.as_tensor(self.fuse(torch.cat(scales, dim=1)))


class Branch(nn.Module):
    """One temporal convolution, or several in local scales, and its normalisation."""

    def __init__(self, spec: DMSCSpec, kernel: int, dilation: int) -> None:
        super().__init__()
        inward, outward, scales = spec.bottleneck, spec.growth, spec.local_scales
        self.conv = (
            CausalConv(inward, outward, kernel, dilation)
            if scales == 1
            else LocalScales(inward, outward, kernel, dilation, scales)
        )
        self.norm = nn.BatchNorm2d(outward)

    def forward(self, x: Tensor, carry: Carry) -> Tensor:
        """(batch, bottleneck, 1, steps) to (batch, growth, 1, steps)."""
        return torch.as_tensor(self.norm(self.conv(x, carry)))


class DynamicKernels(nn.Module):
    """Branches of different context, mixed anew each hop by what was heard so far (see Selection)."""

    def __init__(self, spec: DMSCSpec) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Branch(spec, kernel, dilation) for kernel, dilation in spec.branches)
        self.statistics = RunningStatistics(spec.growth)
        self.selection = Selection(2 * spec.growth, spec.growth, len(spec.branches))

    def forward(self, x: Tensor, carry: Carry) -> Tensor:
        """(batch, bottleneck, 1, steps) to (batch, growth, 1, steps)."""
        maps = [branch(x, carry) for branch in self.branches]
        summed = maps[0]
        for other in maps[1:]:
            summed = summed + other
        weights = self.selection(self.statistics(summed, carry)).to(summed.dtype)
        shape = (summed.shape[0], summed.shape[1], -1, carry.steps)  # (batch, growth, hops, steps)
        mixed = maps[0].reshape(shape) * weights[:, 0, :, :, None]
        for index, other in enumerate(maps[1:], 1):
            mixed = mixed + other.reshape(shape) * weights[:, index, :, :, None]
        return torch.as_tensor(mixed.reshape(summed.shape))


class DenseLayer(nn.Module):
    """1×1 convolution to the bottleneck, temporal convolution to `growth` new channels beside the old."""

    def __init__(self, spec: DMSCSpec, inward: int, block: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inward, spec.bottleneck, 1, bias=False)
        self.norm = nn.BatchNorm2d(spec.bottleneck)
        dynamic = spec.dynamic and len(spec.branches) > 1
        self.temporal = (
            DynamicKernels(spec) if dynamic else Branch(spec, *spec.branches[block % len(spec.branches)])
        )

    def forward(self, x: Tensor, carry: Carry) -> Tensor:
        """(batch, inward, 1, steps) to (batch, inward + growth, 1, steps)."""
        squeezed = torch.relu_(self.norm(self.squeeze(x)))
        return torch.cat((x, torch.relu_(self.temporal(squeezed, carry))), dim=1)


class DenseBlock(nn.Module):
    """Dense layers, then a 1×1 convolution that halves the channels."""

    def __init__(self, spec: DMSCSpec, inward: int, block: int) -> None:
        super().__init__()
        count = spec.layers[block]
        self.layers = nn.ModuleList(
            DenseLayer(spec, inward + index * spec.growth, block) for index in range(count)
        )
        wide = inward + count * spec.growth
        self.outward = wide // 2
        self.transit = nn.Sequential(
            nn.Conv2d(wide, self.outward, 1, bias=False), nn.BatchNorm2d(self.outward), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor, carry: Carry) -> Tensor:
        """(batch, inward, 1, steps) to (batch, outward, 1, steps)."""
        for layer in self.layers:
            x = layer(x, carry)
        return torch.as_tensor(self.transit(x))


class DMSC(nn.Module):
    """Normalised log-mel to one embedding a hop, of all that was heard up to it."""

    STATES = ("memory", "sums", "count")

    def __init__(self, spec: DMSCSpec, mels: int, embedding: int) -> None:
        super().__init__()
        self.spec = spec
        self.stem = CausalConv(mels, spec.stem, spec.stem_kernel, stride=spec.stride)
        self.enter = nn.Sequential(nn.BatchNorm2d(spec.stem), nn.ReLU(inplace=True))
        self.blocks = nn.ModuleList()
        widths = [spec.stem]
        for index in range(len(spec.layers)):
            block = DenseBlock(spec, widths[-1], index)
            self.blocks.append(block)
            widths.append(block.outward)
        self.widths = tuple(widths)
        """Channels of the stem and of each block."""
        taps = widths if spec.global_pooling else widths[-1:]
        self.taps = nn.ModuleList(RunningStatistics(width) for width in taps)
        self.embedding = nn.Conv1d(2 * sum(taps), embedding, 1, bias=False)
        self.norm = nn.BatchNorm1d(embedding, affine=False)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    @property
    def step_channels(self) -> int:
        """Of what `hops_and_steps` gives of each step."""
        return self.widths[-1]

    def start(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """The states before the first frame: zeros. Memory (batch, values), sums (batch, values), count."""
        like = self.embedding.weight
        memory, sums = sizes(self)
        return like.new_zeros(batch, memory), like.new_zeros(batch, sums), like.new_zeros(batch, 1)

    def embed(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, frames, mels) utterances of `lengths` frames, all if None, to (batch, embedding)."""
        statistics = self.statistics(frames, self._whole(frames, lengths))[:, :, -1:]
        return self._embedding(statistics)[:, :, 0]

    def embed_hops(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """The same after each hop of the utterance: (batch, hops, embedding)."""
        statistics = self.statistics(frames, self._whole(frames, lengths))
        return self._embedding(statistics).transpose(1, 2)

    def hops_and_steps(self, frames: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `embed_hops`, and what the last block makes of each step: (batch, steps, channels)."""
        carry = self._whole(frames, lengths)
        maps = self._maps(frames, carry)
        embeddings = self._embedding(self._pooled(maps, carry)).transpose(1, 2)
        return embeddings, maps[-1].squeeze(2).transpose(1, 2)

    def stream(self, frames: Tensor, *states: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """(batch, hops·hop, mels) and states to (batch, hops, embedding) and the next states.

        One call may have 60·cap hops, half an hour by default, before its arithmetic underflows.
        """
        hops = frames.shape[1] // self.spec.hop
        shares = frames.new_ones(frames.shape[0], hops)
        memory, sums, count = states
        carry = Carry((memory, sums, count), self._steps, shares, self.spec.cap, None)
        statistics = self.statistics(frames, carry)
        return self._embedding(statistics).transpose(1, 2), carry.next_states()

    def statistics(self, frames: Tensor, carry: Carry) -> Tensor:
        """(batch, frames, mels) to the pooled statistics so far, (batch, values, hops)."""
        return self._pooled(self._maps(frames, carry), carry)

    def _maps(self, frames: Tensor, carry: Carry) -> list[Tensor]:
        """What the stem and each block make of frames."""
        missing = -frames.shape[1] % self.spec.hop if carry.valid is not None else 0
        x = nn.functional.pad(frames, (0, 0, 0, missing)) if missing else frames
        maps = [self.enter(self.stem(x.transpose(1, 2).unsqueeze(2), carry))]
        for block in self.blocks:
            maps.append(block(maps[-1], carry))
        return maps

    def _pooled(self, maps: list[Tensor], carry: Carry) -> Tensor:
        taps = maps[-len(self.taps) :]
        return torch.cat([tap(x, carry) for tap, x in zip(self.taps, taps, strict=True)], dim=1)

    @property
    def _steps(self) -> int:
        return self.spec.hop // self.spec.stride

    def _embedding(self, statistics: Tensor) -> Tensor:
        return torch.as_tensor(self.norm(self.embedding(statistics)))

    def _whole(self, frames: Tensor, lengths: Tensor | None) -> Carry:
        """A carry from zero states for whole utterances; steps past an utterance's end do not count."""
        spec = self.spec
        start = self.start(len(frames))
        return whole(start, frames.shape[1], lengths, hop=spec.hop, stride=spec.stride, cap=spec.cap)
