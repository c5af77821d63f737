"""What a distillation recipe may say; the TOML files are in recipes/."""

from dataclasses import dataclass, field
from typing import Literal

from asr.distill.heads import HeadSpec
from stapes.spec import FbankSpec
from training.encoder.spec import EncoderSpec
from training.loopspec import LoopSpec


@dataclass(frozen=True, slots=True)
class SpeechSpec:
    """Unlabelled speech; folders with a manifest each, relative to the data folder."""

    folders: tuple[str, ...] = ("an4", "librispeech", "languages", "coffee_orders")
    """Their "train" recordings are learned from, their "dev" ones judge."""
    noise: tuple[str, ...] = ("noise",)
    noise_chance: float = 0.3
    """The student hears noise that its teacher did not: it learns to hear through it (our choice)."""
    snr_db: tuple[float, float] = (5.0, 25.0)
    crop_s: float = 10.0
    """Longer recordings are cut, at a random place."""
    batch_s: float = 80.0
    """Seconds of one batch, padding included."""
    dev_recordings: int = 200
    """Most recordings that judge."""

    def __post_init__(self) -> None:
        if self.crop_s < 0.5 or self.batch_s < self.crop_s:
            raise ValueError(f"crops of {self.crop_s} s in batches of {self.batch_s} s")


@dataclass(frozen=True, slots=True)
class TeachingSpec:
    """Losses and their schedule."""

    distance: float = 1.0
    """Weight of the regression loss's L1 term."""
    cosine: float = 1.0
    """Weight of its −log σ(cos) term."""
    units: float = 0.0
    """Weight of the discriminative loss; the head is in the "heads" table. The paper tried 0.2 to 0.8."""
    clusters: int = 500
    """Units made of a teacher that has none of its own."""
    tau: float = 0.1
    """Temperature of these."""
    from_teacher: bool = False
    """Start with those of the teacher's weights that fit: its convolutions and, in a student as wide as a
    HuBERT, its first layers."""
    front_steps: int = 0
    """Stage 1: steps in which the front end alone learns; the paper's number is not known."""
    rate_ms: int = 20
    """Period of the teacher's stored frames; at 40 the student's frames are averaged in pairs to match, or,
    of a student that compresses, each of the teacher's is taught twice."""
    guidance: float = 0.0
    """Of a student that compresses: weight of its segmentation loss, by runs of the teacher's units."""
    cardinality: float = 1.0
    """Of a student that compresses: weight of |mean α − 2/9|."""


@dataclass(frozen=True, slots=True)
class DistillRecipe:
    """A whole recipe."""

    name: str = "encoder"
    teacher: Literal["whisper", "hubert", "bundle", "own"] = "whisper"
    """See `asr.distill.teachers.load_teacher`; where its weights are is told at the command line."""
    speech: SpeechSpec = field(default_factory=SpeechSpec)
    features: FbankSpec = field(default_factory=lambda: FbankSpec(mels=80))
    """Of a student on fbank."""
    student: EncoderSpec = field(default_factory=EncoderSpec)
    heads: HeadSpec = field(default_factory=HeadSpec)
    teaching: TeachingSpec = field(default_factory=TeachingSpec)
    init: str = ""
    """Path of a best.pt whose weights, heads too, are taken over where name and shape are the same."""
    epoch_steps: int = 200
    loop: LoopSpec = field(default_factory=LoopSpec)

    def __post_init__(self) -> None:
        teaching = self.teaching
        if self.student.front == "fbank" and self.features.mels != self.student.mels:
            raise ValueError(f"features of {self.features.mels} mels, the student wants {self.student.mels}")
        if bool(teaching.units or teaching.guidance) and self.heads.units == "none":
            raise ValueError("teaching.units and teaching.guidance want heads.units")
        if teaching.rate_ms % 20 or not teaching.rate_ms:
            raise ValueError(f"teaching.rate_ms is {teaching.rate_ms}, wants a multiple of 20")
        if self.loop.devices > 1 and teaching.front_steps:
            raise ValueError("stage 1 leaves most weights without gradients, which several devices cannot")
        if max(self.heads.students, default=0) > self.student.layers:
            raise ValueError(f"heads.students asks for more than {self.student.layers} layers")
