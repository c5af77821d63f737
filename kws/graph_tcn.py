"""GraphTCN: the graph convolution of CENet-GCN on a causal trunk whose work overlapping windows share.

CENet-GCN asks all positions of a one-second map about each other and starts anew with each window. Here a
causal temporal trunk makes one node of `width` channels each 20 ms and never sees a frame twice; only the
graph, which is cheap, is built anew for each window, over its `window` nodes. So a decision each 100 ms
costs the trunk 100 ms of audio, not a second. The design is ours; the graph convolution is CENet-GCN's
(arXiv 1912.05124).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

STRIDE = 2
"""Frames a node: 20 ms at a 10 ms hop."""
HISTORY = 3
"""Frames that the first convolution needs from before its chunk."""


@dataclass(frozen=True, slots=True)
class GraphTCNSpec:
    """The shape of a GraphTCN."""

    mels: int = 40
    stem: int = 16
    """Channels of the first, two-dimensional convolution; the second has twice as many."""
    width: int = 64
    """Channels of a node."""
    kernel: int = 5
    dilations: tuple[int, ...] = (1, 2, 4)
    """One residual block of two convolutions each."""
    window: int = 50
    """Nodes that a decision sees: 1 s."""
    hop: int = 5
    """Nodes between two decisions: 100 ms."""
    graph: bool = True
    """Off: the plain mean over the window, to see what the graph is worth."""
    dropout: float = 0.1
    labels: int = 12

    @property
    def pasts(self) -> list[int]:
        """Nodes that each convolution of the trunk keeps from before a chunk."""
        return [(self.kernel - 1) * dilation for dilation in self.dilations for _ in range(2)]


class CausalConv(nn.Module):
    """Convolution over past and present nodes, batch normalisation.

    Nodes lie on the second of two axes, since onnxruntime's fast kernels are for two-dimensional maps.
    """

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.conv = nn.Conv2d(width, width, (1, kernel), dilation=(1, dilation), bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, width, 1, nodes) and (batch, width, 1, self.past) to such nodes and the next past."""
        joined = torch.cat((past, x), dim=3)
        return self.norm(self.conv(joined)), joined[..., -self.past :]


class GraphTCN(nn.Module):
    """Frames to keyword posteriors, one a hop, with two states: `history` of frames, `memory` of nodes."""

    def __init__(self, spec: GraphTCNSpec = GraphTCNSpec()) -> None:
        super().__init__()
        self.spec = spec
        bands = (spec.mels + 3) // 4  # halved twice, rounding up
        self.stem = nn.Sequential(
            nn.Conv2d(1, spec.stem, 5, stride=2, padding=(2, 0), bias=False),
            nn.BatchNorm2d(spec.stem),
            nn.ReLU(),
            nn.Conv2d(spec.stem, 2 * spec.stem, (3, 1), stride=(2, 1), padding=(1, 0), bias=False),
            nn.BatchNorm2d(2 * spec.stem),
            nn.ReLU(),
        )
        self.enter = nn.Sequential(
            nn.Conv2d(2 * spec.stem * bands, spec.width, 1, bias=False), nn.BatchNorm2d(spec.width), nn.ReLU()
        )
        self.convs = nn.ModuleList(
            CausalConv(spec.width, spec.kernel, dilation) for dilation in spec.dilations for _ in range(2)
        )
        embedding = spec.width // 4
        # θ, φ and the product with W of CENet-GCN, made once a node and kept while windows pass over it.
        self.relate = nn.Conv2d(spec.width, 2 * embedding + spec.width, 1)
        self.gamma = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Linear(spec.width, spec.labels)

    def start(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """The states before the first frame: zeros, shaped as `stream` takes them."""
        like, spec = self.gamma, self.spec
        return (
            like.new_zeros(batch, HISTORY, spec.mels),
            like.new_zeros(batch, spec.width, 1, sum(spec.pasts)),
            like.new_zeros(batch, spec.window - spec.hop, self.relate.out_channels + spec.width),
        )

    def stream(self, frames: Tensor, history: Tensor, memory: Tensor, window: Tensor) -> tuple[Tensor, ...]:
        """Posteriors and the next states.

        Args:
            frames: (batch, frames, mels) normalised log-mel, a multiple of 2·hop frames.
            history: (batch, 3, mels), the last frames.
            memory: (batch, width, 1, sum of spec.pasts), what the convolutions keep.
            window: (batch, spec.window − spec.hop, channels), nodes that the next window still sees.

        Returns:
            (batch, hops, labels) posteriors, then the three states.
        """
        nodes, history, memory = self.nodes(frames, history, memory)
        joined = torch.cat((window, nodes), dim=1)
        ends = torch.arange(0, nodes.shape[1], self.spec.hop, device=frames.device)
        index = ends[:, None] + torch.arange(self.spec.window, device=frames.device)
        # One plain gather of rows: what indexing with two axes exports to costs three times as much.
        rows = joined.index_select(1, index.flatten())
        windows = rows.reshape(frames.shape[0], -1, self.spec.window, joined.shape[2])
        keep = self.spec.window - self.spec.hop
        return torch.softmax(self.decide(windows), dim=-1), history, memory, joined[:, -keep:]

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, mels) from the start of a stream to (batch, labels): the last window alone."""
        nodes, _, _ = self.nodes(frames, *self.start(frames.shape[0])[:2])
        missing = self.spec.window - nodes.shape[1]
        if missing > 0:
            nodes = nn.functional.pad(nodes, (0, 0, missing, 0))
        return self.decide(nodes[:, None, -self.spec.window :])[:, 0]

    def nodes(self, frames: Tensor, history: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The trunk: (batch, frames, mels) to (batch, frames // 2, channels) and its two states.

        The channels are the node itself, then θ, φ and the node's product with W.
        """
        joined = torch.cat((history, frames), dim=1)
        maps = self.stem(joined.transpose(1, 2).unsqueeze(1))  # (batch, 2·stem, mels/4, nodes)
        x = self.enter(maps.flatten(1, 2).unsqueeze(2))  # (batch, width, 1, nodes)
        pasts = torch.split(memory, self.spec.pasts, dim=3)
        kept = []
        for first, second, past, past_of_second in zip(
            self.convs[::2], self.convs[1::2], pasts[::2], pasts[1::2], strict=True
        ):
            y, next_past = first(x, past)
            kept.append(next_past)
            y, next_past = second(torch.relu(y), past_of_second)
            kept.append(next_past)
            x = torch.relu(x + y)
        # (batch, nodes, channels): the graph's products then need no transposition.
        nodes = torch.cat((x, self.relate(x)), dim=1).flatten(2).transpose(1, 2)
        return nodes, joined[:, -HISTORY:], torch.cat(kept, dim=3)

    def decide(self, windows: Tensor) -> Tensor:
        """(batch, hops, window, channels) nodes to (batch, hops, labels) logits: graph, mean, classifier."""
        width = self.spec.width
        embedding = width // 4
        x, theta, phi, weighted = torch.split(windows, [width, embedding, embedding, width], dim=3)
        pooled = x.mean(2)
        if self.spec.graph:
            edges = torch.softmax(theta @ phi.transpose(2, 3), dim=-1)  # (batch, hops, window, window)
            # The mean of X + γ·ReLU(A X W), its two terms averaged apart.
            pooled = pooled + self.gamma * torch.relu(edges @ weighted).mean(2)
        return torch.as_tensor(self.classifier(self.dropout(pooled)))
