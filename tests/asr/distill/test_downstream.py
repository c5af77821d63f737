"""Probes and fine-tuning: what is right is found, texts are judged as they should be, commands run."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.distill import finetune, probes
from asr.distill import task as task_module
from asr.distill.__main__ import main
from asr.distill.downstream import (
    Downstream,
    Split,
    greedy,
    hearer,
    judge,
    load_downstream,
    load_source,
    spell,
)
from asr.distill.recipe import DistillRecipe
from asr.distill.task import DistillTask
from tests.asr.distill.speech import teacher, write_speech
from tests.asr.distill.test_distill import TINY
from training.audio import ClipStore
from training.loop import fit
from training.recipe import build, load
from training.utterances import ManifestError

EMPTY = ClipStore(np.zeros(0, np.int16), np.zeros(1, np.int64), {}, 16_000)


def _downstream(answers: dict[str, list[str]], *, text: bool) -> Downstream:
    splits = {
        name: Split(
            EMPTY,
            tuple(map(str, range(len(each)))),
            tuple(each),
            tuple("ab"[i % 2] for i in range(len(each))),
        )
        for name, each in answers.items()
    }
    symbols = sorted(set("".join(answers["train"])) if text else set(answers["train"]))
    return Downstream(splits, tuple(symbols), text)


def test_greedy_and_figures_by_hand() -> None:
    assert greedy([0, 1, 1, 0, 1, 2, 2, 0], "ab") == "aab"
    assert spell("abc", "ab") == [1, 2]
    split = _downstream({"train": ["one two", "three", "four four"]}, text=True).splits["train"]
    figures = judge(split, ["one", "three", "four for"], text=True, times=200)
    assert figures["wer"] == pytest.approx(2 / 5, abs=1e-6)
    low, high = figures["wer_interval"]
    assert low <= figures["wer"] <= high  # speaker a: 2 of 4 words, b: 0 of 1
    assert (low, high) == (0.0, 0.5)
    labels = _downstream({"train": list("xyxy")}, text=False).splits["train"]
    assert judge(labels, list("xyyy"), text=False)["accuracy"] == 0.75


def test_probes_find_what_one_layer_says() -> None:
    """Layer 1 of three holds the answer, the others noise: the mixture finds it."""
    rng = np.random.default_rng(0)
    texts = {
        name: ["".join(rng.choice(list("abc"), 3)) for _ in range(40)] for name in ("train", "dev", "test")
    }
    downstream = _downstream(texts, text=True)

    def features(text: str) -> torch.Tensor:
        x = rng.normal(0, 1, (len(text) * 6, 3, 4)).astype(np.float32)
        for at in range(len(x)):  # a symbol for four frames, nothing for two
            x[at, 1] = 0.1 * x[at, 1] + 3 * np.eye(4)[3 if at % 6 > 3 else "abc".index(text[at // 6])]
        return torch.from_numpy(x)

    kept = {name: [features(text) for text in each] for name, each in texts.items()}
    given, mixture = probes._fit_texts(kept, downstream, 0, 400)
    assert judge(downstream.splits["test"], given, text=True, times=0)["cer"] < 0.05
    assert mixture.argmax() == 1
    labels = {name: [text[0] for text in each] for name, each in texts.items()}
    means = {name: [part[:4].mean(0) for part in parts] for name, parts in kept.items()}
    found, mixture = probes._fit_labels(means, _downstream(labels, text=False), 0, 20)
    assert np.mean([a == b for a, b in zip(found, labels["test"], strict=True)]) > 0.8
    assert mixture.argmax() == 1


def test_clips_of_one_length_are_heard_together() -> None:
    """As each alone, in the recordings' order; what is known is not heard again."""
    rng = np.random.default_rng(0)
    sizes = (4_000, 900, 4_000, 1_500, 900, 300, 0)
    samples = rng.integers(-9_000, 9_000, sum(sizes)).astype(np.int16)
    keys = tuple("abcdefg")
    store = ClipStore(samples, np.cumsum([0, *sizes]), dict(zip(keys, range(7), strict=True)), 16_000)
    split = Split(store, keys, ("",) * 7, ("s",) * 7)
    source = teacher()[0]
    for text in (True, False):
        known = {"e": torch.ones(1)}
        heard = probes._features(source, split, text, known)
        for key, found in zip(keys, heard, strict=True):
            if key != "e":
                alone = hearer(source)([store[key]])[0]
                assert alone.shape[1:] == (source.depth + 1, source.width)
                assert found.shape == (alone.shape if text else alone.shape[1:])
                wanted = alone if text else alone.mean(0)
                torch.testing.assert_close(found.float(), wanted, atol=2e-3, rtol=2e-3)
        assert heard[4] is known["e"]
        assert set(known) == set(keys)


