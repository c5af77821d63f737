"""How near a model file's features are to those of the float student, or to what the teacher taught."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from asr.distill.heads import ExpandLast, LayerWise
from asr.distill.recipe import DistillRecipe
from asr.distill.teachers import load_teacher
from stapes.fbank import fbank, frame_count
from stapes.model import Model
from stapes.samples import Samples
from stapes.scoring import features
from stapes.segments import samples_of
from stapes.spec import ModelSpec
from stapes.tasks import inputs_of
from stapes.tasks.encoder import EncoderParams
from training.encoder.network import Encoder
from training.recipe import build
from training.whisper_cache import CacheSpec, teacher_frames

RATE = 16_000
MOST_FRAMES = 3_000
"""Of a clip: 30 s, more than which no teacher hears at once, nor a student without chunks."""
Clips = Callable[[], Iterable[Samples]]
Judge = Callable[[Model], float]


def to_itself(student: Encoder, clips: Clips) -> Judge:
    """The mean cosine of a file's features, frame by frame, with those of the float student, heard whole.

    Of one that compresses, the mean over its periods: shortest, middle, longest. int8 may then count other
    units: each is compared with the one at its place.
    """

    def judge(model: Model) -> float:
        found = []
        for each in _periods(model):
            for samples in _cut(clips(), model.spec):
                frames = torch.from_numpy(fbank(samples, model.spec.features))[None]
                rate = [torch.from_numpy(value) for value in inputs_of(each.spec).values()]
                with torch.inference_mode():
                    wanted = student(frames, None, *rate).states[-1][0]
                found.append(_cosine(torch.from_numpy(features(each, samples, RATE)), wanted))
        return float(torch.cat(found).mean())

    return judge


def to_teacher(checkpoint: dict[str, Any], clips: Clips, weights: str) -> Judge:
    """The mean cosine of the teacher's layers with what the student's heads say on a file's features.

    Those heads count that stand on the last layer, which is what a file gives; a student that compresses is
    judged at its shortest period.

    Raises:
        ValueError: there are no such heads.
    """
    recipe = build(DistillRecipe, checkpoint["recipe"])
    head, layers = last_heads(recipe, checkpoint["model"])
    spec = CacheSpec(layers, recipe.teaching.rate_ms)
    pool = recipe.teaching.rate_ms // 20

    def judge(model: Model) -> float:
        (teacher, _), found = load_teacher(f"{recipe.teacher}:{weights}"), []
        for samples in _cut(clips(), model.spec):
            taught = teacher_frames(teacher, torch.from_numpy(samples)[None], spec)[0]
            heard = torch.from_numpy(features(model, samples, RATE))
            heard = F.avg_pool1d(heard.T, pool, ceil_mode=True).T  # as the student learned it
            with torch.inference_mode():
                told = head(heard)  # (layers, frames, width)
            count = min(told.shape[1], len(taught))
            wanted = taught[:count].reshape(count, len(layers), -1).transpose(0, 1)
            found.append(F.cosine_similarity(told[:, :count], wanted, dim=-1).ravel())
        return float(torch.cat(found).mean())

    return judge


def last_heads(
    recipe: DistillRecipe, weights: dict[str, Tensor]
) -> tuple[Callable[[Tensor], Tensor], tuple[int, ...]]:
    """(frames, width) to (layers, frames, teacher's width), and the teacher's layers that it says."""
    heads, width = recipe.heads, recipe.student.width
    kept = {k.removeprefix("layer_heads."): v for k, v in weights.items() if k.startswith("layer_heads.")}
    if not kept:
        raise ValueError("the student was not taught the teacher's layers: no --teacher can judge it")
    if heads.kind == "expand-last":
        last = ExpandLast(heads, width, kept["weight"].shape[1])
        last.load_state_dict(kept)
        return lambda x: last([x[None]])[0], heads.teachers
    maps = LayerWise(heads, width, kept["maps.0.weight"].shape[0])
    maps.load_state_dict(kept)
    chosen = [i for i, layer in enumerate(heads.students) if layer == recipe.student.layers]
    if not chosen:
        raise ValueError(f"no head stands on the student's last layer, but on {heads.students}")
    return lambda x: torch.stack([maps.maps[i](x) for i in chosen]), tuple(heads.teachers[i] for i in chosen)


def _periods(model: Model) -> Iterator[Model]:
    """The model at its shortest, its middle and its longest period, if it has several."""
    params = EncoderParams.of(model.spec)
    if params.longest_ms is None:
        yield model
        return
    shortest = params.step_frames * model.spec.features.hop_ms
    for period in (shortest, (shortest + params.longest_ms) / 2, params.longest_ms):
        yield model.fork(period_ms=period)


def _cut(clips: Iterable[Samples], spec: ModelSpec) -> Iterator[Samples]:
    """Clips of whole calls, so that the last frames are heard with the same after them by both."""
    for samples in clips:
        count = frame_count(len(samples), spec.features)
        count -= count % spec.window.hop
        if count:
            yield samples[: samples_of(min(count, MOST_FRAMES), spec.features)]


def _cosine(told: Tensor, wanted: Tensor) -> Tensor:
    """(frames,) cosines of (frames, width) with the frames at their places, if there are fewer or more."""
    at = (torch.arange(len(told)) * len(wanted)).div(len(told), rounding_mode="floor")
    return F.cosine_similarity(told, wanted[at], dim=-1)
