"""What a recipe for languages, dialects or accents may say; the TOML files are in recipes/."""

from dataclasses import dataclass, field

from dialect_id.channel import ChannelSpec
from dialect_id.head import HeadSpec
from dialect_id.network import NetworkSpec
from stapes.spec import FbankSpec
from training.augment import MaskSpec
from training.loopspec import LoopSpec
from training.recipe import RecipeError
from training.utterances import NoiseSpec


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Folders below the data folder, each with a manifest.jsonl."""

    main: str = "languages"
    """Gives the dev and test parts too."""
    truth: str = "language"
    """The key of a manifest line that holds the right answer."""
    extra: tuple[str, ...] = ()
    """More labelled folders: their split "train" alone, less whoever the parts of `main` and `guard` hold."""
    unlabelled: tuple[str, ...] = ()
    """Folders whose split "train" is heard for the teacher's answers only."""
    noise: tuple[str, ...] = ("noise",)
    """Sounds to mix in: of each folder the split "noise" or, if it has none, "train"."""
    guard: tuple[str, ...] = ()
    """Further folders whose dev and test speakers and recordings are kept out of training."""
    given: dict[str, str] = field(default_factory=dict)
    """Answers for lines without `truth`, by folder: {"librispeech" = "en"}."""
    rename: dict[str, str] = field(default_factory=dict)
    """Answers that mean another: {"zh-HK" = "yue"}."""
    labels: tuple[str, ...] = ()
    """What the network knows; none: all answers of main's train part, and of the extra folders' with..."""
    extra_labels: bool = False
    """...this."""
    least_recordings: int = 1
    """Answers with fewer recordings to train on are no labels (not for `labels`)."""
    held_out: tuple[str, ...] = ()
    """Answers that are no labels: their recordings stand for unknown languages in evaluation."""
    dev_share: float = 0.1
    """If main has no split "dev": this share of the speakers or sources of its split "train" becomes one."""
    variants: int = 4
    """Stored versions of each recording: itself, and others with changed speed, room and codec."""
    rooms: int = 200
    """Simulated rooms that those changes draw from."""
    seed: int = 0
    """Of those changes."""

    def __post_init__(self) -> None:
        if not 0 < self.dev_share < 1:
            raise RecipeError(f"data.dev_share must lie between 0 and 1, got {self.dev_share}")
        if self.variants < 1 or self.rooms < 0:
            raise RecipeError(f"data.variants must be at least 1, rooms 0, got {self.variants}, {self.rooms}")
        both = set(self.labels) & set(self.held_out)
        if both:
            raise RecipeError(f"data.labels and data.held_out both name {', '.join(sorted(both))}")


@dataclass(frozen=True, slots=True)
class MixSpec:
    """How examples are made of recordings."""

    crop_frames: tuple[int, int] = (200, 500)
    """Shortest and longest piece of a recording; all of a batch are of one length, drawn anew for each."""
    balance: float = 0.5
    """Recordings are drawn with weight (their label's recordings)^-balance: 0 as they come, 0.5 by the root
    of the label's count, 1 all labels alike."""
    weights: dict[str, float] = field(default_factory=dict)
    """Of an extra folder's recordings against those of main, which weigh 1."""
    unlabelled_share: float = 0.0
    """Of examples from the unlabelled folders."""
    noise_share: float = 0.0
    """Of examples that are noise alone, of which every label is to be equally likely: outlier exposure
    (Hendrycks et al., arXiv 1812.04606)."""
    tail_frames: int = 50
    """Up to so many frames at the end of an example are silence, as where a device fills up the last hop."""
    noise: NoiseSpec = field(default_factory=NoiseSpec)
    channel: ChannelSpec = field(default_factory=ChannelSpec)
    masks: MaskSpec = field(default_factory=MaskSpec)

    def __post_init__(self) -> None:
        low, high = self.crop_frames
        if not 1 <= low <= high:
            raise RecipeError(f"mix.crop_frames must rise from 1, got {low}, {high}")
        if not 0 <= self.tail_frames < low:
            raise RecipeError(f"mix.tail_frames must be 0 to {low - 1}, got {self.tail_frames}")
        if not 0 <= self.balance <= 1:
            raise RecipeError(f"mix.balance must be 0 to 1, got {self.balance}")
        if min(self.unlabelled_share, self.noise_share) < 0 or self.unlabelled_share + self.noise_share >= 1:
            raise RecipeError(
                "mix.unlabelled_share and noise_share must not be negative and leave room for speech with "
                f"labels, got {self.unlabelled_share}, {self.noise_share}"
            )


