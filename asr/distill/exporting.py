"""A student as `export` wants it: features at 20 ms, states where it has chunks, λ where it compresses."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from asr.distill.fidelity import RATE, to_itself, to_teacher
from asr.distill.recipe import DistillRecipe
from asr.distill.splits import split_recordings
from asr.distill.task import load_student
from stapes.fbank import fbank
from stapes.samples import Frames, Samples
from stapes.spec import ModelSpec, StateSpec, WindowSpec
from training.audio import read_audio
from training.encoder.cif import LONGEST_MS
from training.encoder.network import Encoder
from training.exportable import Exportable
from training.utterances import ManifestError, Recording

STEP_FRAMES = 2
"""Log-mel frames of a feature: 20 ms."""
LONGEST_S = 30
"""Most speech that a student without chunks is given at once."""
STATES = ("heard", "placed", "looked", "seen")
CALIBRATION_CLIPS = 80
JUDGED = 60
PARITY_CLIPS = 4


class Streaming(nn.Module):
    """(frames of whole chunks, states) to (features, next states); a state without elements is none."""

    def __init__(self, student: Encoder) -> None:
        super().__init__()
        self.student = student
        self.states = {n: tuple(s.shape[1:]) for n, s in zip(STATES, student.start(1), strict=True)}

    def forward(self, frames: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """See Encoder.stream."""
        given = iter(states)
        held = [
            next(given) if all(shape) else frames.new_zeros(frames.shape[0], *shape)
            for shape in self.states.values()
        ]
        features, *after = self.student.stream(frames, *held)
        return (features, *(s for s, shape in zip(after, self.states.values(), strict=True) if all(shape)))


class Whole(nn.Module):
    """(frames of an utterance) to (features), and so with λ, (batch, 1), of a student that compresses."""

    def __init__(self, student: Encoder) -> None:
        super().__init__()
        self.student = student

    def forward(self, frames: Tensor, *rate: Tensor) -> tuple[Tensor]:
        """See Encoder.forward."""
        return (self.student(frames, None, *rate).states[-1],)


def exportable(checkpoint: dict[str, Any], data: Path | None, teacher: str = "") -> Exportable:
    """Module, spec and judge of a student's checkpoint; its prediction heads are dropped.

    Args:
        checkpoint: what training wrote to best.pt.
        data: folder of data sets, ../shared/data by default; those of the recipe that are there are heard.
        teacher: where its weights are: int8 is then judged by what it taught, else by the float student. Of
            either mean cosine it may cost as many points as of accuracy elsewhere, 0.3 (export.quantise).

    Raises:
        RecipeError: the recipe in the checkpoint is not understood.
        ValueError: a student on the waveform; or a teacher, and the student's last layer was not taught.
        ManifestError: none of the recipe's data folders is there, or none has dev recordings.
    """
    student, recipe = load_student(checkpoint)
    if recipe.student.front != "fbank":
        raise ValueError("only a student on Fbank is exported: the runtime gives log-mel frames")
    module: Streaming | Whole = Streaming(student) if recipe.student.chunk else Whole(student)
    root = data or Path("../shared/data")

    @cache
    def dev() -> list[Recording]:
        return dev_recordings(root, recipe.speech.folders)

    def heard(most: int) -> Iterator[Samples]:
        for each in dev()[:: max(1, len(dev()) // most)][:most]:
            yield read_audio(each.audio, RATE)

    def calibration() -> Iterator[Frames]:
        for samples in heard(CALIBRATION_CLIPS):
            yield fbank(samples, recipe.features)

    def judged() -> Iterator[Samples]:
        return heard(JUDGED)

    measure = f"cosine to the {'teacher' if teacher else 'float student'}"
    judge = to_teacher(checkpoint, judged, teacher) if teacher else to_itself(student, judged)
    return Exportable(
        module.eval(),
        spec_of(module, recipe),
        calibration,
        None,
        lambda: heard(PARITY_CLIPS),
        one_hop=isinstance(module, Streaming),
        int8="dynamic",  # nearer to float than with ranges measured before, and faster: docs/distillation.md
        judge=judge,
        measure=measure,
        variants=({"period_ms": 45.0}, {"period_ms": LONGEST_MS}) if recipe.student.compress else (),
    )


def spec_of(module: Streaming | Whole, recipe: DistillRecipe) -> ModelSpec:
    """What the runtime must know; features are numbered, for they have no names."""
    longest = round(LONGEST_S * 1000 / recipe.features.hop_ms)
    window = WindowSpec(frames=longest, hop=STEP_FRAMES, mode="segment")
    states: tuple[StateSpec, ...] = ()
    if isinstance(module, Streaming):
        hop = STEP_FRAMES * recipe.student.chunk
        window = WindowSpec(frames=hop, hop=hop, mode="stateful")
        states = tuple(StateSpec(name, shape) for name, shape in module.states.items() if all(shape))
    params: dict[str, Any] = {"step_frames": STEP_FRAMES}
    if recipe.student.compress:
        params |= {"period_ms": STEP_FRAMES * recipe.features.hop_ms, "longest_ms": LONGEST_MS}
    return ModelSpec(
        name=recipe.name,
        task="encoder",
        features=recipe.features,
        window=window,
        labels=tuple(str(number) for number in range(recipe.student.width)),
        states=states,
        params=params,
    )


def dev_recordings(root: Path, folders: Sequence[str]) -> list[Recording]:
    """The dev recordings of those folders that are there.

    Raises:
        ManifestError: there are none.
    """
    there = [root / folder for folder in folders if (root / folder).is_dir()]
    found = [each for folder in there for each in split_recordings(folder)["dev"]]
    if not found:
        raise ManifestError(f"none of {', '.join(folders)} in {root} has dev recordings")
    return found
