"""The twelve-class protocol on sounds whose class is known, and what the commands say of faults."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kws.__main__ import main
from kws.clips import Clip, DataError
from kws.evaluate import AUDIBLE, chosen, rate_of, stream_table
from kws.negatives import trained_on
from kws.operating_point import OperatingPoint
from stapes.spec import FbankSpec, ModelSpec, WindowSpec
from tests.kws.test_calibrate import RATE, folder_of, model_file, quiet, tone

WORDS = [("no", True)] * 6 + [("go", False)] * 4 + [("bed", True)] * 9


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows: list[dict[str, object]] = [{"label": word, "split": "test"} for word, _ in WORDS]
    folder_of(tmp_path / "speech_commands", rows, [tone(low, 0.8) for _, low in WORDS])
    hiss = 0.02 * np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    hiss[RATE : 2 * RATE] = 0
    rows = [{"label": "rain", "split": "test"}, {"label": "rain", "split": "train"}]
    folder_of(tmp_path / "noise", rows, [hiss, hiss])
    return tmp_path


@pytest.mark.parametrize(("right", "n"), [(0, 3), (7, 7), (830, 871), (68, 74)])
def test_interval_is_wilsons(right: int, n: int) -> None:
    z, p = 1.959963984540054, right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert rate_of(right, n)["interval"] == pytest.approx([centre - half, centre + half], abs=1e-6)


def test_silence_and_unknown_are_as_many_as_a_keyword(data: Path) -> None:
    def clip(name: str, label: str) -> Clip:
        return Clip(data / name, label, "test", "")

    words = [clip(f"speech_commands/{i}.wav", word) for i, (word, _) in enumerate(WORDS)]
    noise = [clip("noise/0.wav", "rain"), clip("noise/1.wav", "rain")]
    cuts, wanted = chosen(words, ["no", "go"], noise, RATE, seed=3)
    assert wanted == 5
    counts = {
        label: sum(cut.label == label for cut in cuts) for label in ("no", "go", "_unknown_", "_silence_")
    }
    assert counts == {"no": 6, "go": 4, "_unknown_": 5, "_silence_": 5}
    silences = [cut for cut in cuts if cut.label == "_silence_"]
    assert len({(cut.clip.audio, cut.start) for cut in silences}) == 5  # no second twice
    for cut in silences:
        samples = cut.read(RATE)
        assert len(samples) == RATE
        assert np.sqrt(np.mean(samples**2.0)) >= AUDIBLE
    assert chosen(words, ["no", "go"], noise, RATE, seed=3)[0] == cuts
    assert chosen(words, ["no", "go"], noise, RATE, seed=4)[0] != cuts
    with pytest.raises(DataError, match="no noise"):
        chosen(words, ["no", "go"], [], RATE, seed=0)
    with pytest.raises(DataError, match="no keywords"):
        chosen(words, ["yes"], noise, RATE, seed=0)


def test_the_command_counts_and_says_what_is_short(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(data / "chat", [{"split": "test", "text": "no"}], [np.concatenate((quiet(1), tone(True, 0.9)))])
    report = data / "report/evaluation.json"
    command = ["evaluate", str(model_file(data)), "--data", str(data), "--report", str(report)]
    assert main([*command, "--negatives", "chat"]) == 0
    figures = json.loads(report.read_text())
    # "bed" is a low tone, so the tiny model takes it for "no"; three seconds of the test noise can be heard.
    assert figures["n"] == 10 + 5 + 3
    assert figures["classes"]["no"]["right"] == 6
    assert figures["classes"]["go"]["right"] == 4
    assert figures["confusion"]["_unknown_"] == {"no": 5}
    assert figures["right"] == sum(row["right"] for row in figures["classes"].values())
    assert figures["stream"]["conditions"].keys() == {"speech", "noisy speech", "noise"}
    assert figures["stream"]["conditions"]["speech"]["false_accepts"] == 0  # its text says "no"
    assert figures["stream"]["hours"] == pytest.approx((2 * 1.9 + 4) / 3600, abs=1e-3)
    told = capsys.readouterr().out
    assert "only 3 of _silence_ where 5 were wanted" in told
    assert "| no | 6 | 100.0 % (" in told
    assert "| noisy speech | 0.00 |" in told


def test_noise_that_was_trained_on_is_no_silence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model_file(data, trained={"main": "speech_commands", "noise": ["noise"]})
    (data / "noise/manifest.jsonl").write_text('{"audio": "1.wav", "label": "rain", "split": "train"}\n')
    assert main(["evaluate", str(path), "--data", str(data)]) == 1
    assert "no noise that the model was not trained on" in capsys.readouterr().err


def test_every_fault_is_one_line(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(model_file(data))
    text = data / "text.onnx"
    text.write_text("no model")
    (data / "speech_commands/0.wav").write_text("no sound")
    for command in (
        ["evaluate", str(text), "--data", str(data)],  # ModelFileError
        ["evaluate", model, "--data", str(data)],  # AudioError
        ["evaluate", model, "--data", str(data / "nowhere")],  # DataError
        ["calibrate", str(data), str(data / "out.onnx"), "--data", str(data)],  # OSError
        ["mine", model, str(data / "out"), "--data", str(data), "--running", "chat"],  # DataError
    ):
        assert main(command) == 1, command
        told = capsys.readouterr().err
        lines = [line for line in told.splitlines() if line.startswith("python -m kws: ")]
        assert len(lines) == 1, told
        assert "Traceback" not in told
        assert told.rstrip().endswith(lines[0])


def test_a_loss_that_is_no_number_is_one_line(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverged(*_: object, **__: object) -> None:
        raise FloatingPointError("the loss is nan in epoch 1")

    monkeypatch.setattr("training.command.fit", diverged)
    recipe = data / "a.toml"
    recipe.write_text('name = "a"\n')
    assert main(["train", str(recipe), "--data", str(data), "--out", str(data / "run")]) == 1
    assert capsys.readouterr().err == "python -m kws: the loss is nan in epoch 1\n"


def test_without_other_sound_there_is_no_rate() -> None:
    lines = stream_table(OperatingPoint(keywords=Counter({"yes": 2}), found=Counter({"yes": 1})).figures())
    assert "| all | 0.00 | 0 | – | – |" in lines.splitlines()
    assert lines.endswith("Announced: 50.0 % of 2 keywords: yes 50 %.")


def test_a_model_of_another_task_is_refused() -> None:
    spec = ModelSpec(
        name="tongues",
        task="dialect_id",
        features=FbankSpec(),
        window=WindowSpec(frames=100, hop=10, mode="sliding"),
        labels=("a", "b"),
    )
    with pytest.raises(DataError, match="tongues is a model of the task 'dialect_id'"):
        trained_on(spec)
