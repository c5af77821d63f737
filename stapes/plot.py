"""A timeline picture: the waveform, the events, and each label's score over time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stapes.events import (
    AudioLost,
    Event,
    FeaturesHeard,
    SpeechEnded,
    SpeechStarted,
    TextChanged,
    TextFinished,
)
from stapes.fbank import fbank
from stapes.model import Model
from stapes.resample import resample
from stapes.samples import Samples
from stapes.spec import Scores
from stapes.tasks import task_of

SUFFIXES: Final = (".png", ".svg", ".pdf")
"""Of the pictures."""
COLUMNS: Final = 2000
"""The waveform is drawn as this many vertical strokes at most, whatever its length."""
SHOWN_SCORE: Final = 0.1
"""A label that never rose so high is drawn in grey."""
_CHARACTER: Final = 0.085
"""Width of a letter above the waveform, in inches."""
_FEWEST: Final = 16
"""Letters of a text that are shown at least, however short it was."""
_INK: Final = "#1f2933"
_FAINT: Final = "#9aa5b1"
_WAVE: Final = "#52606d"
_SPEECH: Final = "#e3ecf7"
_COLOURS: Final = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00",
    "#56b4e9", "#7b3fb5", "#8c564b", "#b3123c", "#5f7d00",
)  # fmt: skip
"""Okabe and Ito's, which colour-blind readers tell apart, and four more."""


@dataclass(frozen=True, slots=True)
class Track:
    """What one model thought over time."""

    model: str
    labels: Sequence[str]
    seconds: NDArray[np.float64]
    """(steps,) where each score's window ends."""
    scores: NDArray[np.float32]
    """(steps, labels) from 0 to 1."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """A label's event comes at this score; drawn as a dotted line."""
    background: Sequence[str] = ()
    """Labels that never become an event, drawn in grey."""


