"""Comparing students: the table's figures by hand, and the command, which resumes."""

import json
from pathlib import Path

import numpy as np
import pytest

from asr.distill import compare
from asr.distill import task as task_module
from asr.distill.__main__ import main
from asr.distill.comparison_table import table
from asr.distill.downstream import draws
from asr.distill.task import load_student
from tests.asr.distill.speech import teacher, write_speech
from training.checkpoint import read
from training.comparison import keep
from training.encoder.network import Encoder, parameters
from training.recipe import RecipeError, build, load

SHIPPED = Path(compare.__file__).parent / "recipes/compare.toml"
STUDENT = (
    "student = { FRONTmels = 16, layers = 2, width = 16, inner = 16, heads = 2, position_kernel = 4, "
    "position_groups = 2 }\nheads = { students = [1, 2], teachers = [1, 3], units = 'UNITS' }\n"
)
RECIPE = f"""
random = ["fbank"]
pairs = [["waveform", "fbank"], ["fbank", "random-fbank"]]
[students.fbank]
units = 0.5
{STUDENT.replace("FRONT", "").replace("UNITS", "linear")}
[students.waveform]
{STUDENT.replace("FRONT", "front = 'waveform', front_channels = 8, ").replace("UNITS", "none")}
[probes.letters]
folder = "talk"
answer = "label"
seeds = 2
epochs = 1
[probes.talk]
folder = "talk"
answer = "text"
parts = [1, 3]
seeds = 1
epochs = 1
[finetune]
parts = [3]

[finetune.recipe]
folder = "talk"
batch_s = 3.0
epoch_steps = 1
[finetune.recipe.loop]
epochs = 1
ema_decay = 0.0
accelerator = "cpu"
[shared]
epoch_steps = 1
features = {{ mels = 16 }}
student = {{ mels = 16 }}
speech = {{ folders = ["talk"], noise = ["noise"], crop_s = 1.0, batch_s = 3.0 }}
teaching = {{ front_steps = 1, clusters = 4 }}
[shared.loop]
epochs = 2
accelerator = "cpu"
ema_decay = 0.0
threads = 1
"""


def test_tables_by_hand(tmp_path: Path) -> None:
    """Two speakers, of 4 and of 2 clips; texts of 10 words and 20 characters."""
    right = {"a": [[3, 4], [0, 2]], "b": [[4, 4], [1, 2]]}
    for name, tallies in right.items():
        (tmp_path / f"{name}-0").mkdir()
        texts = [{"wer": 0.2, "tallies": [[2, 10, 1, 20], [wrong, 10, 3, 20]]} for wrong in (2, 4)]
        labels = [{"accuracy": 0.0, "tallies": tallies}]
        about = {"parameters": 1_500_000, "dev": {"cosine": 0.5}}
        keep(tmp_path / f"{name}-0", about | {"judged": {"letters": labels, "talk, 1/3": texts}})
    lines = table(tmp_path, ["a", "b", "c"], [("b", "a"), ("a", "c")]).splitlines()
    assert lines[2] == "| a | 1.50 M | 1 | 0.500 |"
    assert lines[5] == "|  | letters: accuracy % |"
    # speakers drawn alone are the ends of the intervals: 3 of 4 and 0 of 2; 4 of 4 and 1 of 2
    assert lines[7:9] == ["| a | 50.0 (0.0 to 75.0) |", "| b | 83.3 (50.0 to 100.0) |"]
    drawn = draws(2)
    assert {tuple(sorted(draw)) for draw in drawn.tolist()} == {(0, 0), (0, 1), (1, 1)}
    # b has one more of either: 1/4, 2/6 or 1/2 more
    assert lines[9] == "| b less a | +33.3 (+25.0 to +50.0) |"
    # seeds: 4 and 6 of 20 words, their mean 25 %; speaker 1 alone 20 %, speaker 2 alone 20 % and 40 %
    assert lines[13].startswith("| a | 25.0 (20.0 to 30.0) | 10.0 (5.0 to 15.0) |")
    assert lines[15] == "| b less a | +0.0 (+0.0 to +0.0) | +0.0 (+0.0 to +0.0) |"
    assert len(lines) == 16
    assert set(json.loads((tmp_path / "table.json").read_text())) == {"a", "b"}


def test_compares_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_speech(tmp_path)
    monkeypatch.setattr(task_module, "load_teacher", teacher)
    recipe, out = tmp_path / "compare.toml", tmp_path / "out"
    recipe.write_text(RECIPE)
    command = ["compare", str(recipe), "--data", str(tmp_path), "--cache", str(tmp_path / "cache")]
    command += ["--out", str(out)]
    assert main([*command, "--only", "waveform"]) == 0
    assert "random-fbank" not in capsys.readouterr().out
    made = (out / "waveform-0/test.json").stat().st_mtime_ns
    assert main(command) == 0
    told = capsys.readouterr().out
    for row in ("| fbank | 0.01 M | 1 |", "| random-fbank | 0.01 M | 1 |  |", "| waveform less fbank | "):
        assert row in told
    assert (out / "waveform-0/test.json").stat().st_mtime_ns == made
    figures = json.loads((out / "fbank-0/test.json").read_text())
    assert {key: len(seeds) for key, seeds in figures["judged"].items()} == {
        "letters": 2, "talk": 1, "talk, 1/3": 1, "fine-tuned, 1/3": 1,
    }  # fmt: skip
    assert [len(each["tallies"]) for each in figures["judged"]["talk"]] == [3]  # speakers
    taught, random = (load_student(read(out / f"{name}-0/best.pt"))[0] for name in ("fbank", "random-fbank"))
    np.testing.assert_array_equal(taught.get_buffer("front.mean"), random.get_buffer("front.mean"))
    assert (taught.front.project.weight != random.front.project.weight).any()
    # a judgement that is missing is made, nothing else
    del figures["judged"]["letters"]
    (out / "fbank-0/test.json").write_text(json.dumps(figures))
    assert main(command) == 0
    assert capsys.readouterr().out.count("\n") == told.count("\n")
    assert "letters" in json.loads((out / "fbank-0/test.json").read_text())["judged"]
    for name in ("fbank", "random-fbank"):  # a student and its network untaught have changed
        assert main([*command, "--set", "students.fbank.student.inner=24"]) == 1
        assert f"{name}-0 has figures of a run with other student.inner" in capsys.readouterr().err
        (out / f"{name}-0/test.json").unlink()
    assert main([*command, "--only", "nobody"]) == 1
    assert "nobody" in capsys.readouterr().err


def test_shipped_recipe_compares_equal_sizes() -> None:
    comparison = load(compare.Comparison, SHIPPED)
    sizes = {name: parameters(Encoder(comparison.recipe(name, 0).student)) for name in comparison.names}
    assert max(sizes.values()) < 1.06 * min(sizes.values())
    fbank, alone = comparison.recipe("fbank", 1), comparison.recipe("regression", 1)
    assert (fbank.teaching.units, alone.teaching.units, alone.heads.units) == (0.5, 0.0, "none")
    assert comparison.recipe("random-fbank", 1).student == fbank.student
    assert fbank.loop.seed == 1
    with pytest.raises(RecipeError, match="no student dmsc"):
        build(compare.Comparison, {"random": ["dmsc"]})
