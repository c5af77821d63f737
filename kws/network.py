"""One keyword classifier out of a recipe's "network" table, with its feature normalisation inside."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from kws.baselines import DSCNN, BCResNet
from kws.cenet import CENet, Depth
from kws.graph_tcn import GraphTCN, GraphTCNSpec
from training.normalised import Normalised


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Which network, and its own settings; those of the others are not looked at."""

    kind: Literal["graph_tcn", "cenet", "bc_resnet", "ds_cnn"] = "graph_tcn"
    graph_tcn: GraphTCNSpec = field(default_factory=GraphTCNSpec)
    depth: Depth = 40
    """cenet: 6, 24 or 40."""
    graph_stages: tuple[int, ...] = (1, 2, 3)
    """cenet: stages that end in a graph convolution; none for plain CENet."""
    tau: float = 1.0
    """bc_resnet: width."""


class KeywordNet(Normalised):
    """Normalised features into a network: (batch, frames, mels) log-mel to (batch, labels) logits."""

    def __init__(self, spec: NetworkSpec, mels: int, labels: int) -> None:
        super().__init__(mels)
        self.network = _network(spec, labels)

    def forward(self, frames: Tensor) -> Tensor:
        """Logits of one window: of its frames or, for a network that streams, of the stream up to its end."""
        return torch.as_tensor(self.network(self.normalised(frames)))


def _network(spec: NetworkSpec, labels: int) -> nn.Module:
    if spec.kind == "cenet":
        return CENet(spec.depth, spec.graph_stages, labels)
    if spec.kind == "bc_resnet":
        return BCResNet(spec.tau, labels)
    if spec.kind == "ds_cnn":
        return DSCNN(labels=labels)
    return GraphTCN(spec.graph_tcn)
