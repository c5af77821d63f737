"""Who is trained on, what examples are made of them, and what is learnt from them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dialect_id.__main__ import main
from dialect_id.batches import NOISE_ALONE, Batch, Sampler, Store, crop, drawing_weights
from dialect_id.data import NO_LABEL, gather
from dialect_id.dev import posteriors
from dialect_id.dmsc import DMSCSpec
from dialect_id.head import CosineHead, HeadSpec, with_margin
from dialect_id.network import NetworkSpec
from dialect_id.recipe import DataSpec, DialectRecipe, MixSpec, TeachingSpec
from dialect_id.student import load_network
from dialect_id.task import DialectTask, frames_loss, teacher_losses
from dialect_id.teaching import Teacher
from stapes.spec import FbankSpec
from tests.dialect_id.made_up import data_sets, write_set
from training.checkpoint import CheckpointError, first_weights, read, save
from training.loopspec import LoopSpec
from training.recipe import RecipeError
from training.utterances import ManifestError, Recording, Utterances

MELS = 24
FEATURES = FbankSpec(mels=MELS, high_hz=7600.0)
NETWORK = NetworkSpec(
    dmsc=DMSCSpec(stem=16, layers=(1, 1), growth=16, bottleneck=16), embedding=24, dropout=0.0
)
RECIPE = DialectRecipe(
    name="tiny",
    data=DataSpec(
        main="tongues",
        extra=("more",),
        unlabelled=("wild",),
        noise=("hum",),
        held_out=("dd",),
        extra_labels=True,
        dev_share=0.3,
        variants=2,
        rooms=0,
    ),
    features=FEATURES,
    network=NETWORK,
    mix=MixSpec(crop_frames=(60, 120), tail_frames=20),
    epoch_clips=64,
    loop=LoopSpec(epochs=2, batch=16, lr=0.01, warmup_epochs=0.5, threads=1),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_sets(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def task(data: Path, cache: Path) -> DialectTask:
    made = DialectTask(RECIPE, data, cache)
    made.prepare(torch.device("cpu"))
    return made


def test_nobody_is_in_two_parts(data: Path) -> None:
    corpus = gather(data, RECIPE.data)
    assert corpus.labels == ("aa", "bb", "cc")
    trained = {each.fields.get("recording") for each in corpus.train[0].recordings}
    judged = {each.fields["recording"] for each in corpus.judged.recordings}
    tested = {
        each.fields["recording"] for each in gather(data, RECIPE.data, judged_by="test").judged.recordings
    }
    assert trained
    assert judged
    assert tested
    assert not trained & judged
    assert not (trained | judged) & tested
    assert {each.fields["language"] for each in corpus.unknown.recordings} == {"dd"}
    assert [part.folder for part in corpus.train] == ["tongues", "more", "wild"]
    assert set(corpus.train[2].classes) == {NO_LABEL}
    assert len(corpus.noise) == 2
    # Networks that are trained need main alone to be judged.
    again = gather(data, RECIPE.data, labels=corpus.labels)
    assert [each.audio for each in again.judged.recordings] == [
        each.audio for each in corpus.judged.recordings
    ]


def test_a_speaker_of_a_judged_part_is_not_trained_on(tmp_path: Path) -> None:
    """Whatever the manifest's splits say."""
    rows = [("a", "train", "ann"), ("b", "train", "bob"), ("c", "train", "cid"), ("d", "dev", "bob")]
    rows += [("e", "test", "cid")]
    write_set(
        tmp_path / "main",
        [
            {"audio": f"{name}.wav", "split": split, "speaker": speaker, "language": "aa"}
            for name, split, speaker in rows
        ],
    )
    corpus = gather(tmp_path, DataSpec(main="main", noise=()))
    assert [each.fields["speaker"] for each in corpus.train[0].recordings] == ["ann"]
    assert [each.fields["speaker"] for each in corpus.judged.recordings] == ["bob"]


