"""A network on an encoder of speech: what it begins with, what it refuses, and its file."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr.distill.heads import Pupil
from asr.distill.recipe import HeadSpec
from dialect_id.exporting import exportable, whole_hops
from dialect_id.network import NetworkSpec
from dialect_id.pooled_encoder import PooledEncoderSpec, of_student
from dialect_id.recipe import DataSpec, DialectRecipe
from dialect_id.student import Student, make_network
from dialect_id.task import DialectTask
from export.pipeline import export
from stapes.fbank import fbank
from stapes.model import Model
from stapes.scoring import score
from stapes.spec import FbankSpec
from tests.dialect_id.made_up import SMALL, data_sets, speak
from training.checkpoint import CheckpointError, save
from training.encoder.front import FbankFront
from training.encoder.network import Encoder
from training.recipe import RecipeError, to_dict

ENCODER = replace(SMALL, mels=24, chunk=25, history=25, dropout=0.0)
RECIPE = DialectRecipe(
    name="tiny",
    data=DataSpec(main="tongues", noise=(), dev_share=0.3, variants=1, rooms=0),
    features=FbankSpec(mels=24),
    network=NetworkSpec(
        kind="pooled-encoder",
        pooled_encoder=PooledEncoderSpec(ENCODER, taps=(1, 2), pooled=12),
        embedding=8,
        dropout=0.0,
    ),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_sets(tmp_path_factory.mktemp("data"))


def pupil() -> Pupil:
    """As `asr.distill` teaches one, in other chunks; they are no matter to the weights."""
    torch.manual_seed(3)
    made = Pupil(replace(ENCODER, chunk=8, history=16), HeadSpec(students=(1,), teachers=(1,)), 10, None, 1)
    assert isinstance(made.student.front, FbankFront)
    made.student.front.normalise(torch.full((24,), -3.0), torch.full((24,), 2.0))
    return made


def test_it_begins_with_all_weights_of_a_student(data: Path, tmp_path: Path) -> None:
    taught = pupil()
    save(tmp_path / "best.pt", {"model": taught.state_dict()})
    recipe = replace(RECIPE, init_encoder=str(tmp_path / "best.pt"))
    task = DialectTask(recipe, data, tmp_path / "cache")
    task.prepare(torch.device("cpu"))
    student = task.model()
    assert isinstance(student, Student)
    mine, theirs = student.state_dict(), taught.student.state_dict()
    for name, weight in theirs.items():
        torch.testing.assert_close(mine[of_student(f"student.{name}")], weight)
    front = {f"net.network.encoder.front.{name}" for name in ("mean", "scale")}
    taken = {of_student(f"student.{name}") for name in theirs}
    encoder = {name for name in mine if name.startswith("net.network.encoder.")}
    assert encoder | {"net.mean", "net.scale"} == taken | front
    frames = torch.randn(2, 100, 24)
    with torch.no_grad():
        heard = student.net.eval().hops_and_steps(frames)[1]
        other = Encoder(ENCODER).eval()
        other.load_state_dict(theirs)
        torch.testing.assert_close(heard, other(frames).states[-1], atol=1e-5, rtol=1e-5)


def test_another_encoder_is_no_beginning(data: Path, tmp_path: Path) -> None:
    save(tmp_path / "best.pt", {"model": pupil().state_dict()})
    for other in (replace(ENCODER, layers=3), replace(ENCODER, inner=32), replace(ENCODER, width=32)):
        network = replace(RECIPE.network, pooled_encoder=PooledEncoderSpec(other, taps=(1,)))
        recipe = replace(RECIPE, network=network, init_encoder=str(tmp_path / "best.pt"))
        task = DialectTask(recipe, data, tmp_path / "cache")
        task.prepare(torch.device("cpu"))
        with pytest.raises(CheckpointError, match="another encoder: it has no net"):
            task.model()
    with pytest.raises(RecipeError, match="one of the two"):
        replace(RECIPE, init="best.pt", init_encoder="best.pt")


def test_heads_of_a_pupil_have_no_place() -> None:
    assert of_student("heads.0.weight") == ""
    assert of_student("student.front.mean") == "net.mean"


def test_only_a_pooled_encoder_begins_so() -> None:
    with pytest.raises(RecipeError, match="pooled-encoder, not 'dmsc'"):
        DialectRecipe(init_encoder="best.pt")


@pytest.mark.parametrize(
    "wrong",
    [{"hop": 30}, {"hop": 0}, {"taps": ()}, {"taps": (3,)}, {"taps": (0,)}, {"cap": 1}, {"pooled": 0}],
)
def test_spec_refuses_what_does_not_fit(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="got"):
        replace(RECIPE.network.pooled_encoder, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got"):
        PooledEncoderSpec(replace(ENCODER, chunk=0, history=0))


def test_a_file_streams_and_scores(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = make_network(RECIPE, 3)
    network.normalise(torch.full((24,), -5.0), torch.full((24,), 3.0))
    checkpoint = {
        "task": "dialect_id",
        "recipe": to_dict(RECIPE),
        "model": Student(network, RECIPE.network.embedding).state_dict(),
        "metrics": {"accuracy": 0.5},
        "provenance": {"labels": ["aa", "bb", "cc"], "data": ["tongues"]},
    }
    assert exportable(checkpoint, data).int8 == "dynamic"
    source, target = tmp_path / "best.pt", tmp_path / "tiny.onnx"
    save(source, checkpoint)
    report = export(source, target, data)
    assert max(report.random.whole, report.random.chunked) < 1e-4
    model = Model.load(target)
    assert [state.name for state in model.spec.states] == [
        "heard",
        "placed",
        "looked",
        "seen",
        "sums",
        "count",
    ]
    samples = speak("aa", 2.355)
    frames = whole_hops(fbank(samples, model.spec.features), 50, model.spec.features)
    with torch.no_grad():
        net = exportable(checkpoint, data).module.net
        assert callable(net)
        wanted = net(torch.from_numpy(frames)[None]).softmax(-1)[0]
    torch.testing.assert_close(torch.from_numpy(score(model, samples)[-1]), wanted, atol=1e-4, rtol=0)
