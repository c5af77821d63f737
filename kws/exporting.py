"""A trained keyword network as `export` wants it: probabilities, explicit states, clips to judge it on."""

from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kws.clips import LABELS, SILENCE, UNKNOWN, read_folder
from kws.features import WINDOW_FRAMES, Judged, judged
from kws.graph_tcn import STRIDE, GraphTCN
from kws.network import KeywordNet
from kws.task import load_network
from stapes.samples import Frames, Samples
from stapes.spec import ModelSpec, StateSpec, WindowSpec
from training.audio import read_audio
from training.exportable import Exportable, Runner

DEFAULT_THRESHOLD = 0.8
"""Of every keyword until calibration has measured better ones."""
SMOOTH_HOPS = 8
"""Recall of dev keywords at 0.25 false accepts an hour: 48 % with 4 hops, 62 with 5, 77 with 6, 82 with 7, 85
with 8. More hops announce later, and blur keywords that follow one another."""
REFRACTORY_MS = 700
CALIBRATION_CLIPS = 400
STATES = ("history", "memory", "window")


class Streaming(nn.Module):
    """A GraphTCN with its normalisation: (frames, states) to (posteriors, next states)."""

    def __init__(self, net: KeywordNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor, history: Tensor, memory: Tensor, window: Tensor) -> tuple[Tensor, ...]:
        """See GraphTCN.stream."""
        network = self.net.network
        if not isinstance(network, GraphTCN):
            raise TypeError(f"only a GraphTCN streams, not {type(network).__name__}")
        return network.stream(self.net.normalised(frames), history, memory, window)


class Sliding(nn.Module):
    """A network that sees one whole window: (batch, frames, mels) to (batch, 1, labels) posteriors."""

    def __init__(self, net: KeywordNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        """One decision a window."""
        return (torch.softmax(self.net(frames), dim=-1)[:, None],)


def exportable(checkpoint: dict[str, Any], data: Path | None) -> Exportable:
    """Module, spec and judges of a keyword checkpoint.

    Args:
        checkpoint: what training wrote to best.pt.
        data: folder of data sets, ../shared/data by default.

    Raises:
        RecipeError: the recipe in the checkpoint is not understood.
        DataError: no Speech Commands below `data`.
    """
    net, recipe = load_network(checkpoint)
    root = (data or Path("../shared/data")) / recipe.data.main
    network = net.network
    if isinstance(network, GraphTCN):
        shape = network.spec
        module: nn.Module = Streaming(net)
        window = WindowSpec(frames=shape.window * STRIDE, hop=shape.hop * STRIDE, mode="stateful")
        states = tuple(
            StateSpec(name, tuple(state.shape[1:]))
            for name, state in zip(STATES, network.start(1), strict=True)
        )
    else:
        module, states = Sliding(net), ()
        window = WindowSpec(frames=WINDOW_FRAMES, hop=10, mode="sliding")
    keywords = [label for label in LABELS if label not in (SILENCE, UNKNOWN)]
    spec = ModelSpec(
        name=recipe.name,
        task="kws",
        features=recipe.features,
        window=window,
        labels=LABELS,
        states=states,
        params={
            "background": [SILENCE, UNKNOWN],
            "thresholds": dict.fromkeys(keywords, DEFAULT_THRESHOLD),
            "smooth_hops": SMOOTH_HOPS,
            "refractory_ms": REFRACTORY_MS,
        },
    )

    @cache
    def dev() -> Judged:
        return judged(root, "dev", recipe.features)

    def calibration() -> Iterator[Frames]:
        part = dev()
        yield from part.frames[:: max(1, len(part.frames) // CALIBRATION_CLIPS)]

    def accuracy(run: Runner) -> float:
        part = dev()
        right = [
            int(run(frames)[-1].argmax()) == label
            for frames, label in zip(part.frames, part.labels, strict=True)
        ]
        return float(np.mean(right))

    def clips() -> Iterator[Samples]:
        found = (clip for clip in read_folder(root) if clip.split == "dev")
        for clip in islice(found, 0, None, 150):
            yield read_audio(clip.audio, recipe.features.sample_rate)

    return Exportable(module.eval(), spec, calibration, accuracy, clips)
