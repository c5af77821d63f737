"""A word cut out of running speech: where it lies, and the word alone in one second."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stapes.events import Word
from stapes.samples import Samples

_REACH_SECONDS = 0.4
"""A word begins no earlier before its first symbol is heard, and ends no later after its last."""
_QUIET_DB = 30.0
"""What is so much fainter than the loudest moment, at a word's ends, is no part of it."""
_FADE_SECONDS = 0.03
"""Of the word's neighbours."""
_BLOCK_SECONDS = 0.005
_SMOOTH_BLOCKS = 5
_FAINTEST = 1e-10
_TONE = 512
"""Samples of the pieces that a recording's quiet is measured in."""


def extent(samples: Samples, rate: int, words: Sequence[Word], number: int) -> tuple[int, int]:
    """Samples from which and up to which a word lies.

    CTC hears words as moments. A word reaches half the way to its neighbours' moments (our choice: going to
    where the sound is faintest instead did no better), less what is silence there.

    Args:
        samples: (samples,) of the recording.
        rate: in Hz.
        words: of all that is said, with the times of an `Aligner`.
        number: of the word.

    Returns:
        First sample and the one after the last; the same or nearly where its neighbours leave it no room.
    """
    word = words[number]
    start, end = 0.0, len(samples) / rate
    if number:
        start = (words[number - 1].end + word.start) / 2
    if number + 1 < len(words):
        end = (word.end + words[number + 1].start) / 2
    start = max(start, word.start - _REACH_SECONDS)
    end = max(start, min(end, word.end + _REACH_SECONDS, len(samples) / rate))
    block = round(rate * _BLOCK_SECONDS)
    first, last = round(start * rate / block), round(end * rate / block)
    own = samples[first * block : last * block]
    if len(own) < block:  # its neighbours are heard at the same moment, or nothing is recorded there
        return round(start * rate), round(end * rate)
    levels = _levels(own, block)
    loud = np.flatnonzero(levels >= levels.max() - _QUIET_DB)
    return (first + int(loud[0])) * block, (first + int(loud[-1]) + 1) * block


def _levels(samples: Samples, block: int) -> NDArray[np.float64]:
    """(blocks,) in dB, over 25 ms."""
    blocks = samples[: len(samples) // block * block].reshape(-1, block).astype(np.float64)
    power = np.square(blocks).mean(axis=1)
    around = np.convolve(power, np.ones(_SMOOTH_BLOCKS) / _SMOOTH_BLOCKS)
    skip = _SMOOTH_BLOCKS // 2
    return 10 * np.log10(around[skip : skip + len(power)] + _FAINTEST)


def second_around(samples: Samples, middle: int, rate: int) -> Samples:
    """The second of (samples,) with a sample in its middle; zeros where there is nothing."""
    start = middle - rate // 2
    piece = samples[max(0, start) : max(0, start + rate)]
    before = min(rate, max(0, -start))
    return np.pad(piece, (before, rate - before - len(piece)))


def alone(samples: Samples, start: int, end: int, rate: int, rng: np.random.Generator) -> Samples:
    """A second with one word in its middle; its neighbours fade into the recording's own quiet.

    Not into silence: a network would learn that it means a word that was cut out.

    Args:
        samples: (samples,) of the recording.
        start: first sample of the word.
        end: sample after its last.
        rate: in Hz.
        rng: of the quiet.
    """
    middle = (start + end) // 2
    at = np.arange(rate) + middle - rate // 2
    away = np.maximum(start - at, at - end + 1) / (rate * _FADE_SECONDS)
    share = (0.5 + 0.5 * np.cos(np.pi * np.clip(away, 0, 1))).astype(np.float32)
    # Powers of what is not alike add up.
    quiet = room_tone(samples, rate, rng) * np.sqrt(1 - share**2)
    return np.asarray(second_around(samples, middle, rate) * share + quiet, np.float32)


def room_tone(samples: Samples, length: int, rng: np.random.Generator) -> Samples:
    """(length,) of noise with the spectrum and level of a recording's quietest twentieth."""
    window = np.hanning(_TONE)
    padded = np.pad(samples, (0, max(0, _TONE - len(samples))))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _TONE)[:: _TONE // 2] * window
    power = np.abs(np.fft.rfft(pieces)) ** 2
    quietest = np.argsort(power.sum(axis=1), kind="stable")[: max(1, len(power) // 20)]
    density = power[quietest].mean(axis=0) / np.square(window).sum()
    white = np.fft.rfft(rng.standard_normal(length))
    bins = np.linspace(0, 1, len(white))
    shape = np.interp(bins, np.linspace(0, 1, len(density)), np.sqrt(density))
    return np.asarray(np.fft.irfft(white * shape, length), np.float32)
