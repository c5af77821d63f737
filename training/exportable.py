"""What a task gives to `export`: a module, its spec, and real data to judge both on."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import nn

from stapes.model import Model
from stapes.samples import Frames, Samples
from stapes.spec import ModelSpec

Runner = Callable[[Frames], Frames]
"""Any model as a function: (frames, mels) of one clip to (steps, labels) posteriors, from fresh states.
The frames are a whole number of hops for a streamed model, one window for a "sliding" one."""


@dataclass(frozen=True, slots=True)
class Exportable:
    """A trained model, ready to become a file."""

    module: nn.Module
    """forward(frames, *states, *numbers) -> (scores, *next_states): (batch, frames, mels), (batch, *shape) of
    each state and (batch, 1) of each number that the task gives the graph (`stapes.tasks.inputs_of`), to
    (batch, steps, labels) posteriors, or features, and the next states. Feature normalisation is inside."""
    spec: ModelSpec
    calibration: Callable[[], Iterable[Frames]]
    """Log-mel features of real recordings, (frames, mels) each: ranges for int8 come from these."""
    accuracy: Callable[[Runner], float] | None
    """Share, 0 to 1, of the dev part's clips that a runner gets right; None: `judge` tells."""
    clips: Callable[[], Iterable[Samples]]
    """Real audio at the spec's rate, a few clips: parity is checked on these."""
    one_hop: bool = False
    """The module takes exactly one hop a call, not any number of them."""
    second: nn.Module | None = None
    """Of a model that writes text, its second graph as `stapes.reader` has it: forward(tokens, past, memory)
    -> (log-posteriors, next past), and as `shape` its memory's blocks, heads and width of a head. `module`
    then gives, last, the memory: (batch, steps, blocks * 2 * heads * width)."""
    int8: Literal["static", "dynamic"] = "static"
    """How the first graph is quantised: ranges of activations measured before, or anew in each call. The
    second one always has the latter."""
    judge: Callable[[Model], float] | None = None
    """The same of a loaded file, where scores do not tell all: 1 - WER of the texts, say."""
    measure: str = "accuracy"
    """What `accuracy` or `judge` gives, for messages and figures: 0 to 1, 1 is best."""
    variants: tuple[Mapping[str, Any], ...] = ()
    """Params that the model can be forked with, at each of which parity on real audio is checked too."""


class ExportableOf(Protocol):
    """The function `exportable` that the module `exporting` of each task has."""

    def __call__(self, checkpoint: dict[str, Any], data: Path | None) -> Exportable:
        """Builds the module from a checkpoint; `data` is the folder of recordings, None: the usual one."""