def test_a_part_of_the_speakers(tmp_path: Path) -> None:
    write_speech(tmp_path)
    whole = load_downstream(tmp_path, "talk", "text", tmp_path / "cache")
    third = load_downstream(tmp_path, "talk", "text", tmp_path / "cache", part=3)
    assert set(whole.splits["train"].speakers) == {"s0", "s1", "s2"}
    assert set(third.splits["train"].speakers) == {"s0"}
    assert third.splits["test"].keys == whole.splits["test"].keys
    assert whole.symbols == ("a", "b")  # as error rates see texts; no training text has two words
    with pytest.raises(ManifestError, match="'language'"):
        load_downstream(tmp_path, "talk", "language", tmp_path / "cache")


def test_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_speech(tmp_path)
    monkeypatch.setattr(task_module, "load_teacher", teacher)
    recipe = build(DistillRecipe, TINY | {"epoch_steps": 1, "loop": TINY["loop"] | {"epochs": 1}})  # type: ignore[operator]
    fit(DistillTask(recipe, tmp_path, tmp_path / "cache"), recipe.loop, tmp_path / "run")
    best = tmp_path / "run/best.pt"
    folders = ["--data", str(tmp_path), "--cache", str(tmp_path / "cache"), "--folder", "talk"]
    assert main(["probe", str(best), *folders, "--seeds", "1", "--epochs", "2"]) == 0
    assert "cer_interval" in json.loads(capsys.readouterr().out)["seeds"][0]
    assert (
        main(["probe", f"random:{best}", *folders, "--answer", "label", "--seeds", "1", "--epochs", "1"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["source"].startswith("random weights")
    untrained = load_source(f"random:{best}")
    assert untrained.depth == 2
    text = 'encoder = "gone.pt"\nfolder = "talk"\nbatch_s = 3.0\n[loop]\nepochs = 1\nema_decay = 0.0\n'
    (tmp_path / "tune.toml").write_text(text)
    command = ["finetune", str(tmp_path / "tune.toml"), *folders[:4], "--out", str(tmp_path / "tuned")]
    assert main(command) == 1
    assert "gone.pt" in capsys.readouterr().err
    assert main([*command, "--set", f"encoder={best}", "--set", "loop.accelerator=cpu"]) == 0
    assert json.loads((tmp_path / "tuned/test.json").read_text())["n"] == 3

    shipped = load(finetune.FinetuneRecipe, Path(finetune.__file__).parent / "recipes/finetune.toml")
    assert shipped.answer == "text"
    changes = [
        f"encoder={tmp_path / 'run/best.pt'}",
        "folder=talk",
        "answer=label",
        "random=true",
        "batch_s=3.0",
    ]
    (tmp_path / "tune.toml").write_text("")
    args = Namespace(
        recipe=tmp_path / "tune.toml", data=tmp_path, out=tmp_path / "labels", cache=tmp_path / "cache"
    )
    args.set = [*changes, "loop.epochs=1", "loop.accelerator=cpu", "loop.ema_decay=0.0"]
    args.anew = False
    assert "accuracy_interval" in json.loads(finetune.run(args))

    task = finetune.FinetuneTask(load(finetune.FinetuneRecipe, args.recipe, changes), tmp_path, args.cache)
    task.prepare(torch.device("cpu"))
    assert len(next(task.batches(0, 0, 1)).lengths)
    with pytest.raises(ManifestError, match="talk: too few training recordings"):
        next(task.batches(0, 99, 100))
