"""From folders of recordings to a checkpoint, by the commands that a user types."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from asr.__main__ import main
from asr.batches import Batches, Corpus, Teacher, streams
from asr.recipe import AsrRecipe
from asr.task import AsrTask, load_network, split_of
from asr.vocabulary import END, L2R, R2L
from stapes.spec import FbankSpec
from training.augment import MaskSpec
from training.checkpoint import CheckpointError, read, save, take_over
from training.recipe import RecipeError, load
from training.utterances import Recording, Utterances

torch.set_num_threads(1)
RATE = 16_000
TONES = {"a": 300, "b": 900, "c": 2000}
NETWORK = """
[network]
ctc = true
middle_ctc = 1
decoder = { width = 32, heads = 2, inner = 32, blocks = 1, norm = "pre" }
[network.encoder]
stack = 4
width = 32
heads = 2
inner = 32
blocks = 2
norm = "pre"
positions = "rotary"
convolution = 5
chunk = 4
left = 8
chunks = [4, 8]
whole = 0.3
"""


def say(text: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """A tone for each letter."""
    time = np.arange(int(0.15 * RATE)) / RATE
    gap = np.zeros(int(0.05 * RATE))
    parts = [part for letter in text for part in (0.3 * np.sin(2 * np.pi * TONES[letter] * time), gap)]
    wave = np.concatenate([gap, *parts])
    return wave + 0.001 * rng.standard_normal(len(wave))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    (root / "tones").mkdir()
    rows = []
    for number in range(24):
        text = "".join(rng.choice(list(TONES), rng.integers(2, 6)))
        soundfile.write(root / f"tones/{number}.wav", say(text, rng), RATE)
        split = "dev" if number >= 20 else "train"
        row = {"audio": f"{number}.wav", "text": text.upper(), "split": split, "speaker": f"s{number % 10}"}
        rows.append(row)
    (root / "tones/manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "hum").mkdir()
    soundfile.write(root / "hum/a.wav", 0.05 * rng.standard_normal(RATE), RATE)
    (root / "hum/manifest.jsonl").write_text(json.dumps({"audio": "a.wav", "split": "train"}) + "\n")
    frames = np.random.default_rng(1).standard_normal((240, 6)).astype(np.float16)
    (root / "teacher").mkdir()
    np.save(root / "teacher/frames.npy", frames)
    index = {f"{number}.wav": [10 * number, 10 * number + 10] for number in range(12)}
    (root / "teacher/index.json").write_text(json.dumps(index))
    assert main(["vocabulary", str(root / "tones"), str(root / "v.json"), "--kind", "characters"]) == 0
    return root


RECIPE = (
    'name = "tiny"\n[data]\nvocabulary = "v.json"\nnoise = ["hum"]\nvariants = 2\n'
    "train = { tones = { repeats = 1.5 } }\n"
    'dev = { tones = { splits = ["dev"] } }\n'
    "[masks]\nmel_bands = 8\n"
    "[loop]\nepochs = 1\nbatch = 8\nlr = 0.003\nwarmup_steps = 2\n"
    "ema_decay = 0.0\nkeep_best = 2\nthreads = 1\n"
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE + NETWORK)
    return path


def test_train_evaluate_resume(data: Path, recipe: Path, tmp_path: Path) -> None:
    common = ["train", str(recipe), "--data", str(data), "--out", str(tmp_path / "run")]
    common += ["--cache", str(data / "cache")]
    assert main(common) == 0
    checkpoint = read(tmp_path / "run/best.pt")
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["metric"] == "accuracy"
    row = metrics["history"][0]
    assert {"loss", "decoder", "ctc", "middle_ctc"} <= row.keys()
    assert row["dev"]["accuracy"] == pytest.approx(1 - row["dev"]["error/tones"])
    network, trained = load_network(checkpoint)
    assert trained.symbols[5:] == tuple(sorted(TONES, key=trained.symbols.index))
    assert not network.training
    assert float(network.mean.abs().sum()) > 0
    assert checkpoint["provenance"]["hours"].keys() == {"tones"}
    assert [path.name for path in (tmp_path / "run/kept").iterdir()] == ["1.pt"]

    # A second network starts from the first; what it has more of stays new.
    task = AsrTask(
        replace(
            load(AsrRecipe, recipe, ["directions=l2r", "evaluate_attention=true"]),
            init=str(tmp_path / "run/best.pt"),
            network=replace(trained.network, teacher_block=1, teacher_width=6),
        ),
        [data],
        data / "cache",
    )
    task.prepare(torch.device("cpu"))
    model = task.model()
    torch.testing.assert_close(model.ctc.weight, network.ctc.weight)
    assert take_over(task.model(), checkpoint["model"]) == ["teacher.bias", "teacher.weight"]
    with torch.no_grad():
        figures = task.evaluate(model.eval())
    assert {"error/tones", "decoder_error/tones", "loss", "accuracy"} <= figures.keys()


def test_parts_of_another_network_are_taken_over_and_stay(data: Path, recipe: Path, tmp_path: Path) -> None:
    common = ["train", str(recipe), "--data", str(data), "--cache", str(data / "cache"), "--out"]
    assert main([*common, str(tmp_path / "first")]) == 0
    first = read(tmp_path / "first/best.pt")["model"]
    changes = [f"init={tmp_path / 'first/best.pt'}", "loop.seed=5"]
    parts = ['init_parts=["encoder."]', 'frozen=["encoder.", "ctc."]']
    sets = [word for change in changes + parts for word in ("--set", change)]
    assert main([*common, str(tmp_path / "second"), *sets]) == 0
    second = read(tmp_path / "second/best.pt")["model"]
    for name, weights in first.items():
        if name.startswith("encoder."):
            torch.testing.assert_close(second[name], weights, rtol=0, atol=0)
    assert not torch.equal(second["ctc.weight"], first["ctc.weight"])  # as the seed made it
    fresh = AsrTask(load(AsrRecipe, recipe, [*changes, *parts]), [data], data / "cache")
    fresh.prepare(torch.device("cpu"))
    assert {name for name, p in fresh.model().named_parameters() if not p.requires_grad} == {
        name for name, _ in fresh.model().named_parameters() if name.startswith(("encoder.", "ctc."))
    }
    save(tmp_path / "strange.pt", {"model": {"encoder.strange": torch.zeros(3)}})
    for change, error, why in (
        ([changes[0], 'init_parts=["encodr."]'], RecipeError, "init_parts: .*'encodr.'"),
        (['frozen=["encodr."]'], RecipeError, "frozen: .*'encodr.'"),
        ([f"init={tmp_path}/first/last.pt"], CheckpointError, r"last\.pt has no key 'model'"),
        ([f"init={tmp_path}/strange.pt"], CheckpointError, "none of its weights"),
    ):
        wrong = AsrTask(load(AsrRecipe, recipe, change), [data], data / "cache")
        wrong.prepare(torch.device("cpu"))
        with pytest.raises(error, match=why):
            wrong.model()


def test_batches_repeat_themselves_and_differ_between_processes(data: Path, recipe: Path) -> None:
    task = AsrTask(load(AsrRecipe, recipe), [data], data / "cache")
    task.prepare(torch.device("cpu"))
    assert task.steps_per_epoch >= 2
    first = list(task.batches(3, 0, 1))
    again = list(task.batches(3, 0, 1))
    assert len(first) == task.steps_per_epoch
    for a, b in zip(first, again, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y)
    second_process = next(iter(task.batches(3, 1, 2)))
    torch.testing.assert_close(second_process.frames, first[1].frames)
    for batch in first:
        assert batch.frames.shape[0] * int(batch.lengths.max()) <= 800
        assert batch.frames.shape[1] % 4 == 0
    # Without a seed nothing is changed: dev is as it is.
    order, batch = next(task.dev["tones"].in_order())
    utterances = task.dev["tones"].corpora[0].utterances
    np.testing.assert_array_equal(batch.frames[0, : batch.lengths[0]], utterances.get(int(order[0])))


def test_held_speakers_are_a_share_of_train() -> None:
    recordings = [Recording(Path("a"), "train", {"speaker": f"s{i % 500}"}) for i in range(2000)]
    parts = [split_of(each, 0.2) for each in recordings]
    assert 0.15 < parts.count("held") / 2000 < 0.25
    assert parts[:500] == parts[500:1000]  # by speaker
    assert {split_of(each, 0.0) for each in recordings} == {"train"}
    assert split_of(Recording(Path("a"), "test", {"speaker": "s0"}), 1.0) == "test"


def test_a_teacher_is_learnt_from(data: Path, recipe: Path) -> None:
    changes = ["data.train.tones.teacher=teacher", "network.teacher_block=2", "network.teacher_width=6"]
    task = AsrTask(load(AsrRecipe, recipe, changes), [data], data / "cache")
    task.prepare(torch.device("cpu"))
    batch = next(iter(task.batches(0, 0, 1)))
    assert batch.features.shape == (len(batch.lengths), batch.frames.shape[1] // 4, 6)
    total, parts = task.loss(task.model(), batch)
    assert float(parts["teacher"].detach()) > 0
    assert torch.isfinite(total)


def test_a_teachers_frames_are_spread_over_the_steps(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", np.arange(12, dtype=np.float16)[:, None])
    (tmp_path / "index.json").write_text('{"a": [2, 6]}')
    teacher = Teacher(tmp_path)
    found = teacher.get("a", 2)
    assert found is not None
    np.testing.assert_allclose(found[:, 0] * teacher.deviation + teacher.mean, [3, 5], atol=1e-2)
    found = teacher.get("a", 8)
    assert found is not None
    np.testing.assert_allclose(
        found[:, 0] * teacher.deviation + teacher.mean, [2, 2, 3, 3, 4, 4, 5, 5], atol=1e-2
    )
    assert teacher.get("b", 2) is None


def test_streams_of_both_directions() -> None:
    inputs, targets = streams([(5, 6, 7), (8,)], "both")
    assert inputs.tolist() == [[[L2R, 5, 6, 7], [R2L, 7, 6, 5]], [[L2R, 8, 0, 0], [R2L, 8, 0, 0]]]
    assert targets.tolist() == [[[5, 6, 7, END], [7, 6, 5, END]], [[8, END, 0, 0], [8, END, 0, 0]]]
    assert streams([(5, 6)], "r2l")[1].tolist() == [[[6, 5, END]]]


def test_masks_are_filled_with_the_mean() -> None:
    frames = np.full((100, 4), 3.0, np.float16)
    utterances = Utterances(
        FbankSpec(mels=4), (Recording(Path("a"), "train", {"audio": "a"}),), frames, np.array([0, 100]), 1
    )
    batches = Batches(
        [Corpus(utterances, ((5,),))],
        seconds=2,
        stack=4,
        masks=MaskSpec(time_masks=2, time_frames=60, mel_masks=0),
        mean=torch.arange(4.0),
    )
    seen = [next(iter(batches.drawn(epoch, 1))).frames[0] for epoch in range(5)]
    masked = torch.cat([each[each[:, 0] != 3] for each in seen])
    assert len(masked)
    torch.testing.assert_close(masked, torch.arange(4.0).expand_as(masked))


def test_mistakes_are_named(data: Path, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [
        "train",
        str(recipe),
        "--data",
        str(data),
        "--out",
        str(data / "none"),
        "--cache",
        str(data / "cache"),
    ]
    assert main([*common, "--set", "loop.epoch=3"]) == 1
    assert "loop.epoch" in capsys.readouterr().err
    assert main([*common, "--set", "data.train.nowhere.repeats=1.0"]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert main([*common, "--set", "data.vocabulary=missing.json"]) == 1
    assert "missing.json" in capsys.readouterr().err


def test_compare_trains_judges_and_tells(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = (RECIPE + NETWORK).replace("[network", "[shared.network").replace("tiny", "small")
    for table in ("data", "masks", "loop"):
        shared = shared.replace(f"[{table}]", f"[shared.{table}]")
    shared = shared.replace('name = "small"\n', "")
    recipe = tmp_path / "compare.toml"
    recipe.write_text(
        'seeds = [0]\ndirections = ["l2r", "both"]\n[test]\ntones = { splits = ["dev"] }\n'
        f"[judge]\nbeams = [2]\nnbest = 3\n{shared}"
    )
    out = tmp_path / "out"
    common = ["compare", str(recipe), "--data", str(data), "--out", str(out), "--cache", str(data / "cache")]
    assert main(common) == 0
    text = capsys.readouterr().out
    for row in ("| l2r | l2r beam 2 |", "| both | both beam 2 |", "| both | rescored, 0.5 backwards |"):
        assert row in text
    figures = json.loads((out / "both-0/test.json").read_text())["tones"]
    assert figures["n"] == 4
    assert figures["units"] == 4  # each a word
    counts = figures["backwards"]["both beam 2"]
    assert counts["won"] + counts["lost"] <= counts["answers"] <= 4
    made = (out / "both-0/best.pt").stat().st_mtime_ns
    assert main([*common, "--judge-only"]) == 0  # judged anew, not trained
    assert (out / "both-0/best.pt").stat().st_mtime_ns == made
    assert capsys.readouterr().out == text