def track(model: Model, samples: Samples, sample_rate: int) -> Track | None:
    """What a model thinks over time, as a stream hears it; None of whole segments, and of features.

    Where the model's decoder smooths the scores, so does this: an event then stands where its label's
    line crosses the threshold.

    Args:
        model: afterwards its state is back at zero.
        samples: (samples,) in [-1, 1].
        sample_rate: of them, Hz.
    """
    spec = model.spec
    features, window = spec.features, spec.window
    if window.mode == "segment" or task_of(spec).features:
        return None
    clip = resample(np.nan_to_num(samples, posinf=0.0, neginf=0.0), sample_rate, features.sample_rate)
    tail = (window.frames // 2 + window.lookahead + window.hop) * features.hop_samples
    frames = fbank(np.concatenate((clip, np.zeros(tail, np.float32))), features)
    take = window.hop
    if window.mode == "sliding":
        take = window.frames
        silence = fbank(np.zeros(features.frame_samples, np.float32), features)
        frames = np.concatenate((np.repeat(silence, window.frames - window.hop, axis=0), frames))
    model.reset()
    steps = [model(frames[end - take : end]) for end in range(take, len(frames) + 1, window.hop)]
    model.reset()
    scores = np.concatenate([np.zeros((0, len(spec.labels)), np.float32), *steps])
    ends = np.arange(1, len(steps) + 1) * window.hop - 1 - window.lookahead
    seconds = (ends * features.hop_samples + features.frame_samples) / features.sample_rate
    each = len(scores) // max(len(steps), 1)
    if each > 1:
        seconds = (
            seconds[:, None] - (np.arange(each)[::-1] / each * window.hop * features.hop_ms / 1000)
        ).ravel()
    thresholds = spec.params.get("thresholds")
    return Track(
        model=spec.name,
        labels=spec.labels,
        seconds=seconds,
        scores=_smooth(scores, spec.params.get("smooth_hops", 1)),
        thresholds=dict(thresholds) if isinstance(thresholds, dict) else {},
        background=spec.params.get("background", ()),
    )


def _smooth(scores: Scores, steps: int) -> Scores:
    """The mean of the last `steps` scores, zeros before the first."""
    if steps <= 1 or not len(scores):
        return scores
    padded = np.concatenate((np.zeros((steps - 1, scores.shape[1]), np.float32), scores))
    means: Scores = np.lib.stride_tricks.sliding_window_view(padded, steps, axis=0).mean(axis=-1)
    return means


def import_matplotlib() -> Any:
    """Matplotlib's Figure class.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message names the cure.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError("a picture needs matplotlib: pip install 'stapes[plot]'") from None
    return Figure


def timeline(
    path: str | Path,
    samples: Samples,
    sample_rate: int,
    events: Sequence[Event],
    tracks: Sequence[Track] = (),
    *,
    title: str = "",
) -> None:
    """Draw the picture.

    Args:
        path: where to; the suffix says the format (.png, .svg, .pdf).
        samples: (samples,) in [-1, 1]; what is not finite is drawn as silence.
        sample_rate: of `samples`, Hz.
        events: what was found, as `Stream.feed` gave it.
        tracks: one panel each.
        title: above the picture.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message names the cure.
    """
    figure_class = import_matplotlib()
    samples = np.nan_to_num(samples, posinf=0.0, neginf=0.0)
    duration = max(len(samples) / sample_rate, 0.1)
    figure = figure_class(
        figsize=(min(max(10.0, 1.1 * duration), 24.0), 2.9 + 2.1 * len(tracks)), layout="constrained"
    )
    axes = figure.subplots(
        1 + len(tracks),
        1,
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": [1.25] + [1.0] * len(tracks)},
    )[:, 0]
    colours = _colours(tracks)
    axes[0].set_xlim(0, duration)
    _waveform(axes[0], samples, sample_rate)
    panels = {found.model: axis for found, axis in zip(tracks, axes[1:], strict=True)}
    rows = _events(axes[0], panels, events, colours)
    for axis, track in zip(axes[1:], tracks, strict=True):
        _scores(axis, track, colours)
    for axis in axes:
        axis.tick_params(colors=_INK, labelsize=9, length=3)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axis.spines[side].set_color(_FAINT)
    axes[-1].set_xlabel("seconds", color=_INK)
    if title:
        axes[0].set_title(title, loc="left", color=_INK, fontsize=12, fontweight="bold", pad=8 + 13 * rows)
    figure.savefig(path, dpi=150)


def _colours(tracks: Sequence[Track]) -> dict[tuple[str, str], str]:
    """A colour for the labels that rose highest, in the order of the model's own list."""
    chosen = {}
    for track in tracks:
        peaks = track.scores.max(axis=0) if len(track.scores) else np.zeros(len(track.labels))
        keywords = [i for i, label in enumerate(track.labels) if label not in track.background]
        risen = [i for i in keywords if peaks[i] >= SHOWN_SCORE]
        highest = sorted(risen, key=lambda i: -peaks[i])[: len(_COLOURS)]
        for colour, i in zip(_COLOURS, sorted(highest), strict=False):
            chosen[track.model, track.labels[i]] = colour
    return chosen


def _waveform(axis: Any, samples: Samples, sample_rate: int) -> None:
    step = max(1, -(-len(samples) // COLUMNS))
    full = len(samples) // step * step
    blocks = samples[:full].reshape(-1, step)
    at = (np.arange(len(blocks)) + 0.5) * step / sample_rate
    low, high = (blocks.min(axis=1), blocks.max(axis=1)) if len(blocks) else (at, at)
    if step == 1:
        axis.plot(at, high, color=_WAVE, linewidth=0.8)
    else:
        axis.fill_between(at, low, high, color=_WAVE, linewidth=0.4)
    reach = 1.15 * float(np.abs(samples).max(initial=0.01))
    axis.set_ylim(-reach, reach)
    axis.set_ylabel("waveform", color=_INK)


def _events(
    axis: Any, panels: dict[str, Any], events: Sequence[Event], colours: dict[tuple[str, str], str]
) -> int:
    """Draw them all; how many rows of words stand above the waveform."""
    started: float | None = None
    ends: list[float] = []
    duration = axis.get_xlim()[1]
    several = len({event.model for event in events if event.model}) > 1
    for event in events:
        if isinstance(event, SpeechStarted):
            started = event.seconds
        elif isinstance(event, SpeechEnded):
            axis.axvspan(started or 0.0, event.seconds, color=_SPEECH, zorder=0)
            started = None
        elif isinstance(event, TextChanged | FeaturesHeard):
            continue  # what it said is in the final text; features are no words
        else:
            at, words = event.seconds, _words(event)
            if isinstance(event, TextFinished):
                start = event.words[0].start if event.words else at
                most = int(_inches(axis) * (at - start) / duration / _CHARACTER)
                at, words = (start + at) / 2, _shortened(words, max(most, _FEWEST))
            if several and event.model:
                words = f"{event.model}: {words}"
            colour = colours.get((event.model, getattr(event, "label", "")), _INK)
            _word(axis, at, words, colour, ends)
            if isinstance(event, TextFinished):
                continue  # its span says when
            for panel in (axis, panels.get(event.model)):
                if panel is not None:
                    panel.axvline(event.seconds, color=colour, linewidth=1.2, alpha=0.55, zorder=1)
    if started is not None:
        axis.axvspan(started, duration, color=_SPEECH, zorder=0)
    return len(ends)


def _inches(axis: Any) -> float:
    """About the width of the axes."""
    return 0.85 * float(axis.figure.get_size_inches()[0])


def _shortened(words: str, most: int) -> str:
    """The beginning of a text of more than `most` letters, as far as a word's end where there is one."""
    if len(words) <= most:
        return words
    kept = words[: most - 1]
    if words[most - 1] != " " and " " in kept:
        kept = kept[: kept.rindex(" ")]
    return f"{kept.rstrip()}…"


def _word(axis: Any, seconds: float, words: str, colour: str, ends: list[float]) -> None:
    """Words above the waveform, on the lowest row where they cover no others; `ends` is each row's end."""
    duration = axis.get_xlim()[1]
    half = (_CHARACTER * len(words) + 0.1) / 2 * duration / _inches(axis)
    row = next((i for i, end in enumerate(ends) if seconds - half > end), len(ends))
    ends[row : row + 1] = [seconds + half]
    axis.annotate(
        words,
        (seconds, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4 + 13 * row),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=colour,
        fontsize=10,
        fontweight="bold",
        annotation_clip=False,
        parse_math=False,
    )


def _words(event: Event) -> str:
    if isinstance(event, AudioLost):
        return f"{event.samples} samples lost"
    said = getattr(event, "label", None) or getattr(event, "text", None) or type(event).__name__
    score = getattr(event, "score", None)
    return said if score is None else f"{said} {score:.2f}"


def _scores(axis: Any, track: Track, colours: dict[tuple[str, str], str]) -> None:
    grey = "other labels"
    for i, label in enumerate(track.labels):
        colour = colours.get((track.model, label))
        if colour is None:
            axis.plot(
                track.seconds,
                track.scores[:, i],
                color=_FAINT,
                linewidth=0.8,
                alpha=0.7,
                zorder=1,
                label=grey,
            )
            grey = "_nolegend_"
            continue
        axis.plot(track.seconds, track.scores[:, i], color=colour, linewidth=1.6, label=label, zorder=3)
        axis.fill_between(track.seconds, track.scores[:, i], color=colour, alpha=0.12, linewidth=0, zorder=2)
    for threshold in sorted(set(track.thresholds.values())):
        axis.axhline(threshold, color=_INK, linewidth=0.7, linestyle=":", alpha=0.5, zorder=1)
    axis.set_ylim(0, 1.03)
    axis.set_ylabel(f"{track.model} score", color=_INK)
    handles, _ = axis.get_legend_handles_labels()
    if handles:
        axis.legend(
            loc="upper left",
            bbox_to_anchor=(1.0, 1.02),
            frameon=False,
            fontsize=9,
            labelcolor=_INK,
            handlelength=1.2,
        )
