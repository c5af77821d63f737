"""From a data folder to a model file that the runtime loads, by the commands a user types."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kws.__main__ import main
from kws.clips import KEYWORDS
from stapes.model import Model

RATE = 16_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones for words: each class its own pitch, so that something can be learnt in seconds."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    rows = []
    for split, copies in (("train", 4), ("dev", 1), ("test", 1)):
        for index, word in enumerate((*KEYWORDS, "marvin")):
            for copy in range(copies):
                tone = 0.3 * np.sin(2 * np.pi * (300 + 250 * index) * time) * (np.abs(time - 0.5) < 0.25)
                path = root / "words" / word / f"{split}{copy}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, tone + 0.001 * rng.standard_normal(RATE), RATE)
                rows.append(
                    {
                        "audio": f"{word}/{path.name}",
                        "label": word,
                        "split": split,
                        "speaker": f"{split}{copy}",
                    }
                )
    (root / "words/manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for folder in ("hum", "talk"):
        (root / folder).mkdir()
        soundfile.write(root / folder / "a.wav", 0.05 * rng.standard_normal(4 * RATE), RATE)
        line = {"audio": "a.wav", "label": "", "split": "train", "speaker": "a", "duration": 4.0}
        (root / folder / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    return root


@pytest.mark.slow
def test_train_export_load(data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        'name = "tiny"\nepoch_clips = 256\n'
        '[data]\nmain = "words"\nrunning = ["talk"]\nnoise = ["hum"]\nvariants = 2\nrooms = 4\n'
        "[network.graph_tcn]\nstem = 4\nwidth = 16\ndilations = [1]\n"
        '[loop]\nepochs = 2\nbatch = 32\noptimizer = "sgd"\nlr = 0.05\nwarmup_epochs = 0.5\nthreads = 1\n'
    )
    out = tmp_path / "run"
    cache = tmp_path / "cache"
    command = ["train", str(recipe), "--data", str(data), "--out", str(out), "--cache", str(cache)]
    assert main([*command, "--set", "loop.seed=3"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    losses = [row["loss"] for row in metrics["history"]]
    assert losses[1] < losses[0]
    assert (out / "curves.png").stat().st_size > 5000
    assert "seed = 3" in (out / "recipe.toml").read_text()

    model_file = tmp_path / "tiny.onnx"
    done = subprocess.run(
        [sys.executable, "-m", "export", str(out / "best.pt"), str(model_file), "--data", str(data)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    model = Model.load(model_file)
    assert model.spec.name == "tiny"
    assert model.spec.window.mode == "stateful"
    assert model.spec.provenance["recipe"]["loop"]["seed"] == 3
    assert model(np.zeros((10, 40), np.float32)).shape == (1, 12)


def test_faults_are_sentences(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "bad.toml"
    recipe.write_text("[loop]\nepoch = 3\n")
    assert main(["train", str(recipe), "--data", str(data)]) == 1
    assert "loop.epoch" in capsys.readouterr().err
    recipe.write_text('[data]\nmain = "nowhere"\n')
    out = str(tmp_path / "run")
    assert (
        main(["train", str(recipe), "--data", str(data), "--out", out, "--cache", str(tmp_path / "c")]) == 1
    )
    assert "nowhere" in capsys.readouterr().err


def test_a_missing_teacher_is_told_before_the_data_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Features of hours of sound take long to compute; here the data folder is empty."""
    teacher = 'distillation.checkpoints=["no-teacher.pt"]'
    out = str(tmp_path / "out")
    recipe = str(Path(__file__).parents[2] / "kws/recipes/kws.toml")
    arguments = [recipe, "--data", str(tmp_path), "--out", out, "--set", teacher]
    assert main(["train", *arguments]) == 1
    assert "No such file or directory: 'no-teacher.pt'" in capsys.readouterr().err
