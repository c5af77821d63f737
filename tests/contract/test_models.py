"""What every model keeps to, bundled or tiny, whatever its task: a new one is tested here by being there."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from stapes import onnxfile
from stapes.events import AudioLost
from stapes.model import Model, bundled_models
from stapes.samples import Samples
from stapes.scoring import score
from stapes.spec import ModelSpec
from stapes.stream import Stream, load
from stapes.tasks import TASKS
from tests.tools import needs, tiny_onnx
from tests.tools.signals import cuttings, every, feed_in, speech, words

TINY = {
    "tiny-sliding": ("sliding", "kws"),
    "tiny-stateful": ("stateful", "kws"),
    "tiny-segment": ("segment", "kws"),
    "tiny-encoder": ("stateful", "encoder"),
    "tiny-whole-encoder": ("segment", "encoder"),
}
RATE = 16_000


@pytest.fixture(scope="module", params=[*bundled_models(), *TINY])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    name: str = request.param
    if name in TINY:
        mode, task = TINY[name]
        spec = tiny_onnx.spec(mode, task=task)  # type: ignore[arg-type]
        yield Model.load(tiny_onnx.write(tmp_path_factory.mktemp("tiny"), spec))
    else:
        yield Model.load(name)


def _sound(model: Model) -> Samples:
    """What the model has something to say of: speech, or bursts in noise for the tiny ones, 5.3 s."""
    if model.spec.name not in TINY:
        return speech()
    sound = words()
    noise = np.random.default_rng(2).standard_normal(sound.size) * 0.01
    return (sound + noise).astype(np.float32)


@cache
def _bundled_tasks() -> set[str]:
    return {Model.load(name).spec.task for name in bundled_models()}


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_has_a_bundled_model(task: str) -> None:
    if task not in _bundled_tasks():
        needs.missing(f"no bundled model for the task {task!r}")


@pytest.mark.parametrize("name", bundled_models() or [None])
def test_bundled_files_are_whole_and_say_what_they_are(name: str | None) -> None:
    if name is None:
        needs.missing("no model is bundled")
    model = Model.load(name)
    assert len(onnxfile.verify(model.path)) == 64
    assert model.spec.name == name
    assert model.spec.task in TASKS
    assert {"data", "recipe"} & model.spec.provenance.keys()
    assert load(name).models[0].spec == model.spec


def test_the_spec_survives_json(model: Model) -> None:
    assert ModelSpec.from_json(model.spec.to_json()) == model.spec


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=cuttings)
def test_any_cutting_gives_the_same_events(model: Model, cuts: list[int]) -> None:
    stream = Stream(model)
    whole = feed_in(stream, _sound(model), [])
    assert any(event.model for event in whole)
    stream.reset()
    assert feed_in(stream, _sound(model), cuts) == whole


def test_reset_is_a_new_stream(model: Model) -> None:
    stream = Stream(model)
    first = feed_in(stream, _sound(model), every(RATE // 10))
    stream.reset()
    stream.feed(_sound(model)[:33_333])
    stream.reset()
    assert feed_in(stream, _sound(model), every(RATE // 10)) == first
    assert feed_in(Stream(model), _sound(model), []) == first


def test_events_lie_in_the_audio_and_are_one_line_of_json(model: Model) -> None:
    sound = _sound(model)
    events = feed_in(Stream(model), sound, every(999))
    assert any(event.model for event in events)
    for event in events:
        assert 0 <= event.at <= sound.size
        assert event.model in ("", model.spec.name)
        assert event.rate == model.spec.features.sample_rate
        line = json.loads(event.to_json())
        assert list(line)[:4] == ["event", "at", "seconds", "model"]
        assert line["seconds"] == pytest.approx(event.seconds, abs=1e-4)


def test_lost_audio_is_silence(model: Model) -> None:
    bad, silent = _sound(model), _sound(model)
    bad[20_000:30_000], silent[20_000:30_000] = np.nan, 0
    events = feed_in(Stream(model), bad, every(1_600))
    lost = [event for event in events if isinstance(event, AudioLost)]
    assert [(event.at, event.samples) for event in lost] == [(20_000, 10_000)]
    assert [event for event in events if event not in lost] == feed_in(Stream(model), silent, [])


@pytest.mark.parametrize("seconds", [0, 0.001, 0.5, 1, 1.003, 3])
def test_clips_have_scores_and_a_result(model: Model, seconds: float) -> None:
    clip = np.resize(_sound(model), round(seconds * RATE))
    scores = score(model, clip)
    features = TASKS[model.spec.task].features
    assert scores.shape[0] >= (seconds >= 0.5 if features else 1)
    assert scores.shape[1] == len(model.spec.labels)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert features or ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_array_equal(score(model, clip), scores)
    result: dict[str, Any] = TASKS[model.spec.task].clip(scores, model.spec)
    json.dumps(result)
    if "label" in result:
        assert result["label"] in (*model.spec.labels, "unknown")
        assert list(result["scores"]) == list(model.spec.labels)


def test_metrics_are_json_and_count(model: Model) -> None:
    task = TASKS[model.spec.task]
    assert task.features == (not task.truth)
    result = task.clip(score(model, _sound(model)[:RATE]), model.spec)
    truths = [model.spec.labels[0], "something else"]
    metrics = task.metrics([result, result], truths, model.spec)
    assert metrics["n"] == 2
    json.dumps(metrics)


def test_a_damaged_copy_is_refused(model: Model, tmp_path: Path) -> None:
    data = bytearray(model.path.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "damaged.onnx"
    path.write_bytes(data)
    with pytest.raises(onnxfile.ModelFileError):
        Model.load(path)
