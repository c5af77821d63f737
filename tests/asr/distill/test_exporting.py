"""From a student's checkpoint to a file: torch, heard whole, is the oracle of what the runtime gives."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings

import stapes
from asr.distill import fidelity
from asr.distill.exporting import Streaming, exportable
from asr.distill.heads import HeadSpec, Pupil
from asr.distill.recipe import DistillRecipe, SpeechSpec
from asr.distill.task import load_student
from export.__main__ import main
from stapes.events import FeaturesHeard
from stapes.fbank import fbank
from stapes.model import Model
from stapes.samples import Samples
from stapes.stream import Stream
from stapes.tasks import inputs_of
from tests.asr.distill.speech import FEATURES, teacher, write_speech
from tests.tools.signals import cuttings, feed_in
from training.checkpoint import save
from training.encoder import cif
from training.encoder.network import Encoder
from training.encoder.spec import EncoderSpec
from training.recipe import to_dict

SMALL = EncoderSpec(
    mels=16, layers=2, width=16, inner=24, heads=2, position_kernel=6, position_groups=2, dropout=0.0
)
STREAMING = replace(SMALL, chunk=4, history=6)
HEADS = HeadSpec(students=(1, 2), teachers=(2, 3))


def checkpoint(student: EncoderSpec, heads: HeadSpec = HEADS) -> dict[str, Any]:
    """Of a student with random weights."""
    torch.manual_seed(0)
    recipe = DistillRecipe(
        name="small",
        speech=SpeechSpec(folders=("talk", "nowhere"), noise=("noise",)),
        features=FEATURES,
        student=student,
        heads=heads,
    )
    pupil = Pupil(student, heads, teacher()[0].width)
    if student.front == "fbank":
        pupil.student.front.normalise(torch.full((16,), -5.0), torch.full((16,), 3.0))
    return {
        "task": "distill",
        "recipe": to_dict(recipe),
        "model": pupil.state_dict(),
        "metrics": {"cosine": 0.5},
        "provenance": {"teacher": "a random encoder", "data": ["talk", "/home/somebody/noise"]},
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("speech")
    write_speech(root)
    return root


Made = tuple[Model, Encoder]
Make = Callable[..., Made]


def _made(spec: EncoderSpec, data: Path, folder: Path, *options: str) -> Made:
    """The file of a student, loaded, and the student."""
    content = checkpoint(spec)
    save(folder / "best.pt", content)
    assert main([str(folder / "best.pt"), str(folder / "small.onnx"), "--data", str(data), *options]) == 0
    return Model.load(folder / "small.onnx"), load_student(content)[0]


@pytest.fixture(scope="module")
def streaming(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return _made(STREAMING, data, tmp_path_factory.mktemp("streaming"))


@pytest.fixture(scope="module")
def compressing(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asr.distill.exporting.LONGEST_S", 3)  # parity is quicker on shorter windows
        return _made(replace(SMALL, compress=True), data, tmp_path_factory.mktemp("compressing"), "--int8")


def _told(student: Encoder, samples: Samples, *rate: torch.Tensor) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        return student(torch.from_numpy(fbank(samples, FEATURES))[None], None, *rate).states[-1][0].numpy()


def _sound(data: Path, samples: int) -> Samples:
    found = [soundfile.read(data / "talk" / f"{n}.wav", dtype="float32")[0] for n in range(4)]
    return np.concatenate(found)[:samples]


def test_streamed_is_whole(streaming: Made, data: Path) -> None:
    """What the file gives chunk by chunk is what torch gives of all at once."""
    model, student = streaming
    spec = model.spec
    assert (spec.task, spec.window.mode, spec.window.hop) == ("encoder", "stateful", 8)
    assert len(spec.labels) == 16
    for chunks in (1, 2, 9):
        samples = _sound(data, 400 + 160 * (8 * chunks - 1))
        found = stapes.features(model, samples)
        assert found.shape == (4 * chunks, 16)
        np.testing.assert_allclose(found, _told(student, samples), atol=1e-5)
    # Of a last chunk that is cut, torch must be given what the runtime gives: silence after the end.
    samples = _sound(data, 20_000)
    padded = np.concatenate((samples, np.zeros(1_280, np.float32)))
    found = stapes.features(model, samples)
    assert len(found) == (20_000 - 240) // 320
    whole = _told(student, padded[: 400 + 160 * 127])
    np.testing.assert_allclose(found, whole[: len(found)], atol=1e-5)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=cuttings)
def test_streams_give_the_same_to_the_bit(streaming: Made, data: Path, cuts: list[int]) -> None:
    model, _ = streaming
    samples = _sound(data, 33_333)
    events = [e for e in feed_in(Stream(model), samples, cuts) if isinstance(e, FeaturesHeard)]
    told = np.concatenate([event.features for event in events])
    np.testing.assert_array_equal(told, stapes.features(model, samples))


def test_the_period_is_a_number_at_run_time(compressing: Made, data: Path) -> None:
    model, student = compressing
    spec = model.spec
    assert (spec.window.mode, spec.states) == ("segment", ())
    samples, counts = _sound(data, 30_000), []
    for period in (20.0, 45.0, 90.0):
        chosen = model.fork(period_ms=period)
        rate = cif.rate_of(period)
        assert inputs_of(chosen.spec) == {"rate": pytest.approx(rate)}
        found = stapes.features(chosen, samples)
        wanted = _told(student, samples, torch.tensor(rate))
        assert abs(len(found) - len(wanted)) <= 1  # int8's weights are a little different
        counts.append(len(found))
        if period == 20:
            alike = np.sum(found * wanted, 1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
            assert alike.mean() > 0.99
    assert counts[0] == 93 > counts[1] > counts[2]


def test_files_say_where_they_come_from(streaming: Made, compressing: Made) -> None:
    told = streaming[0].spec.provenance
    assert told["teacher"] == "a random encoder"
    assert told["data"] == ["talk", "noise"]
    assert "somebody" not in json.dumps(dict(told))
    assert told["export"]["parity"]["real"]["clips"] == 3
    assert "int8" not in told["export"]
    own = compressing[0].spec.provenance["export"]["int8"]
    assert own["measure"] == "cosine to the float student"
    assert own["accuracy_float"] == pytest.approx(1, abs=1e-4)
    assert own["drop_points"] < 0.3
    assert 0 < own["difference"] < 0.1
    assert stapes.onnxfile.verify(compressing[0].path)


def test_judges(streaming: Made, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: cosines of the last layer's head with the teacher's last layer."""
    model, _ = streaming
    found = exportable(checkpoint(STREAMING), data)
    assert found.judge is not None
    assert found.judge(model) == pytest.approx(1, abs=1e-5)
    monkeypatch.setattr(fidelity, "load_teacher", teacher)
    by_teacher = exportable(checkpoint(STREAMING), data, "weights")
    assert by_teacher.measure == "cosine to the teacher"
    assert by_teacher.judge is not None
    head = Pupil(STREAMING, HEADS, 24)
    head.load_state_dict(checkpoint(STREAMING)["model"])
    cosines = []
    for number in (3, 7, 11):
        samples = soundfile.read(data / "talk" / f"{number}.wav", dtype="float32")[0]
        samples = samples[: 400 + 160 * ((1 + (len(samples) - 400) // 160) // 8 * 8 - 1)]
        frames = torch.from_numpy(fbank(samples, FEATURES))[None]
        with torch.inference_mode():
            told = head(frames, torch.tensor([frames.shape[1]])).layers[0, 1]
            taught = teacher()[0].features(torch.from_numpy(samples)[None], (3,))[0][0]
        cosines.append(torch.cosine_similarity(told, taught[: len(told)], dim=-1))
    assert by_teacher.judge(model) == pytest.approx(float(torch.cat(cosines).mean()), abs=1e-5)
    with pytest.raises(ValueError, match="no head stands on the student's last layer"):
        exportable(checkpoint(STREAMING, HeadSpec(students=(1,), teachers=(2,))), data, "weights")
    headless = checkpoint(STREAMING)
    headless["model"] = {k: v for k, v in headless["model"].items() if "head" not in k}
    with pytest.raises(ValueError, match="was not taught the teacher's layers"):
        exportable(headless, data, "weights")


@pytest.mark.parametrize("kind", ["expand-last", "layer-wise"])
def test_heads_on_the_last_layer(kind: Any) -> None:
    """They say of it what the pupil's own say."""
    heads = HeadSpec(kind=kind, students=() if kind == "expand-last" else (2, 1, 2), teachers=(1, 2, 3))
    content = checkpoint(STREAMING, heads)
    pupil = Pupil(STREAMING, heads, 24).eval()
    pupil.load_state_dict(content["model"])
    frames = torch.randn(1, 32, 16)
    head, layers = fidelity.last_heads(load_student(content)[1], content["model"])
    with torch.inference_mode():
        wanted = pupil(frames, torch.tensor([32])).layers[0]
        told = head(pupil.student(frames).states[-1][0])
    chosen = [0, 1, 2] if kind == "expand-last" else [0, 2]
    assert layers == tuple(heads.teachers[i] for i in chosen)
    torch.testing.assert_close(told, wanted[chosen])


def test_states_without_elements_are_none() -> None:
    student = Encoder(replace(STREAMING, history=0, position_kernel=1)).eval()
    module = Streaming(student)
    assert list(module.states.values()) == [(3, 16), (0, 16), (2, 0, 32), (1,)]
    frames = torch.randn(2, 16, 16)
    with torch.inference_mode():
        whole = student(frames).states[-1]
        first, *states = module(frames[:, :8], torch.zeros(2, 3, 16), torch.zeros(2, 1))
        second, *states = module(frames[:, 8:], *states)
    assert len(states) == 2
    torch.testing.assert_close(torch.cat((first, second), 1), whole, atol=1e-5, rtol=1e-5)


def test_what_is_not_exported(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(content: dict[str, Any], *options: str) -> str:
        source, target = tmp_path / "best.pt", tmp_path / "out" / "small.onnx"
        save(source, content)
        assert main([str(source), str(target), *options]) == 1
        assert not list(target.parent.glob("*")) if target.parent.is_dir() else True
        return capsys.readouterr().err

    assert "only a student on Fbank" in fails(checkpoint(replace(SMALL, front="waveform")))
    assert "has dev recordings" in fails(checkpoint(STREAMING), "--data", str(tmp_path))
    wrong = checkpoint(STREAMING)
    del wrong["model"]["student.norm.weight"]
    assert "does not fit" in fails(wrong, "--data", str(data))
    wrong = checkpoint(STREAMING) | {"task": "kws"}
    assert "a teacher judges students" in fails(wrong, "--data", str(data), "--teacher", "x")
