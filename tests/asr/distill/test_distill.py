"""Distillation through the training loop: both front ends, both stages, compression, and what is kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.distill import task as task_module
from asr.distill.recipe import DistillRecipe
from asr.distill.task import DistillTask, load_student
from tests.asr.distill.speech import teacher, write_speech
from training.checkpoint import read
from training.loop import fit
from training.recipe import RecipeError, build, load

RECIPES = Path(task_module.__file__).parent / "recipes"
TINY = {
    "epoch_steps": 4,
    "speech": {"folders": ["talk"], "noise": ["noise"], "crop_s": 0.6, "batch_s": 3.0},
    "features": {"mels": 16},
    "student": {
        "mels": 16, "layers": 2, "width": 16, "inner": 16, "heads": 2,
        "position_kernel": 4, "position_groups": 2, "dropout": 0.0,
    },
    "heads": {"students": [1, 2], "teachers": [2, 3], "units": "linear"},
    "teaching": {"units": 0.5, "clusters": 8, "front_steps": 4},
    "loop": {"epochs": 3, "lr": 0.01, "warmup_epochs": 0.0, "ema_decay": 0.0, "accelerator": "cpu"},
}  # fmt: skip


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("speech")
    write_speech(root)
    return root


def _recipe(**changes: dict[str, object]) -> DistillRecipe:
    return build(DistillRecipe, TINY | {k: TINY.get(k, {}) | v for k, v in changes.items()})  # type: ignore[operator]


@pytest.mark.parametrize("front", ["fbank", "waveform"])
def test_two_stages(front: str, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_module, "load_teacher", teacher)
    recipe = _recipe(student={"front": front, "front_channels": 16})  # 512 take long
    task = DistillTask(recipe, speech, speech / "cache")
    metrics = fit(task, recipe.loop, tmp_path / "run")
    history = metrics["history"]
    assert "front" in history[0]  # the first epoch is stage 1
    assert history[2]["dev"]["cosine"] > history[0]["dev"]["cosine"]
    checkpoint = read(tmp_path / "run" / "best.pt")
    assert checkpoint["provenance"]["teacher"] == "a random encoder"
    student, again = load_student(checkpoint)
    assert again == recipe
    assert not [name for name in student.state_dict() if "head" in name]
    batch = next(iter(task.batches(1, 0, 1)))
    states = student(batch.inputs, batch.lengths).states
    assert states[-1].shape[:2] == batch.targets.shape[:2]
    more = DistillTask(replace(recipe, init=str(tmp_path / "run/best.pt")), speech, speech / "cache")
    more.prepare(torch.device("cpu"))
    begun = more.model().state_dict()
    for name, weight in checkpoint["model"].items():
        torch.testing.assert_close(begun[name], weight)


@pytest.mark.parametrize("rate_ms", [20, 40])
def test_a_student_in_chunks_leaves_out_half_a_frame(
    rate_ms: int, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_module, "load_teacher", teacher)
    recipe = _recipe(
        student={"chunk": 4, "history": 8},
        teaching={"rate_ms": rate_ms},
        speech={"crop_s": 0.61},  # 59 frames of 10 ms
    )
    metrics = fit(DistillTask(recipe, speech, speech / "cache"), recipe.loop, tmp_path / "run")
    assert metrics["history"][2]["dev"]["cosine"] > metrics["history"][0]["dev"]["cosine"]


@pytest.mark.parametrize(("rate_ms", "front_steps"), [(20, 0), (40, 4)])
def test_compression_learns_its_rate(
    rate_ms: int, front_steps: int, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a teacher's frames of 40 ms, each of which is taught twice."""
    monkeypatch.setattr(task_module, "load_teacher", teacher)
    teaching = {"guidance": 1.0, "front_steps": front_steps, "rate_ms": rate_ms}
    recipe = _recipe(student={"compress": True}, teaching=teaching)
    task = DistillTask(recipe, speech, speech / "cache")
    metrics = fit(task, recipe.loop, tmp_path / "run")
    targets = next(iter(task.batches(1, 0, 1))).targets
    alike = torch.equal(targets[:, 0:10:2], targets[:, 1:10:2])
    assert alike == (rate_ms == 40)
    assert metrics["history"][-1]["alpha"] == pytest.approx(2 / 9, abs=0.1)
    assert np.isfinite(metrics["history"][-1]["loss"])


def test_targets_are_the_crops(speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crop's targets are the teacher's frames of the same samples, but for what its edges hear."""
    monkeypatch.setattr(task_module, "load_teacher", teacher)
    task = DistillTask(_recipe(speech={"noise_chance": 0.0}), speech, speech / "cache")
    task.prepare(torch.device("cpu"))
    rng = np.random.default_rng(3)
    batch = task.train.batch([0], rng)
    heard = task.teacher.features(batch.waves, task.layers)
    told = torch.cat(heard, -1)[0]
    assert len(told) == batch.targets.shape[1]
    whole = task.train.batch([0], None)
    assert not torch.equal(whole.targets, batch.targets)  # another place
    # gains shift log-mel alike: compare directions of the last layer
    width = task.teacher.width
    here = torch.cosine_similarity(told[3:-3, -width:], batch.targets[0, 3:-3, -width:], -1).mean()
    shifted = torch.cosine_similarity(told[3:-5, -width:], batch.targets[0, 5:-3, -width:], -1).mean()
    assert here > shifted


def test_recipes_are_read_and_contradictions_refused() -> None:
    for path in RECIPES.glob("*.toml"):
        if path.stem not in ("pretrain", "finetune", "compare"):
            load(DistillRecipe, path)
    for changes, message in (
        ({"features": {"mels": 20}}, "20 mels"),
        ({"heads": {"units": "none"}}, "want heads.units"),
        ({"teaching": {"rate_ms": 30}}, "multiple of 20"),
        ({"student": {"layers": 1}}, "more than 1 layers"),
        ({"loop": {"devices": 2}}, "several devices"),
    ):
        with pytest.raises(RecipeError, match=message):
            _recipe(**changes)  # type: ignore[arg-type]
