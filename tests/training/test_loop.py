"""The loop learns, repeats itself, goes on after an interruption, and runs in two processes."""

import importlib.util
import json
import math
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from training.average import Average
from training.checkpoint import CheckpointError, read, restore_random_states, save
from training.loop import LoopSpec, _step, fit
from training.optimizer import learning_rate, make_optimizer
from training.recipe import RecipeError

HERE = Path(__file__).parent
SPEC = LoopSpec(
    epochs=4, lr=0.05, accelerator="cpu", precision="32-true", ema_decay=0.9, log_steps=1, threads=1
)


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_task", HERE / "tiny_task.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_task"] = module
    spec.loader.exec_module(module)
    return module


TinyTask = _load().TinyTask


def _state(folder: Path, name: str) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / name, weights_only=True)
    return state


def _assert_same(a: Any, b: Any) -> None:
    """Bit for bit, through nested dicts and lists; wall time and how often to save apart."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a.keys() - {"spent_s", "checkpoint_minutes"}:
            _assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            _assert_same(x, y)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    fit(TinyTask(), SPEC, folder)
    return folder


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_it_learns_and_leaves_its_files(tmp_path: Path, optimizer: Any) -> None:
    metrics = fit(TinyTask(), replace(SPEC, epochs=15, optimizer=optimizer), tmp_path)
    assert metrics["final"]["dev"]["accuracy"] > 0.9
    assert metrics["final"]["loss"] < 0.6 * metrics["history"][0]["loss"]
    assert 0.5 < metrics["final"]["right"] <= 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "best.pt",
        "curves.png",
        "last.pt",
        "metrics.json",
        "recipe.toml",
    ]
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    recipe = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert recipe["loop"]["optimizer"] == optimizer
    best = _state(tmp_path, "best.pt")
    assert best.keys() == {"task", "recipe", "model", "metrics", "provenance"}
    assert best["task"] == "tiny"
    assert best["recipe"] == recipe
    assert best["metrics"] == metrics["best"]["dev"]
    task = TinyTask()
    task.prepare(torch.device("cpu"))
    model = task.model()
    model.load_state_dict(best["model"])
    assert task.evaluate(model.eval()) == best["metrics"]


def test_same_seed_same_result(whole: Path, tmp_path: Path) -> None:
    fit(TinyTask(), SPEC, tmp_path / "same")
    _assert_same(_state(whole, "last.pt"), _state(tmp_path / "same", "last.pt"))
    fit(TinyTask(), replace(SPEC, seed=1), tmp_path / "other")
    other = _state(tmp_path / "other", "last.pt")["module"]["0.weight"]
    assert not torch.equal(other, _state(whole, "last.pt")["module"]["0.weight"])


@pytest.mark.parametrize("minutes", [0.0, 10.0])
@pytest.mark.parametrize("stop", [(0, 3), (2, 0), (2, 3), (3, 4)])
def test_resumed_equals_uninterrupted(
    whole: Path, tmp_path: Path, stop: tuple[int, int], minutes: float
) -> None:
    """With 0 minutes last.pt is written after every step, with 10 only after epochs."""
    spec = replace(SPEC, checkpoint_minutes=minutes)
    with pytest.raises(KeyboardInterrupt):
        fit(TinyTask(stop_at=stop), spec, tmp_path)
    if minutes == 0:
        kept = _state(tmp_path, "last.pt")
        assert (kept["epoch"], kept["step"]) == stop
    metrics = fit(TinyTask(), SPEC, tmp_path)
    _assert_same(_state(whole, "last.pt"), _state(tmp_path, "last.pt"))
    _assert_same(_state(whole, "best.pt"), _state(tmp_path, "best.pt"))
    assert json.loads((whole / "metrics.json").read_text()) == metrics


def test_finished_run_returns_its_result_at_once(whole: Path) -> None:
    metrics = fit(TinyTask(stop_at=(0, 0)), SPEC, whole)
    assert len(metrics["history"]) == 4


def test_other_recipe_is_refused_by_key(whole: Path) -> None:
    with pytest.raises(RecipeError, match=r"other loop\.lr, seed;"):
        fit(TinyTask(seed=1), replace(SPEC, lr=0.1), whole)


def test_resume_false_starts_anew(tmp_path: Path) -> None:
    fit(TinyTask(), replace(SPEC, epochs=1), tmp_path)
    metrics = fit(TinyTask(), replace(SPEC, epochs=2), tmp_path, resume=False)
    assert len(metrics["history"]) == 2


def test_evaluates_every_second_epoch_and_the_last(tmp_path: Path) -> None:
    metrics = fit(TinyTask(), replace(SPEC, epochs=5, evaluate_epochs=2), tmp_path)
    assert [row["epoch"] for row in metrics["history"] if "dev" in row] == [2, 4, 5]


def test_infinite_loss_is_told(tmp_path: Path) -> None:
    task = TinyTask()
    task.loss = lambda model, batch: model(batch[0]).sum() * math.inf
    for minutes in (0.0, 10.0):
        with pytest.raises(FloatingPointError, match="epoch 1"):
            fit(task, replace(SPEC, checkpoint_minutes=minutes), tmp_path)
        assert not (tmp_path / "last.pt").exists()  # nothing to go on from


def test_too_few_batches_are_told(tmp_path: Path) -> None:
    task = TinyTask()
    task.batches = lambda *_: [task.points(1)]
    with pytest.raises(ValueError, match="promised 5 batches an epoch and gave 1"):
        fit(task, SPEC, tmp_path)


def test_bf16_runs_on_the_cpu(tmp_path: Path) -> None:
    metrics = fit(TinyTask(), replace(SPEC, epochs=2, precision="bf16-mixed"), tmp_path)
    assert math.isfinite(metrics["final"]["loss"])


def test_two_processes_end_with_the_same_weights(tmp_path: Path) -> None:
    """Started as a user would; Fabric starts the second process itself."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "LOCAL_RANK", "MASTER_"))}
    env |= {"PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE / "tiny_task.py"), str(tmp_path)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = _state(tmp_path, "rank0.saved"), _state(tmp_path, "rank1.saved")
    for name, weight in first["weights"].items():
        if "running" not in name:  # each process' BatchNorm saw its own points
            assert torch.equal(weight, second["weights"][name])
        assert torch.isfinite(weight).all()
    assert first["result"] == second["result"]
    random = _state(tmp_path, "last.pt")["random"][0]
    assert random.shape[0] == 2
    assert not torch.equal(random[0], random[1])


def test_each_process_gets_its_own_generator_back() -> None:
    states = torch.stack([torch.Generator().manual_seed(seed).get_state() for seed in range(3)])
    for rank in range(3):
        place: Any = SimpleNamespace(device=torch.device("cpu"), global_rank=rank)
        restore_random_states(place, [states])
        assert torch.equal(torch.rand(5), torch.rand(5, generator=torch.Generator().manual_seed(rank)))


def test_learning_rate_rises_then_falls() -> None:
    spec = LoopSpec(epochs=3, lr=1.0, warmup_epochs=1)
    rates = [learning_rate(spec, step, 4) for step in range(12)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 8)) for k in range(8)])
    assert learning_rate(replace(spec, schedule="constant"), 11, 4) == 1.0


