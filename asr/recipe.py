"""What a recogniser's recipe may say; the TOML files are in recipes/."""

from dataclasses import dataclass, field
from typing import Literal

from asr.errors import Unit
from asr.stbd import StbdSpec
from stapes.spec import FbankSpec
from training.augment import MaskSpec
from training.loopspec import LoopSpec
from training.utterances import NoiseSpec

Directions = Literal["both", "l2r", "r2l"]


@dataclass(frozen=True, slots=True)
class Part:
    """What is taken of a folder with a manifest."""

    splits: tuple[str, ...] = ("train",)
    """Values of the manifest's "split"; "held": the speakers of "train" that `DataSpec.held` takes away."""
    repeats: float = 1.0
    """Times that a recording is heard in an epoch; 0.5: in every other one, by chance."""
    most: int = 0
    """Recordings at most, drawn evenly; 0: all."""
    teacher: str = ""
    """Folder of a teacher's features (asr.batches.Teacher)."""


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Which recordings teach, and which judge."""

    train: dict[str, Part] = field(default_factory=dict)
    """By the name of a folder of a manifest with "text"."""
    dev: dict[str, Part] = field(default_factory=dict)
    noise: tuple[str, ...] = ()
    """Folders whose sounds are mixed in."""
    held: dict[str, float] = field(default_factory=dict)
    """Share of a folder's train speakers that are kept for the split "held"."""
    vocabulary: str = "vocabulary.json"
    """What `python -m asr vocabulary` wrote: a path, or one from a data folder."""
    normaliser: Literal["english", "mandarin"] = "english"
    unit: Unit = "word"
    """Of error rates."""
    variants: int = 1
    """Stored versions of each train recording; all but the first have another speed, room or codec."""
    rooms: int = 0
    """Simulated rooms that variants draw from."""
    shortest_s: float = 0.3
    longest_s: float = 20.0
    """Train recordings shorter or longer than these are left out."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class AsrRecipe:
    """A whole recipe."""

    name: str = "asr"
    """Name of the exported model."""
    language: str = "en"
    data: DataSpec = field(default_factory=DataSpec)
    features: FbankSpec = field(default_factory=lambda: FbankSpec(mels=80))
    network: StbdSpec = field(default_factory=StbdSpec)
    masks: MaskSpec = field(default_factory=MaskSpec)
    """In frames; `time_masks` is their number in ten seconds, and `fill` is the training set's mean."""
    noise: NoiseSpec = field(default_factory=NoiseSpec)
    directions: Directions = "both"
    """That the decoder learns."""
    label_smoothing: float = 0.1
    ctc_weight: float = 0.3
    """Share of CTC in the loss, the decoder has the rest; looked at if the network has both."""
    middle_ctc_weight: float = 0.3
    """Added to the loss."""
    teacher_weight: float = 1.0
    """Added to the loss."""
    init: str = ""
    """Path of a checkpoint whose weights are taken over where name and shape are the same."""
    init_parts: tuple[str, ...] = ()
    """Weights that `init` gives, by the beginnings of their names, such as "encoder."; empty: all."""
    frozen: tuple[str, ...] = ()
    """Weights that stay as they are, by the beginnings of their names."""
    epoch_hours: float = 0.0
    """Audio of one epoch, all processes together; 0: each recording once, or as often as it repeats."""
    evaluate_attention: bool = False
    """The decoder writes the dev part too, greedily: slow. It always does if the network has no CTC."""
    symbols: tuple[str, ...] = ()
    """The vocabulary. Training fills this in, so that a checkpoint needs no file beside it."""
    loop: LoopSpec = field(default_factory=lambda: LoopSpec(batch=60))
    """`batch` is in seconds of audio, padding included."""
