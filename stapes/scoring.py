"""Whole clips: the scores of every window that fits into the clip with as little silence around as can be.

Features, which are no decisions, are made of the clip as a stream hears it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stapes.fbank import fbank, frame_count
from stapes.model import Model
from stapes.resample import resample
from stapes.samples import Frames, Samples, as_samples, refuse_loud
from stapes.segments import samples_of
from stapes.spec import ModelSpec, Scores
from stapes.tasks import task_of


def score(model: Model, samples: Samples, sample_rate: int = 16_000) -> Scores:
    """Scores of a whole clip, judged by itself: the model's state is zero at its start.

    The clip is put into the middle of as much silence as makes it a whole number of hops, at least one
    window long. Only windows that lie inside are kept, so of a clip not longer than a window there is one
    decision, with all of it in view. A "segment" model is given all frames, in parts of at most its window;
    one with states hears them hop by hop, the last hop filled up with silence. Of an encoder see `features`.

    Args:
        model: of any mode; afterwards its state is back at zero.
        samples: (samples,) float32 in [-1, 1], any length.
        sample_rate: of them; resampled where the model wants another.

    Returns:
        (steps, labels), at least one step, but of an encoder.

    Raises:
        TypeError: samples that are not floating point.
        ValueError: more than one axis, samples that are not finite or far out of [-1, 1], or a rate that
            cannot be resampled.
    """
    scores = _score(model, samples, sample_rate)
    model.reset()
    return scores


def judge(model: Model, samples: Samples, sample_rate: int = 16_000) -> dict[str, Any]:
    """What a model's task says of a whole clip: its label, its text. Arguments and errors as `score`."""
    scores = _score(model, samples, sample_rate)
    result = task_of(model.spec).clip(scores, model.spec, model.extras)
    model.reset()
    return result


def features(model: Model, samples: Samples, sample_rate: int = 16_000) -> NDArray[np.float32]:
    """What an encoder makes of a whole clip.

    One that streams gives what a `Stream` tells of the same samples, to the bit: all steps that end within
    the clip, the last ones heard with silence after them. Any other is given all frames, also where nobody
    speaks, in parts of at most its window.

    Args:
        model: of the task "encoder"; afterwards its state is back at zero.
        samples: (samples,) float32 in [-1, 1], any length.
        sample_rate: of them; resampled where the model wants another.

    Returns:
        (steps, width) float32; no step of a clip that is shorter than one.

    Raises:
        TypeError: samples that are not floating point.
        ValueError: a model of another task; else as `score`.
    """
    if not task_of(model.spec).features:
        raise ValueError(f"{model.spec.name} gives no features, its task is {model.spec.task!r}")
    return score(model, samples, sample_rate)


def _score(model: Model, samples: Samples, sample_rate: int) -> Scores:
    clip = as_samples(samples)
    fine = np.isfinite(clip)
    if not fine.all():
        raise ValueError(f"{clip.size - np.count_nonzero(fine)} of {clip.size} samples are not finite")
    refuse_loud(clip)
    rate = model.spec.features.sample_rate
    if sample_rate != rate:
        clip = resample(clip, sample_rate, rate)
    model.reset()
    if task_of(model.spec).features:
        return _encode(model, clip)
    frames = fbank(_centred(clip, model.spec), model.spec.features)
    return _run(model.spec)(model, frames)


def _centred(clip: Samples, spec: ModelSpec) -> Samples:
    """The clip in silence, of as many samples as the frames that the model is given need."""
    features, window = spec.features, spec.window
    hop = features.hop_samples
    seen = max(0, -(-(clip.size - features.frame_samples) // hop)) + 1
    before = after = 0
    if window.mode == "sliding":
        seen = window.frames + -(-max(0, seen - window.frames) // window.hop) * window.hop
    elif window.mode == "stateful":
        # Windows end a whole number of calls after the start, where the first need not begin.
        seen, after = max(seen, window.frames), window.lookahead
        before = -(seen + after) % window.hop
    size = (seen - 1) * hop + features.frame_samples
    start = before * hop + (size - clip.size) // 2
    padded = np.zeros(before * hop + size + after * hop, np.float32)
    padded[start : start + clip.size] = clip
    return padded


def _encode(model: Model, clip: Samples) -> Scores:
    """Features from the first frame on; of a model with states by the calls of `stapes.lanes.WindowLane`."""
    features, hop = model.spec.features, model.spec.window.hop
    count = frame_count(clip.size, features)
    if not count:
        return np.zeros((0, len(model.spec.labels)), np.float32)
    if not model.spec.streamed:
        return _segment(model, fbank(clip, features))
    calls = -(-count // hop)
    padded = np.zeros(samples_of(calls * hop, features), np.float32)
    heard = clip[: padded.size]
    padded[: heard.size] = heard
    frames = fbank(padded, features)
    scores = np.concatenate([model(frames[at : at + hop]) for at in range(0, len(frames), hop)])
    return scores[: count * len(scores) // len(frames)]


def _sliding(model: Model, frames: Frames) -> Scores:
    window = model.spec.window
    starts = range(0, len(frames) - window.frames + 1, window.hop)
    return np.concatenate([model(frames[at : at + window.frames]) for at in starts])


def _stateful(model: Model, frames: Frames) -> Scores:
    window = model.spec.window
    full = window.frames + window.lookahead
    kept = []
    for end in range(window.hop, len(frames) + 1, window.hop):
        scores = model(frames[end - window.hop : end])
        if end >= full:
            kept.append(scores)
    return np.concatenate(kept)


def _segment(model: Model, frames: Frames) -> Scores:
    most = model.spec.window.frames
    return np.concatenate([model(frames[at : at + most]) for at in range(0, len(frames), most)])


def _speech(model: Model, frames: Frames) -> Scores:
    hop, features = model.spec.window.hop, model.spec.features
    silence = fbank(np.zeros(features.frame_samples, np.float32), features)
    filled = np.concatenate((frames, np.repeat(silence, -len(frames) % hop, axis=0)))
    return np.concatenate([model(filled[at : at + hop]) for at in range(0, len(filled), hop)])


def _run(spec: ModelSpec) -> Callable[[Model, Frames], Scores]:
    if spec.window.mode == "segment":
        return _speech if spec.streamed else _segment
    return _stateful if spec.window.mode == "stateful" else _sliding
