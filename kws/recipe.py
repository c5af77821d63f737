"""What a keyword recipe may say; the TOML files are in recipes/."""

from dataclasses import dataclass, field

from kws.features import DataSpec
from kws.mixing import MixSpec
from kws.network import NetworkSpec
from stapes.spec import FbankSpec
from training.loopspec import LoopSpec


@dataclass(frozen=True, slots=True)
class Distillation:
    """Teachers whose posteriors the network learns beside the labels (Hinton et al., arXiv 1503.02531)."""

    checkpoints: tuple[str, ...] = ()
    """Paths of best.pt files; their posteriors are averaged. None: labels alone."""
    weight: float = 0.7
    """Of the teachers' share in the loss."""


@dataclass(frozen=True, slots=True)
class KwsRecipe:
    """A whole recipe."""

    name: str = "kws"
    """Name of the exported model."""
    data: DataSpec = field(default_factory=DataSpec)
    features: FbankSpec = field(default_factory=FbankSpec)
    network: NetworkSpec = field(default_factory=NetworkSpec)
    mix: MixSpec = field(default_factory=MixSpec)
    distillation: Distillation = field(default_factory=Distillation)
    epoch_clips: int = 16_000
    """Examples of one epoch, all processes together."""
    label_smoothing: float = 0.05
    loop: LoopSpec = field(default_factory=LoopSpec)