def test_norms_and_biases_do_not_decay() -> None:
    model = nn.Sequential(nn.Conv1d(3, 4, 5), nn.BatchNorm1d(4), nn.LayerNorm((4, 6)), nn.Linear(6, 2))
    decayed, undecayed = make_optimizer(model, LoopSpec()).param_groups
    assert [p.shape for p in decayed["params"]] == [(4, 3, 5), (2, 6)]
    assert len(undecayed["params"]) == 6
    assert (decayed["weight_decay"], undecayed["weight_decay"]) == (0.01, 0.0)


def test_shares_of_the_learning_rate_go_by_name() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = [p.detach().clone() for p in model.parameters()]
    spec = LoopSpec(lr=0.1, shares={"0.": 0.5, "0.bias": 0.1}, optimizer="sgd", momentum=0.0, weight_decay=0)
    optimizer = make_optimizer(model, spec)
    assert [(g["share"], len(g["params"])) for g in optimizer.param_groups] == [
        (1.0, 1), (1.0, 1), (0.5, 1), (0.1, 1)
    ]  # fmt: skip

    class Once:
        @staticmethod
        def loss(module: nn.Module, batch: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(module(batch).sum())

    fabric = Fabric(accelerator="cpu", devices=1)
    batch = torch.tensor([[1.0, 2.0]])
    gradients = torch.autograd.grad(model(batch).sum(), list(model.parameters()))
    wrapped, optimizers = fabric.setup(model, optimizer)
    _step(fabric, Once(), wrapped, optimizers, batch=batch, rate=0.2, clip_norm=0)  # type: ignore[arg-type]
    for share, old, gradient, new in zip(
        (0.5, 0.1, 1, 1), before, gradients, model.parameters(), strict=True
    ):
        torch.testing.assert_close(new, old - 0.2 * share * gradient)
    with pytest.raises(RecipeError, match=r"loop\.shares: no weight's name begins with 'nothing'"):
        make_optimizer(model, replace(spec, shares={"nothing": 0.5}))
    with pytest.raises(RecipeError, match="must be positive, got 0"):
        LoopSpec(shares={"a": 0})


def test_average_against_the_formula() -> None:
    """w_n = w_(n-1) + (1 - d_n) (x_n - w_(n-1)), d_n = min(decay, (1 + n) / (10 + n))."""
    model = nn.BatchNorm1d(1)
    average = Average(model, 0.3)
    weight, mean = 1.0, 0.0
    for n in range(8):
        with torch.no_grad():
            model.weight.fill_(n)
        model(torch.full((2, 1), float(n)))
        average.update(model)
        keep = min(0.3, (1 + n) / (10 + n))
        weight += (1 - keep) * (n - weight)
        mean += (1 - keep) * (float(model.running_mean[0]) - mean)  # type: ignore[index]
    assert float(average.module.weight[0]) == pytest.approx(weight, rel=1e-6)  # type: ignore[index]
    assert float(average.module.running_mean[0]) == pytest.approx(mean, rel=1e-6)  # type: ignore[index]
    assert int(average.module.num_batches_tracked) == 8  # type: ignore[arg-type]
    assert not average.module.training


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"lr": 0.0}, {"momentum": 1.0}, {"clip_norm": -1.0}, {"ema_decay": 1.0}]
)
def test_impossible_settings_are_named(change: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(change))):
        LoopSpec(**change)


def test_a_new_start_averages_none_of_the_old_runs_epochs(tmp_path: Path) -> None:
    spec = replace(SPEC, epochs=2, keep_best=3)
    fit(TinyTask(), spec, tmp_path / "clean")
    fit(TinyTask(seed=1), replace(spec, epochs=4), tmp_path / "used")
    fit(TinyTask(), spec, tmp_path / "used", resume=False)
    _assert_same(
        _state(tmp_path / "used", "best.pt")["model"], _state(tmp_path / "clean", "best.pt")["model"]
    )
    assert sorted(path.stem for path in (tmp_path / "used/kept").iterdir()) == ["1", "2"]


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save(path, {"w": torch.zeros(100)})
    whole = path.read_bytes()
    for content in (b"", b"nonsense", whole[:40], whole[: len(whole) // 2], bytes(3) + whole):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"last\.pt is not a readable checkpoint"):
            read(path)
        with pytest.raises(CheckpointError, match=r"last\.pt"):
            fit(TinyTask(), SPEC, tmp_path)
    torch.save([1], path)
    with pytest.raises(CheckpointError, match="holds a list"):
        read(path)