def test_held_out_languages_are_not_heard_without_labels_either(tmp_path: Path) -> None:
    write_set(
        tmp_path / "main",
        [{"audio": f"{s}.wav", "split": s, "speaker": s, "language": "aa"} for s in ("train", "dev")],
    )
    write_set(
        tmp_path / "wild", [{"audio": f"{x}.wav", "split": "train", "language": x} for x in ("bb", "cc")]
    )
    corpus = gather(tmp_path, DataSpec(main="main", unlabelled=("wild",), noise=(), held_out=("cc",)))
    assert [each.fields["language"] for each in corpus.train[1].recordings] == ["bb"]


def test_extra_folders_give_nobody_who_is_judged(tmp_path: Path) -> None:
    rows = [("aa", "train", "ann"), ("bb", "train", "bob"), ("aa", "dev", "cid"), ("bb", "test", "dan")]
    write_set(
        tmp_path / "main",
        [
            {"audio": f"recording-of-{speaker}.wav", "language": language, "split": split, "speaker": speaker}
            for language, split, speaker in rows
        ],
    )
    more = [
        {"audio": "x.wav", "split": "train", "speaker": "cid"},
        {"audio": "y.wav", "split": "train", "speaker": "eve", "language": "b"},
        {"audio": "recording-of-dan.wav", "split": "train"},
        {"audio": "z.wav", "split": "test", "speaker": "fay"},
        {"audio": "g.wav", "split": "train", "speaker": "gil"},
    ]
    write_set(tmp_path / "more", more)
    write_set(tmp_path / "later", [{"audio": "h.wav", "split": "test", "speaker": "gil"}])
    spec = DataSpec(
        main="main", extra=("more",), noise=(), given={"more": "aa"}, rename={"b": "bb"}, guard=("later",)
    )
    corpus = gather(tmp_path, spec)
    assert corpus.labels == ("aa", "bb")
    assert [each.fields["speaker"] for each in corpus.train[1].recordings] == ["eve"]
    assert corpus.train[1].classes.tolist() == [1]
    assert [each.fields["speaker"] for each in corpus.judged.recordings] == ["cid"]
    with pytest.raises(ManifestError, match="dialect"):
        gather(tmp_path, replace(spec, truth="dialect", given={}))


def _store(folder: str, classes: list[int], frames: int = 100) -> Store:
    count = len(classes)
    recordings = tuple(
        Recording(Path(f"{folder}{n}.wav"), "train", {"audio": f"{folder}{n}.wav"}) for n in range(count)
    )
    values = np.arange(count * frames, dtype=np.float32)[:, None] / 100 + np.zeros(MELS, np.float32)
    ends = np.arange(count + 1) * frames
    return Store(
        folder, Utterances(FEATURES, recordings, values.astype(np.float16), ends, 1), np.array(classes)
    )


def test_drawing_weights_by_hand() -> None:
    stores = [_store("a", [0, 0, 1]), _store("b", [1, 1, 1, 1, NO_LABEL])]
    plain = MixSpec(balance=0.0, weights={"b": 0.25})
    assert drawing_weights(stores, plain).tolist() == [1, 1, 1, 0.25, 0.25, 0.25, 0.25, 0.25]
    even = drawing_weights(stores, replace(plain, balance=1.0))
    assert even[[0, 1]].sum() == pytest.approx(even[[2, 3, 4, 5, 6]].sum())  # labels alike
    assert even[3] == pytest.approx(even[2] / 4)  # folders as they weigh
    root = drawing_weights(stores, replace(plain, balance=0.5, weights={}))
    assert root[[0, 1]].sum() / root[2:7].sum() == pytest.approx((2 / 5) ** 0.5)
    assert drawing_weights([_store("c", [0, 1], frames=5)], plain).tolist() == [0, 0]


