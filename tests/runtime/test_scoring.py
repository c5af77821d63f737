"""Whole clips: which windows are looked at, and where the clip lies in them."""

import numpy as np
import pytest

from stapes.fbank import fbank
from stapes.resample import resample
from stapes.scoring import score
from stapes.spec import WindowMode
from tests.runtime.conftest import Tiny
from tests.tools.signals import high, low, quiet, words

MODES: tuple[WindowMode, ...] = ("sliding", "stateful", "segment")


@pytest.mark.parametrize("mode", ["sliding", "stateful"])
@pytest.mark.parametrize("length", [0, 1, 399, 4000, 5040])
def test_a_short_clip_is_in_the_middle_of_one_window(tiny: Tiny, mode: WindowMode, length: int) -> None:
    """30 frames take 5040 samples."""
    model = tiny(mode)
    clip = low(1)[:length]
    start = (5040 - length) // 2
    padded = np.zeros(5040, np.float32)
    padded[start : start + length] = clip
    frames = fbank(padded, model.spec.features)
    plain = model.fork()
    expected = plain(frames) if mode == "sliding" else [plain(frames[at : at + 10]) for at in (0, 10, 20)][-1]
    np.testing.assert_array_equal(score(model, clip), expected)


@pytest.mark.parametrize(
    ("mode", "length", "steps"),
    [
        ("sliding", 5041, 2),
        ("sliding", 5040 + 1600, 2),
        ("sliding", 5040 + 1601, 3),
        ("stateful", 5041, 2),
        ("stateful", 5040 + 1600, 2),
        ("stateful", 5040 + 1601, 3),
        ("segment", 5040, 1),
        ("segment", 5041, 2),
    ],
)
def test_a_long_clip_has_a_step_each_hop(tiny: Tiny, mode: WindowMode, length: int, steps: int) -> None:
    assert score(tiny(mode), low(1)[:length]).shape == (steps, 4)


def test_windows_that_are_no_whole_number_of_calls(tiny: Tiny) -> None:
    """Window 25 frames, lookahead 2, calls of 10: the clip ends 30 frames, less the lookahead."""
    model = tiny("stateful", frames=25, lookahead=2)
    samples = 24 * 160 + 400
    padded = np.concatenate([np.zeros(3 * 160, np.float32), low(1)[:samples], np.zeros(2 * 160, np.float32)])
    frames = fbank(padded, model.spec.features)
    assert len(frames) == 30
    plain = model.fork()
    expected = [plain(frames[at : at + 10]) for at in (0, 10, 20)][-1]
    np.testing.assert_array_equal(score(model, low(1)[:samples]), expected)


@pytest.mark.parametrize("mode", MODES)
def test_each_clip_is_judged_by_itself(tiny: Tiny, mode: WindowMode) -> None:
    model = tiny(mode, frames=100)
    first = score(model, low(1))
    second = score(model, high(1))
    assert (first.argmax(), second.argmax()) == (2, 3)
    np.testing.assert_array_equal(score(model, low(1)), first)
    assert score(model, quiet(1)).argmax() < 2


@pytest.mark.parametrize("mode", MODES)
def test_a_second_of_sound_fits_a_window_of_a_second(tiny: Tiny, mode: WindowMode) -> None:
    assert score(tiny(mode, frames=100), low(1)).shape == (1, 4)


def test_another_rate_is_resampled(tiny: Tiny) -> None:
    clip = words(44_100)
    np.testing.assert_array_equal(
        score(tiny("sliding"), clip, 44_100), score(tiny("sliding"), resample(clip, 44_100, 16_000))
    )


@pytest.mark.parametrize(
    ("clip", "error", "reason"),
    [
        (np.array([0, np.nan, np.inf], np.float32), ValueError, "2 of 3 samples are not finite"),
        (np.zeros((2, 9), np.float32), ValueError, r"one axis \(mono\), got shape \(2, 9\)"),
        (np.zeros(9, np.int16), TypeError, "got int16"),
        (np.full(9, 3000, np.float32), ValueError, r"in \[-1, 1\], got 3000"),
    ],
)
def test_bad_clips_are_refused(tiny: Tiny, clip: object, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        score(tiny("sliding"), clip)  # type: ignore[arg-type]
