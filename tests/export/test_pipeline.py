"""From a checkpoint to a file, and every way in which no file may appear."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from export.__main__ import main
from export.checkpoint import TASKS
from export.errors import AccuracyError, ExportError, ParityError
from export.parity import runner
from export.pipeline import export
from export.quantise import LARGEST_DROP, quantise, refuse_drop
from stapes.fbank import fbank
from stapes.model import Model
from stapes.onnxfile import read_spec, verify


def test_command_writes_a_checked_file(
    task: Any, small: ModuleType, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "models" / "small.onnx"
    assert main([str(checkpoint), str(out)]) == 0
    printed = capsys.readouterr().out
    for part in ("after simplification", "parity on random features", "3 recordings", "opset 20", "1 Conv"):
        assert part in printed
    verify(out)
    spec = read_spec(out)
    assert replace(spec, provenance={}) == task.spec
    assert spec.provenance["recipe"]["network"]["kind"] == "small"
    assert spec.provenance["metrics"] == {"accuracy": 0.5}
    assert spec.provenance["data"] == ["tones"]
    own = spec.provenance["export"]
    assert own["opset"] == 20
    assert own["versions"]["torch"] == torch.__version__.split("+")[0]
    assert own["versions"]["onnx"] == onnx.__version__
    assert 0 < own["parity"]["real"]["scores"] < 1e-4
    assert own["parity"]["real"]["clips"] == 3
    model = Model.load(out)
    frames = fbank(small.clips()[0], small.FEATURES)[:96]
    with torch.inference_mode():
        states = (torch.zeros(1, 2, 8), torch.zeros(1, 4, 16))
        wanted = small.built(small.Stateful)(torch.from_numpy(frames[None]), *states)[0][0]
    np.testing.assert_allclose(runner(model)(frames), wanted.numpy(), atol=1e-5)
    assert sorted(path.name for path in out.parent.iterdir()) == ["small.onnx"]
    graph_benchmark(out, capsys)


def graph_benchmark(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Here, because exports are slow: the per-operator times of the file just written."""
    script = Path(__file__).parents[2] / "benchmarks" / "graph.py"
    spec = importlib.util.spec_from_file_location("graph_benchmark", script)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["graph_benchmark"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main([str(path), "--runs", "20", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 4
    assert found["median_us"] > 0
    assert {row["operator"] for row in found["operators"]} >= {"Softmax", "Concat"}
    assert sum(row["nodes"] for row in found["operators"]) == len(found["nodes"])
    module.main([str(path), "--runs", "20", "--top", "3"])
    assert "4 frames a call" in capsys.readouterr().out


def fails(checkpoint: Path, out: Path, *options: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs the command, which must fail and leave nothing; gives what it said."""
    assert main([str(checkpoint), str(out), *options]) == 1
    assert not out.exists()
    assert not out.parent.is_dir() or [p for p in out.parent.iterdir() if ".onnx" in p.name] == []
    return capsys.readouterr().err


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "small.onnx"


def test_module_that_exports_differently(
    task: Any, small: ModuleType, checkpoint: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task.module = lambda: small.built(small.Deceitful)
    assert "module and graph differ by" in fails(checkpoint, out, capsys=capsys)


def test_older_file_survives_a_failure(task: Any, checkpoint: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.onnx"
    old.write_bytes(b"the old one")
    task.clips = list
    with pytest.raises(ExportError, match="no real audio"):
        export(checkpoint, old)
    assert old.read_bytes() == b"the old one"
    assert [path.name for path in tmp_path.iterdir() if "onnx" in path.name] == ["old.onnx"]


@pytest.mark.parametrize(
    "damage", ["cut", "text", "empty", "list", "no task", "no model", "weights missing", "code"]
)
def test_bad_checkpoints(
    task: Any, checkpoint: Path, out: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    del task
    data = checkpoint.read_bytes()
    content = torch.load(checkpoint, weights_only=True)
    if damage == "cut":
        checkpoint.write_bytes(data[: len(data) // 2])
    elif damage == "text":
        checkpoint.write_text("this is no checkpoint")
    elif damage == "empty":
        checkpoint.write_bytes(b"")
    elif damage == "list":
        torch.save([1, 2], checkpoint)
    elif damage == "weights missing":
        del content["model"]["conv.weight"]
        torch.save(content, checkpoint)
    elif damage == "code":
        torch.save(content | {"recipe": Path("/")}, checkpoint)  # only code could rebuild a Path
    else:
        del content[damage.removeprefix("no ")]
        torch.save(content, checkpoint)
    said = fails(checkpoint, out, capsys=capsys)
    assert {"no task": "'task' is missing", "no model": "'model' is missing"}.get(
        damage, "checkpoint"
    ) in said


def test_checkpoint_that_is_not_there(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "none.pt" in fails(tmp_path / "none.pt", out, capsys=capsys)


@pytest.mark.parametrize("name", ["os", "kws.exporting", "", 3])
def test_unknown_task(checkpoint: Path, out: Path, name: Any, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(torch.load(checkpoint, weights_only=True) | {"task": name}, checkpoint)
    assert f"task is {name!r}, known are {', '.join(TASKS)}" in fails(checkpoint, out, capsys=capsys)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(
    task: Any, checkpoint: Path, out: Path, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    del task
    content = torch.load(checkpoint, weights_only=True)
    content["model"]["norm.running_var"][3] = value
    torch.save(content, checkpoint)
    assert "'norm.running_var' is not finite in 1 of 16" in fails(checkpoint, out, capsys=capsys)


def test_folder_that_cannot_be_written(
    task: Any, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del task
    (tmp_path / "file").write_text("in the way")
    fails(checkpoint, tmp_path / "file" / "small.onnx", capsys=capsys)


def test_name_that_is_no_onnx(
    task: Any, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del task
    assert "must end in .onnx" in fails(checkpoint, tmp_path / "small.bin", capsys=capsys)


def test_int8_is_smaller_and_as_good(
    task: Any, checkpoint: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(checkpoint), str(out), "--int8"]) == 0
    printed = capsys.readouterr().out
    assert "dev accuracy 100.00 % float" in printed
    found = read_spec(out).provenance["export"]["int8"]
    assert found["drop_points"] < LARGEST_DROP
    assert found["calls"] == 8 * 24
    assert 0 < found["difference"] < 0.02
    kinds = {node.op_type for node in onnx.load(out).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    weights = [
        w
        for w in onnx.load(out).graph.initializer
        if w.data_type == onnx.TensorProto.INT8 and len(w.dims) > 1
    ]
    assert len(weights) == 2
    assert task.spec.states == read_spec(out).states


def test_int8_that_costs_accuracy(
    task: Any, checkpoint: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task.calibration_gain = 300.0  # ranges so wide that all of real speech falls into one step
    said = fails(checkpoint, out, "--int8", capsys=capsys)
    assert "int8 drops dev accuracy by" in said


@pytest.mark.parametrize("exported", ["Stateful"], indirect=True)
def test_int8_without_recordings(exported: Any, tmp_path: Path) -> None:
    _, spec, folder, *_ = exported
    with pytest.raises(ExportError, match="no recordings to calibrate int8 on"):
        quantise(folder / "after.onnx", tmp_path / "int8.onnx", spec, [np.zeros((3, 8), np.float32)])


@pytest.mark.parametrize(("quantised", "drop"), [(0.9, 0.0), (0.8971, 0.29), (0.95, -5.0)])
def test_small_drops_pass(quantised: float, drop: float) -> None:
    assert refuse_drop(0.9, quantised) == pytest.approx(drop)


@pytest.mark.parametrize("quantised", [0.8969, 0.5, float("nan")])
def test_larger_drops_do_not(quantised: float) -> None:
    with pytest.raises(AccuracyError, match="points"):
        refuse_drop(0.9, quantised)


def test_errors_are_of_one_family() -> None:
    assert issubclass(ParityError, ExportError)
    assert issubclass(AccuracyError, ExportError)
