"""Encoders: features against the frames they are made of, in streams of any cutting and of whole clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import stapes
from stapes.events import FeaturesHeard, SpeechEnded, SpeechStarted
from stapes.fbank import fbank
from stapes.model import Model
from stapes.resample import resample
from stapes.spec import SpecError, StateSpec, WindowSpec
from stapes.stream import Stream
from stapes.tasks import encoder, inputs_of, task_of
from tests.runtime.conftest import Tiny
from tests.tools import tiny_encoder
from tests.tools.signals import cuttings, every, feed_in, words
from tests.tools.tiny_encoder import CHUNK, MELS

ANY = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="module")
def streaming(folder: Path) -> Model:
    return Model.load(tiny_encoder.write(folder, "streaming"))


@pytest.fixture(scope="module")
def whole(folder: Path) -> Model:
    return Model.load(tiny_encoder.write(folder, "whole"))


@pytest.fixture(scope="module")
def compressing(folder: Path) -> Model:
    return Model.load(tiny_encoder.write(folder, "compressing"))


def _pairs(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """(frames, mels) to (frames // 2, 2 · mels)."""
    return frames[: len(frames) // 2 * 2].reshape(-1, 2 * MELS)


def _heard(events: list[stapes.Event]) -> list[FeaturesHeard]:
    return [event for event in events if isinstance(event, FeaturesHeard)]


@pytest.mark.parametrize("length", [0, 1, 399, 400, 559, 560, 561, 1_519, 1_520, 1_680, 16_000, 84_800])
def test_features_are_the_frames(streaming: Model, length: int) -> None:
    """A step for each 320 samples after the first 240; each call adds the number of those before it."""
    found = stapes.features(streaming, words()[:length])
    steps = max(0, (length - 240) // 320)
    wanted = _pairs(fbank(words(), streaming.spec.features))[:steps]
    wanted = wanted + np.arange(steps, dtype=np.float32)[:, None] // CHUNK
    assert found.shape == (steps, 2 * MELS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)


@ANY
@given(cuts=cuttings, length=st.integers(0, words().size))
def test_streams_tell_the_same_to_the_bit(streaming: Model, cuts: list[int], length: int) -> None:
    samples = words()[:length]
    events = _heard(feed_in(Stream(streaming), samples, cuts))
    assert events == _heard(feed_in(Stream(streaming), samples, []))
    told = np.concatenate([np.zeros((0, 2 * MELS), np.float32), *(event.features for event in events)])
    np.testing.assert_array_equal(told, stapes.features(streaming, samples))
    steps = 0
    for event in events:
        steps += len(event.features)
        assert 1 <= len(event.features) <= CHUNK
        assert event.at == 240 + 320 * steps <= length
        assert event.period_ms == 20
        assert not event.features.flags.writeable


def test_another_rate_is_resampled(streaming: Model) -> None:
    clip = words(44_100)
    events = _heard(feed_in(Stream(streaming, sample_rate=44_100), clip, every(1_237)))
    found = stapes.features(streaming, clip, 44_100)
    np.testing.assert_array_equal(found, stapes.features(streaming, resample(clip, 44_100, 16_000)))
    np.testing.assert_array_equal(np.concatenate([event.features for event in events]), found)


@ANY
@given(cuts=cuttings)
def test_a_whole_encoder_hears_the_speech(whole: Model, cuts: list[int]) -> None:
    """Its steps lie where their frames are, those before and after the speech with them."""
    events = feed_in(Stream(whole), words(), cuts)
    assert events == feed_in(Stream(whole), words(), [])
    starts = [event.at for event in events if isinstance(event, SpeechStarted)]
    ends = [event.at for event in events if isinstance(event, SpeechEnded)]
    heard = _heard(events)
    assert len(heard) == len(starts) == len(ends) == 3
    frames = fbank(words(), whole.spec.features)
    for event, start, end in zip(heard, starts, ends, strict=True):
        last = (event.at - 400) // 160
        count = 2 * len(event.features)
        odd = not np.array_equal(event.features[-1, :MELS], frames[last - 1])
        wanted = frames[last + 1 + odd - count : last + 1]
        told = event.features.reshape(-1, MELS)[: len(wanted)]
        np.testing.assert_array_equal(told, wanted)
        assert event.at >= end - 160
        assert event.at - count * 160 - 400 <= start


def test_a_whole_clip_is_heard_in_parts_of_the_window(whole: Model) -> None:
    frames = fbank(words(), whole.spec.features)
    assert len(frames) % 2 == 0
    np.testing.assert_array_equal(stapes.features(whole, words()), _pairs(frames))
    found = stapes.features(whole, words()[: 400 + 160 * 300])  # 301 frames, 300 of them a window
    assert len(found) == 151
    np.testing.assert_array_equal(found[-1], np.tile(frames[300], 2))


def test_the_period_is_chosen(compressing: Model) -> None:
    """λ = 9/7 (1 - 20 / period): arXiv 2211.02332, the learned weights' mean being 2/9."""
    plain = stapes.features(compressing, words())
    for period, rate in ((20, 0.0), (90, 1.0), (40, 9 / 14), (20.0 / (1 - 7 / 18), 0.5)):
        chosen = compressing.fork(period_ms=period)
        assert inputs_of(chosen.spec) == {"rate": pytest.approx(rate)}
        np.testing.assert_allclose(stapes.features(chosen, words()), plain + np.float32(rate), rtol=1e-6)
        events = _heard(feed_in(Stream(chosen), words(), every(999)))
        assert {event.period_ms for event in events} == {period}
        assert stapes.judge(chosen, words())["period_ms"] == period
    assert inputs_of(compressing.spec) == {"rate": 0.0}


def test_periods_that_cannot_be(compressing: Model, whole: Model, streaming: Model) -> None:
    for period in (19.9, 91, float("nan"), "40", True, None):
        with pytest.raises(SpecError, match=r"'params\.period_ms' must be a number from 20 to 90"):
            compressing.fork(period_ms=period)
    with pytest.raises(SpecError, match="whole does not compress: it has a step every 20 ms"):
        whole.fork(period_ms=40)
    with pytest.raises(
        SpecError, match=r"unknown key 'params\.perod'; an encoder has step_frames, period_ms"
    ):
        streaming.fork(perod=40)


def test_params_are_checked() -> None:
    fine, compresses = tiny_encoder.spec("streaming"), tiny_encoder.spec("compressing")
    for spec, reason in (
        (replace(fine, params={}), "step_frames' must be"),
        (replace(fine, params={"step_frames": 3}), "hop, 8, is a multiple, got 3"),
        (replace(fine, params={"step_frames": 2.0}), r"got 2\.0"),
        (replace(fine, window=WindowSpec(8, 8)), "got 'sliding', 1 states"),
        (replace(compresses, states=(StateSpec("a", (1,)),)), "got 'segment', 1 states"),
        (replace(fine, window=WindowSpec(8, 8, 1, "stateful")), "no lookahead"),
        (replace(compresses, params={"step_frames": 2, "longest_ms": 20}), "'params.longest_ms' must be"),
        (replace(compresses, params={"step_frames": 2, "longest_ms": 90}), "'params.period_ms' must be"),
    ):
        with pytest.raises(SpecError, match=reason):
            task_of(spec).decoder(spec, None)


def test_a_graph_without_the_rate_is_refused(whole: Model, folder: Path) -> None:
    path = folder / "liar.onnx"
    stapes.onnxfile.stamp(whole.path, path, tiny_encoder.spec("compressing"))
    with pytest.raises(stapes.ModelFileError, match=r"wants inputs \['frames', 'rate'\], the graph has"):
        Model.load(path)


def test_clips_in_json(streaming: Model) -> None:
    result = stapes.judge(streaming, words()[:1_000])
    found = stapes.features(streaming, words()[:1_000])
    assert result["period_ms"] == 20
    np.testing.assert_allclose(result["features"], found, atol=5.1e-5)
    assert encoder.metrics([result], ["x"], streaming.spec) == {"n": 1}


def test_other_models_give_no_features(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="tiny-sliding gives no features, its task is 'kws'"):
        stapes.features(tiny("sliding"), words())


def test_bad_clips_are_refused(streaming: Model) -> None:
    with pytest.raises(ValueError, match="1 of 2 samples are not finite"):
        stapes.features(streaming, np.float32([0, np.nan]))
    with pytest.raises(TypeError, match="int16"):
        stapes.features(streaming, np.zeros(9, np.int16))  # type: ignore[arg-type]