@dataclass(frozen=True, slots=True)
class TeachingSpec:
    """Another model's answers to learn beside the labels, from files (see dialect_id.teaching)."""

    folder: str = ""
    """Holds a folder for each data folder that is taught, by its name; "": no teacher."""
    posteriors: float = 0.0
    """Weight of the divergence from the teacher's posteriors over the languages that both know."""
    temperature: float = 1.0
    """Of both sides of that divergence (Hinton et al., arXiv 1503.02531)."""
    only_right: bool = True
    """Leave out recordings with labels for which the teacher holds another language likelier."""
    embedding: float = 0.0
    """Weight of 1 - cosine between the teacher's mean frame of a crop and a linear map of the embedding."""
    frames: float = 0.0
    """Weight of 1 - cosine between each frame of the teacher and a linear map of the last block's step of
    `delay_ms` later. For networks that stream."""
    frame_ms: int = 40
    """Period of the teacher's frames, as they are compared."""
    delay_ms: int = 160
    """Causal steps know nothing of what comes; so much of it they may hear first."""

    def __post_init__(self) -> None:
        if min(self.posteriors, self.embedding, self.frames) < 0 or not self.temperature > 0:
            raise RecipeError(f"teaching: weights must not be negative, the temperature positive: {self}")
        if self.frame_ms < 20 or self.delay_ms < 0 or self.delay_ms % self.frame_ms:
            raise RecipeError(
                f"teaching.delay_ms must be a multiple of frame_ms, got {self.delay_ms}, {self.frame_ms}"
            )
        if (self.posteriors or self.embedding or self.frames) and not self.folder:
            raise RecipeError("teaching.folder is missing: where do the teacher's answers lie?")


@dataclass(frozen=True, slots=True)
class DialectRecipe:
    """A whole recipe."""

    name: str = "dialect_id"
    """Name of the exported model."""
    data: DataSpec = field(default_factory=DataSpec)
    features: FbankSpec = field(default_factory=lambda: FbankSpec(mels=80, high_hz=7600.0))
    network: NetworkSpec = field(default_factory=NetworkSpec)
    head: HeadSpec = field(default_factory=HeadSpec)
    mix: MixSpec = field(default_factory=MixSpec)
    teaching: TeachingSpec = field(default_factory=TeachingSpec)
    init: str = ""
    """Path of a checkpoint whose weights are taken over where name and shape are the same."""
    init_encoder: str = ""
    """Path of a best.pt of `asr.distill` whose student a "pooled-encoder" begins with."""
    epoch_clips: int = 8_000
    """Examples of one epoch, all processes together."""
    label_smoothing: float = 0.1
    hops_weight: float = 0.0
    """Of the mean loss of the guesses after each hop, beside that of the guess after all of an example: what
    is to decide early must be taught early. For networks that stream."""
    loop: LoopSpec = field(default_factory=LoopSpec)

    def __post_init__(self) -> None:
        if self.epoch_clips < 1 or self.hops_weight < 0:
            raise RecipeError(
                "epoch_clips must be at least 1 and hops_weight not negative, got "
                f"{self.epoch_clips}, {self.hops_weight}"
            )
        if self.init_encoder and self.network.kind != "pooled-encoder":
            raise RecipeError(f"init_encoder is for a pooled-encoder, not {self.network.kind!r}")
        if self.init and self.init_encoder:
            raise RecipeError("init and init_encoder: a network begins with one of the two")
        if not 0 <= self.label_smoothing < 1:
            raise RecipeError(f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")