def test_sampler_repeats_itself_and_keeps_shares() -> None:
    stores = [_store("a", [0, 1, 1]), _store("b", [NO_LABEL])]
    noise = np.zeros((50, MELS), np.float16)
    mix = MixSpec(crop_frames=(30, 150), unlabelled_share=0.3, noise_share=0.2, tail_frames=0)
    first, again = (
        list(Sampler(stores, noise, mix, features=FEATURES, seed=7).batches(8, 4, 2)) for _ in range(2)
    )
    for one, other in zip(first, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert len({batch.frames.shape[1] for batch in first}) > 1
    assert [int(batch.epoch) for batch in first] == [2] * 4
    classes = torch.cat(
        [b.classes for b in Sampler(stores, noise, mix, features=FEATURES, seed=0).batches(100, 10)]
    )
    assert (classes == NO_LABEL).float().mean() == pytest.approx(0.3, abs=0.05)
    assert (classes == NOISE_ALONE).float().mean() == pytest.approx(0.2, abs=0.05)
    # Balanced by the root: 1 to the root of 2.
    assert (classes == 1).sum() / (classes == 0).sum() == pytest.approx(2**0.5, rel=0.2)


def test_crop_says_where_it_is() -> None:
    frames = np.arange(10, dtype=np.float32)[:, None]
    rng = np.random.default_rng(0)
    for _ in range(20):
        piece, places = crop(frames, 4, rng)
        assert np.allclose(piece[:, 0], 10 * places - 0.5)
        assert np.array_equal(np.diff(piece[:, 0]), np.ones(3))
    piece, places = crop(frames, 25, rng)
    assert np.array_equal(np.diff(piece[:, 0]) % 10, np.ones(24))
    assert np.allclose(piece[:, 0], 10 * places - 0.5)


def test_teacher_frames_are_compared_with_later_steps() -> None:
    spec = TeachingSpec(folder="x", frames=1.0, frame_ms=40, delay_ms=80)
    told = torch.randn(2, 5, 3)
    steps = torch.zeros(2, 11, 3)  # of 20 ms; the last one is left over
    steps[:, 4:10] = told[:, :3].repeat_interleave(2, 1)
    empty = torch.zeros(2)
    batch = Batch(empty, empty, empty, empty, empty, torch.tensor([1.0, 0.0]), told, empty)
    assert frames_loss(steps, batch, 20.0, spec) == pytest.approx(0.0, abs=1e-6)
    steps[0] *= -1  # opposite: 1 - cosine is 2, of one example in two
    assert frames_loss(steps, batch, 20.0, spec) == pytest.approx(1.0, abs=1e-6)


def test_margin_is_an_angle() -> None:
    torch.manual_seed(0)
    head = CosineHead(8, 5, HeadSpec(kind="cosine", scale=20.0, centres=3))
    logits = head(torch.randn(7, 8))
    assert logits.abs().max() <= 20
    by_hand = F.cosine_similarity(torch.ones(1, 1, 8), head.weight[None], dim=-1).reshape(1, 5, 3).amax(-1)
    assert torch.allclose(head(torch.full((1, 8), 3.0)), 20 * by_hand, atol=1e-5)
    classes = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    turned = with_margin(logits, classes, 20.0, 0.3)
    mine = torch.arange(7), classes
    assert torch.allclose(turned[mine], 20 * torch.cos(torch.acos(logits[mine] / 20) + 0.3), atol=1e-3)
    turned[mine] = logits[mine]
    assert torch.equal(turned, logits)
    # Beyond the half circle it goes on falling.
    line = with_margin(torch.linspace(-20, 20, 100)[:, None], torch.zeros(100, dtype=torch.long), 20.0, 0.5)
    assert (line.diff(dim=0) > 0).all()
    assert HeadSpec(kind="cosine", margin=0.2, margin_epochs=4).margin_at(1) == pytest.approx(0.05)
    assert HeadSpec(margin=0.2).margin_at(9) == 0


@pytest.fixture
def teacher_folder(tmp_path: Path) -> Path:
    """Of folder "a": two recordings of four and two frames; it knows "x" and "jv", which it calls "jw"."""
    folder = tmp_path / "a"
    folder.mkdir(parents=True)
    (folder / "index.json").write_text(json.dumps({"a0.wav": [0, 4], "a1.wav": [4, 6]}))
    np.save(folder / "frames.npy", np.arange(12, dtype=np.float16).reshape(6, 2))
    np.save(folder / "posteriors.npy", np.array([[0.2, 0.6, 0.2], [0.1, 0.1, 0.8]], np.float32))
    (folder / "classes.json").write_text(json.dumps(["x", "jw", "elsewhere"]))
    return tmp_path


def test_teacher_by_hand(teacher_folder: Path) -> None:
    spec = TeachingSpec(folder=str(teacher_folder), posteriors=1.0, embedding=1.0, temperature=2.0)
    teacher = Teacher(spec, ["a", "b"], ["jv", "other", "x"])
    assert teacher.known.tolist() == [0, 2]
    assert teacher.width == 2
    one, two = (Recording(Path("-"), "train", {"audio": f"a{n}.wav"}) for n in range(2))
    row, weight = teacher.posterior("a", one, 0)
    assert row == pytest.approx([0.75, 0.25])
    assert weight == pytest.approx(0.8)
    assert teacher.posterior("a", one, 2)[1] == 0  # it is wrong there
    assert teacher.posterior("a", two, NO_LABEL)[1] == pytest.approx(0.2)
    assert teacher.posterior("b", one, 0)[1] == 0
    centre = np.arange(12).reshape(6, 2).mean(0)
    direction, known = teacher.direction("a", one, 0.25, 0.75)
    assert direction + centre == pytest.approx(np.array([[2, 3], [4, 5]]).mean(0))
    assert known == 1
    assert teacher.direction("b", one, 0, 1)[1] == 0
    told = teacher.frames("a", one, np.array([0.1, 0.6, 1.0]))
    assert told + centre == pytest.approx(np.array([[0, 1], [4, 5], [6, 7]]))
    assert not teacher.frames("b", one, np.array([0.1])).any()

    logits, directions = torch.randn(2, 3), torch.randn(2, 2)
    rows = [teacher.posterior("a", each, NO_LABEL) for each in (one, two)]
    batch = Batch(
        torch.zeros(2, 1, 1),
        torch.tensor([NO_LABEL, NO_LABEL]),
        torch.tensor(np.stack([row for row, _ in rows])),
        torch.tensor([float(weight) for _, weight in rows]),
        torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
        torch.tensor([1.0, 0.0]),
        torch.zeros(2, 0, 2),
        torch.tensor(0),
    )
    found = teacher_losses(logits, directions, batch, teacher)
    softened = batch.posteriors.sqrt() / batch.posteriors.sqrt().sum(1, keepdim=True)
    apart = F.kl_div((logits[:, [0, 2]] / 2).log_softmax(1), softened, reduction="none").sum(1) * 4
    assert found["divergence"] == pytest.approx(float((apart * batch.posterior_weights).mean()), rel=1e-4)
    cosine = float(directions[0, 0] / directions[0].norm())
    assert found["direction"] == pytest.approx((1 - cosine) / 2, rel=1e-4)

    with pytest.raises(ManifestError, match="0 of the labels"):
        Teacher(spec, ["a"], ["de", "fr"])
    (teacher_folder / "a/classes.json").write_text("nonsense")
    with pytest.raises(ManifestError, match="a teacher's files cannot be read"):
        Teacher(spec, ["a"], ["x", "jv"])
    with pytest.raises(ManifestError, match="one width"):
        Teacher(replace(spec, posteriors=0.0), ["b"], ["x", "jv"])


def test_loss_by_hand(task: DialectTask) -> None:
    torch.manual_seed(0)
    model = task.model().train()
    batch = next(iter(task.batches(0, 0, 1)))
    classes = batch.classes.clone()
    classes[:2], classes[2] = NO_LABEL, NOISE_ALONE
    batch = batch._replace(classes=classes)
    with torch.no_grad():
        loss, told = task.loss(model, batch)
        logits = model(batch.frames)[0][:, -1]
        smooth = task.spec.label_smoothing
        targets = F.one_hot(classes.clamp(min=0), 3) * (1 - smooth) + smooth / 3
        targets[:2], targets[2] = 0, 1 / 3
        wanted = -(targets * logits.log_softmax(1)).sum(1).mean()
    assert loss == pytest.approx(float(wanted), rel=1e-5)
    assert 0 <= told["train_accuracy"] <= 1


def test_posteriors_do_not_depend_on_batches(task: DialectTask) -> None:
    torch.manual_seed(0)
    model = task.model().eval()
    together = posteriors(model, task.dev)
    for number in range(len(task.dev.utterances)):
        frames = torch.from_numpy(task.dev.utterances.get(number))[None]
        with torch.no_grad():
            alone = model(frames).softmax(-1)[0].numpy()
        assert np.abs(together[number] - alone).max() < 1e-5
    assert posteriors(model, task.dev, 50).shape == together.shape


def test_provenance_and_evaluation(task: DialectTask) -> None:
    assert task.provenance["labels"] == ["aa", "bb", "cc"]
    assert task.provenance["recordings"]["cc"] == 3
    torch.manual_seed(0)
    figures = task.evaluate(task.model().eval())
    assert {"accuracy", "log_loss", "unknown_eer"} <= figures.keys()
    assert 0 <= figures["accuracy"] <= 1


TOML = f"""
name = "tiny"
epoch_clips = 320
hops_weight = 0.5
[data]
main = "tongues"
extra = ["more"]
noise = ["hum"]
held_out = ["dd"]
dev_share = 0.3
variants = 2
rooms = 0
[features]
mels = {MELS}
high_hz = 7600.0
[network]
dropout = 0.0
embedding = 24
dmsc = {{ stem = 16, layers = [1, 1], growth = 16, bottleneck = 16 }}
[mix]
crop_frames = [100, 150]
tail_frames = 20
noise_share = 0.05
[mix.masks]
time_frames = 5
mel_bands = 3
[loop]
epochs = 3
batch = 32
lr = 0.01
warmup_epochs = 0.5
threads = 1
ema_decay = 0.9
"""


def test_trains_and_loads(data: Path, cache: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "tiny.toml", tmp_path / "run"
    recipe.write_text(TOML)
    command = ["train", str(recipe), "--data", str(data), "--out", str(out), "--cache", str(cache)]
    assert main([*command, "--set", "loop.seed=3"]) == 0
    history = json.loads((out / "metrics.json").read_text())["history"]
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["train_accuracy"] > 0.7
    network, of, labels = load_network(read(out / "best.pt"))
    assert labels == ("aa", "bb")
    assert of.loop.seed == 3
    # Hop by hop, what was trained says the same.
    torch.manual_seed(0)
    frames = torch.randn(2, 200, MELS)
    with torch.no_grad():
        whole = network(frames).softmax(-1)
        states = network.start(2)
        for hop in frames.split(50, 1):
            step, *rest = network.stream(hop, *states)
            states = tuple(rest)
    assert torch.allclose(step[:, -1], whole, atol=1e-5)


def test_faults_are_sentences(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "bad.toml"
    command = ["train", str(recipe), "--data", str(data), "--out", str(tmp_path / "run")]
    command += ["--cache", str(tmp_path / "cache")]
    recipe.write_text("[mix]\nnoize_share = 0.1\n")
    assert main(command) == 1
    assert "mix.noize_share" in capsys.readouterr().err
    recipe.write_text('[data]\nmain = "nowhere"\n')
    assert main(command) == 1
    assert "nowhere" in capsys.readouterr().err
    assert main([*command, "--set", "data.main=tongues", "--set", 'data.labels=["zz"]']) == 1
    assert "tongues" in capsys.readouterr().err
    for spec in ({"crop_frames": (5, 2)}, {"balance": 2.0}, {"noise_share": 1.0}):
        with pytest.raises(RecipeError):
            MixSpec(**spec)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"teaching\.folder"):
        TeachingSpec(posteriors=1.0)
    for wrong in ({"label_smoothing": 1.0}, {"epoch_clips": 0}, {"hops_weight": -1.0}):
        with pytest.raises(RecipeError, match=next(iter(wrong))):
            DialectRecipe(**wrong)  # type: ignore[arg-type]
    recipe.write_text(TOML)
    for change, reason in (
        ("mix.weights={tongue=0.5}", "mix.weights names tongue; trained on are tongues, more"),
        ("mix.weights={tongues=0.0, more=0.0}", "no labelled recording has 20 frames"),
        ("network.dropout=1.5", "dropout lie in [0, 1), got 24, 1.5"),
        ("network.dmsc.stem_kernel=1", "stem_kernel must be at least stride"),
        (f"init={tmp_path}/gone.pt", "gone.pt"),
        (f"init={recipe}", "bad.toml is not a readable checkpoint"),
        ("mix.noise.chance=2.0", "mix.noise: chance must be 0 to 1"),
    ):
        assert main([*command, "--set", change]) == 1
        assert reason in capsys.readouterr().err


def test_first_weights(task: DialectTask, tmp_path: Path) -> None:
    student, other = task.model(), task.model()
    save(tmp_path / "best.pt", {"model": {**other.state_dict(), "elsewhere": torch.zeros(3)}})
    first_weights(student, tmp_path / "best.pt")
    for mine, theirs in zip(student.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    save(tmp_path / "last.pt", {"module": other.state_dict()})
    with pytest.raises(CheckpointError, match=r"last\.pt has no key 'model'"):
        first_weights(student, tmp_path / "last.pt")
    save(tmp_path / "strange.pt", {"model": {"a": torch.zeros(3)}})
    with pytest.raises(CheckpointError, match="none of its weights"):
        first_weights(student, tmp_path / "strange.pt")


def test_compares(data: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, _, tables = TOML.partition("[data]")
    shared = head.replace("epoch_clips = 320", "epoch_clips = 64") + "[data]" + tables
    recipe = tmp_path / "compare.toml"
    lines = [
        line.replace("[", "[shared.", 1) if line.startswith("[") else line for line in shared.splitlines()
    ]
    recipe.write_text(
        "seeds = [4]\n[shared]\n" + "\n".join(lines) + "\n[networks.tiny]\nembedding = 24\n"
        "dmsc = { stem = 16, layers = [1, 1], growth = 16, bottleneck = 16 }\n"
    )
    out = tmp_path / "compare"
    command = ["compare", str(recipe), "--data", str(data), "--out", str(out), "--cache", str(cache)]
    assert main([*command, "--set", "shared.loop.epochs=1"]) == 0
    assert "| tiny | 0.0" in capsys.readouterr().out
    figures = json.loads((out / "tiny-4/test.json").read_text())
    assert figures["test"]["n"] == 4
    assert {"accuracy", "cavg", "eer"} <= figures["test"].keys()
    assert figures["parameters"] > 1000
    assert figures["multiplies_per_second"] > 1e5
    assert figures["rtf"] > 0
    others = [(f"{n}.wav", language) for n, language in enumerate(("aa", "bb", "bb", "dd"))]
    write_set(data / "abroad", [{"audio": a, "split": "test", "language": told} for a, told in others])
    command[command.index(str(out))] = str(tmp_path / "elsewhere")
    assert main([*command, "--set", "shared.loop.epochs=1", "--set", "test=abroad"]) == 0
    capsys.readouterr()
    assert json.loads((tmp_path / "elsewhere/tiny-4/test.json").read_text())["test"]["n"] == 3  # no dd
    assert main([*command, "--only", "tiny", "nobody"]) == 1
    assert "nothing is called nobody; there is tiny" in capsys.readouterr().err
