"""A trained language network as `export` wants it: posteriors after each hop, states, clips to judge.

Only networks that stream are exported; the others are there to be compared with.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from dialect_id.data import gather
from dialect_id.network import DialectNet
from dialect_id.student import load_network
from stapes.fbank import fbank
from stapes.samples import Frames, Samples
from stapes.spec import FbankSpec, ModelSpec, StateSpec, WindowSpec
from stapes.tasks.dialect_id import DialectParams
from training.audio import read_audio
from training.exportable import Exportable, Runner

SEGMENT_FRAMES = 3000
"""Most frames of a stretch of speech: 30 s. The next one goes on from its states."""
CALIBRATION_CLIPS = 200
PARITY_CLIPS = 6
JUDGED_S = 3.0
"""int8 is judged by all guesses from here on. One a clip is too few: of 100 clips each is a whole point, and
the drop that is allowed 0.3."""


class Streaming(nn.Module):
    """(frames, states) to (posteriors after each hop, next states)."""

    def __init__(self, net: DialectNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """See DialectNet.stream; the states are those of the network's STATES."""
        return self.net.stream(frames, *states)


def exportable(checkpoint: dict[str, Any], data: Path | None) -> Exportable:
    """Module, spec and judges of a language checkpoint.

    The params are those of a model that has not been calibrated: `python -m dialect_id calibrate` writes
    measured ones into the file. Posteriors are at temperature 1, the decoder applies another.

    Args:
        checkpoint: what training wrote to best.pt.
        data: folder of data sets, ../shared/data by default.

    Raises:
        RecipeError: the recipe in the checkpoint is not understood.
        TypeError: its network does not stream.
        ManifestError: a data folder is missing.
    """
    net, recipe, labels = load_network(checkpoint)
    if not net.streams:
        raise TypeError(f"only a network that streams is exported, not {recipe.network.kind!r}")
    network = net.streaming
    hop, root = network.spec.hop, data or Path("../shared/data")
    spec = ModelSpec(
        name=recipe.name,
        task="dialect_id",
        features=recipe.features,
        window=WindowSpec(frames=SEGMENT_FRAMES, hop=hop, mode="segment"),
        labels=labels,
        states=tuple(
            StateSpec(name, tuple(state.shape[1:]))
            for name, state in zip(network.STATES, net.start(1), strict=True)
        ),
        params=asdict(DialectParams()),
    )
    judged = gather(root, recipe.data, labels=labels).judged
    wanted = judged.classes.tolist()

    @cache
    def dev() -> list[Frames]:
        rate = recipe.features.sample_rate
        heard = (fbank(read_audio(each.audio, rate), recipe.features) for each in judged.recordings)
        return [whole_hops(frames, hop, recipe.features) for frames in heard]

    def calibration() -> Iterator[Frames]:
        yield from dev()[:: max(1, len(wanted) // CALIBRATION_CLIPS)]

    def accuracy(run: Runner) -> float:
        first = int(JUDGED_S * 1000 / recipe.features.hop_ms / hop) - 1
        guesses = (run(each).argmax(1) for each in dev())
        right = [
            some[min(first, len(some) - 1) :] == label for some, label in zip(guesses, wanted, strict=True)
        ]
        return float(np.concatenate(right).mean())

    def clips() -> Iterator[Samples]:
        for each in judged.recordings[:: max(1, len(wanted) // PARITY_CLIPS)]:
            yield read_audio(each.audio, recipe.features.sample_rate)

    return Exportable(
        Streaming(net).eval(),
        spec,
        calibration,
        accuracy,
        clips,
        one_hop=True,
        measure=f"accuracy of the guesses from {JUDGED_S:g} s on",
        # Of encoders nearer to float than with ranges measured before: docs/distillation.md.
        int8="dynamic" if recipe.network.kind == "pooled-encoder" else "static",
    )


def whole_hops(frames: Frames, hop: int, features: FbankSpec) -> Frames:
    """(frames, mels), the last hop filled up with silence, as `stapes.scoring.score` does."""
    silence = fbank(np.zeros(features.frame_samples, np.float32), features)
    return np.concatenate((frames, np.repeat(silence, -len(frames) % hop, axis=0)))
