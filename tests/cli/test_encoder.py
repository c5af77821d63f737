"""What the commands make of a model that gives features."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest

import stapes
from stapes.cli import main
from tests.tools import needs, tiny_encoder
from tests.tools.signals import words


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(tiny_encoder.write(tmp_path, "streaming"))


@pytest.fixture
def wav(tmp_path: Path) -> str:
    path = tmp_path / "words.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes((words() * 32767).astype("<i2").tobytes())
    return str(path)


def test_run(model: str, wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", wav, "--models", model, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    samples, rate = stapes.sources.read(wav)
    found = stapes.features(stapes.Model.load(model), samples, rate)
    assert [line["event"] for line in lines] == ["FeaturesHeard"] * len(lines)
    assert all({"event", "at", "seconds", "model", "features", "period_ms", "file"} == set(x) for x in lines)
    told = np.concatenate([line["features"] for line in lines])
    np.testing.assert_allclose(told, found, atol=5.1e-5)
    assert main(["run", wav, "--models", model]) == 0
    assert (
        capsys.readouterr().out.splitlines()[0]
        == "  0:00.10  FeaturesHeard  4 × 16  every 20 ms  [streaming]"
    )


def test_run_draws_no_features(model: str, wav: str, tmp_path: Path) -> None:
    needs.package("matplotlib", "draw")
    assert main(["run", wav, "--models", model, "--plot", str(tmp_path / "out.png")]) == 0
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"


def test_score(model: str, wav: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", model, wav, "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["file"], line["period_ms"], np.shape(line["features"])) == (wav, 20.0, (264, 16))
    assert main(["score", model, wav]) == 0
    assert capsys.readouterr().out == f"{wav}  264 × 16, every 20 ms\n"
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps({"audio": "words.wav", "label": "x"}))
    assert main(["score", model, "--manifest", str(manifest)]) == 1
    assert "streaming gives features, which are neither right nor wrong" in capsys.readouterr().err


def test_info(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", model]) == 0
    told = capsys.readouterr().out
    assert "gives      16 features a step\n" in told
    assert "labels" not in told
    assert "step_frames: 2" in told
    assert main(["info", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "encoder"
