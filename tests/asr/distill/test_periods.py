"""Students that compress, judged over their period; and a task that learns its own."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.distill import task as task_module
from asr.distill.__main__ import main
from asr.distill.downstream import hearer, load_downstream, load_source
from asr.distill.finetune import FinetuneRecipe, FinetuneTask, tune
from asr.distill.periods import Asked
from asr.distill.recipe import DistillRecipe
from asr.distill.task import DistillTask
from asr.distill.teachers import EncoderTeacher
from asr.distill.tuned import Rate, Tuned
from tests.asr.distill.speech import teacher, write_speech
from tests.asr.distill.test_distill import TINY
from training.encoder import cif
from training.encoder.network import Encoder
from training.encoder.spec import EncoderSpec
from training.loop import fit
from training.recipe import RecipeError, build

SPEC = EncoderSpec(
    mels=16, layers=1, width=16, inner=16, heads=2, position_kernel=4, position_groups=2, compress=True
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder, and the best.pt of a student that compresses."""
    root = tmp_path_factory.mktemp("made")
    write_speech(root)
    changes = {
        "epoch_steps": 2,
        "student": TINY["student"] | {"compress": True},  # type: ignore[operator]
        "teaching": {"front_steps": 0},
        "heads": {"students": [1, 2], "teachers": [2, 3]},
        "loop": TINY["loop"] | {"epochs": 1},  # type: ignore[operator]
    }
    recipe = build(DistillRecipe, TINY | changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_module, "load_teacher", teacher)
        fit(DistillTask(recipe, root, root / "cache"), recipe.loop, root / "run")
    return root, root / "run/best.pt"


def test_table_and_picture(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, best = made
    folders = ["--data", str(root), "--cache", str(root / "cache"), "--out", str(tmp_path / "out")]
    more = ["--periods", "20", "90", "--probes", "talk:label", "talk:label:2", "--seeds", "2"]
    assert main(["periods", str(best), *folders, *more]) == 0
    assert "| 20 ms | 2" in capsys.readouterr().out
    rows = json.loads((tmp_path / "out/periods.json").read_text())
    short, long = rows
    assert short["period_ms"] == pytest.approx(20, abs=1)
    assert long["period_ms"] > 2 * short["period_ms"]
    assert long["multiplies"] < short["multiplies"]
    assert {name: len(found["accuracy"]) for name, found in short["probes"].items()} == {
        "talk label": 2,
        "talk label, 1/2": 2,
    }
    assert (tmp_path / "out/periods.png").read_bytes().startswith(b"\x89PNG")


def test_other_students_have_one_period(
    made: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = made[0]
    monkeypatch.setattr(task_module, "load_teacher", teacher)
    recipe = build(DistillRecipe, TINY | {"epoch_steps": 1, "loop": TINY["loop"] | {"epochs": 1}})  # type: ignore[operator]
    fit(DistillTask(recipe, root, root / "cache"), recipe.loop, tmp_path)
    assert main(["periods", str(tmp_path / "best.pt"), "--data", str(root), "--out", str(tmp_path)]) == 1
    assert "wants to be a student that compresses" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"a period of 45\.0 ms"):
        load_source(str(tmp_path / "best.pt"), 45.0)
    asked = FinetuneRecipe(encoder=str(tmp_path / "best.pt"), folder="talk", answer="label", cost=1.0)
    task = FinetuneTask(asked, root, root / "cache")
    task.prepare(torch.device("cpu"))
    with pytest.raises(RecipeError, match="'cost'"):
        task.model()


def test_each_recording_is_heard_alone(made: tuple[Path, Path]) -> None:
    """Features of clips of one length, which may have unlike numbers of frames, are those of the encoder."""
    root, best = made
    split = load_downstream(root, "talk", "label", root / "cache").splits["train"]
    waves = [split.store[key][:6_000] for key in split.keys]
    source = load_source(str(best), 60.0)
    assert isinstance(source, EncoderTeacher)
    assert source.fbank is not None
    for wave, heard in zip(waves, hearer(source)(waves), strict=True):
        with torch.no_grad():
            frames = source.fbank(torch.from_numpy(wave)[None])
            wanted = source.encoder(frames, None, torch.tensor(cif.rate_of(60.0))).states
        torch.testing.assert_close(heard, torch.stack([state[0] for state in wanted], 1))
    with pytest.raises(ValueError, match="one recording at a time"):
        source.features(torch.from_numpy(np.stack(waves)))


def test_share_kept_is_that_of_the_frames() -> None:
    torch.manual_seed(0)
    frames = torch.randn(3, 200, 16)
    lengths = torch.tensor([200, 120, 60])
    for period in (20.0, 45.0, 90.0):
        tuned = Tuned(Encoder(SPEC).eval(), 2, text=False, rate=Rate(period, learned=False))
        with torch.no_grad():
            _, counts, kept = tuned(frames, lengths)
        assert float(kept) == pytest.approx(int(counts.sum()) / int(lengths.sum() / 2), abs=0.03)


@pytest.mark.parametrize("period", [20.0, 33.3, 89.0])
def test_rate_begins_where_it_is_told(period: float) -> None:
    held, learned = Rate(period, learned=False), Rate(period, learned=True)
    assert held().item() == pytest.approx(cif.rate_of(period), abs=1e-6)
    assert learned().item() == pytest.approx(cif.rate_of(period), abs=2e-3)
    assert [held.number.requires_grad, learned.number.requires_grad] == [False, True]


def test_a_task_learns_its_rate(made: tuple[Path, Path], tmp_path: Path) -> None:
    """Where frames cost much and tell nothing, few are kept; a rate that is held stays."""
    root, best = made
    loop = {"epochs": 2, "lr": 0.02, "ema_decay": 0.0, "warmup_epochs": 0.0, "accelerator": "cpu"}
    told = {"encoder": str(best), "folder": "talk", "answer": "label", "batch_s": 3.0, "epoch_steps": 6}
    found = {}
    for cost in (0.0, 30.0):
        recipe = build(FinetuneRecipe, told | {"period_ms": 30.0, "cost": cost, "loop": loop})
        found[cost] = tune(FinetuneTask(recipe, root, root / "cache"), tmp_path / str(cost))
    assert found[0.0]["period_ms"] == pytest.approx(30, rel=0.25)
    assert found[30.0]["period_ms"] > 2 * found[0.0]["period_ms"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"period_ms": 100.0}, "a period of 100.0 ms"),
        ({"cost": -1.0, "answer": "label"}, "cost is -1.0"),
        ({"cost": 1.0}, "none for texts"),  # CTC is silent, and learns nothing, where frames are too few
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        build(FinetuneRecipe, {"encoder": "a.pt"} | changes)


def test_periods_out_of_range_are_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["periods", "a.pt", "--out", "b", "--periods", "20", "100"],
        ["probe", "a.pt", "--period-ms", "x"],
    ):
        with pytest.raises(SystemExit):
            main(command)
        assert "error: argument --period" in capsys.readouterr().err
    with pytest.raises(ValueError, match="does not compress"):
        load_source("whisper:folder", 30.0)


def test_probes_are_named_by_colons() -> None:
    assert Asked.read("talk:label") == ("talk", "label", 1)
    assert Asked.read("talk:label:10") == ("talk", "label", 10)
    for wrong in ("talk", "talk:", "talk:text", "talk:label:0", "talk:label:x", "talk:label:1:1"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not FOLDER"):
            Asked.read(wrong)
