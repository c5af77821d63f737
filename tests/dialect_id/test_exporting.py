"""From a trained checkpoint to a model file that streams and scores whole clips alike."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dialect_id.dmsc import DMSCSpec
from dialect_id.exporting import exportable, whole_hops
from dialect_id.head import HeadSpec
from dialect_id.network import NetworkSpec
from dialect_id.recipe import DataSpec, DialectRecipe
from dialect_id.student import Student, make_network
from export.pipeline import export
from export.provenance import with_provenance
from stapes.fbank import fbank
from stapes.model import Model
from stapes.scoring import score
from stapes.spec import FbankSpec
from stapes.tasks.dialect_id import DialectParams
from tests.dialect_id.made_up import data_sets, speak
from training.checkpoint import save
from training.naming import placeless
from training.recipe import to_dict

RECIPE = DialectRecipe(
    name="tiny",
    data=DataSpec(main="tongues", noise=(), held_out=("dd",), dev_share=0.3),
    features=FbankSpec(mels=24, high_hz=7600.0),
    network=NetworkSpec(dmsc=DMSCSpec(stem=16, layers=(1, 1), growth=16, bottleneck=16), embedding=24),
    head=HeadSpec(kind="cosine", scale=8.0, centres=2),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_sets(tmp_path_factory.mktemp("data"))


def checkpoint(recipe: DialectRecipe = RECIPE) -> dict[str, object]:
    """Of a network with random weights and normalisation."""
    torch.manual_seed(0)
    network = make_network(recipe, 2)
    network.normalise(torch.full((24,), -5.0), torch.full((24,), 3.0))
    return {
        "task": "dialect_id",
        "recipe": to_dict(recipe),
        "model": Student(network, recipe.network.embedding, teacher_width=5).state_dict(),
        "metrics": {"accuracy": 0.5},
        "provenance": {"labels": ["aa", "bb"], "data": ["tongues"]},
    }


def test_a_file_streams_and_scores(data: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "best.pt", tmp_path / "tiny.onnx"
    save(source, checkpoint())
    report = export(source, target, data)
    assert report.real.clips > 1
    assert max(report.random.whole, report.random.chunked) < 1e-4
    model = Model.load(target)
    spec = model.spec
    assert (spec.task, spec.window.mode, spec.window.hop, spec.labels) == (
        "dialect_id",
        "segment",
        50,
        ("aa", "bb"),
    )
    assert spec.streamed
    assert DialectParams.of(spec) == DialectParams()
    assert spec.provenance["recipe"]["data"]["main"] == "tongues"
    # What the file says after all of a clip is what the network says of it whole.
    samples = speak("aa", 2.355)  # 234 frames, nothing left over: scoring would centre it
    found = exportable(checkpoint(), data)
    frames = whole_hops(fbank(samples, spec.features), 50, spec.features)
    with torch.no_grad():
        wanted = found.module.net(torch.from_numpy(frames)[None]).softmax(-1)[0].numpy()  # type: ignore[operator, union-attr]
    scores = score(model, samples)
    assert scores.shape == (len(frames) // 50, 2)
    assert np.abs(scores[-1] - wanted).max() < 1e-4


def test_judges_are_the_dev_part(data: Path) -> None:
    found = exportable(checkpoint(), data)
    features = list(found.calibration())
    assert features
    assert all(len(each) % 50 == 0 for each in features)
    one = found.accuracy(lambda frames: np.tile([0.9, 0.1], (len(frames) // 50, 1)))
    other = found.accuracy(lambda frames: np.tile([0.1, 0.9], (len(frames) // 50, 1)))
    assert one + other == pytest.approx(1)
    assert 0 < one < 1

    def late(frames: np.ndarray) -> np.ndarray:
        """Thinks so from the guess at three seconds on, or at the end of what is shorter."""
        given = np.tile([0.1, 0.9], (len(frames) // 50, 1))
        given[: min(5, len(given) - 1)] = [0.9, 0.1]
        return given

    assert found.accuracy(late) == pytest.approx(other)
    assert max(len(each) for each in features) >= 300


def test_whole_hops_as_scoring_fills_them() -> None:
    spec = FbankSpec()
    frames = np.zeros((73, 40), np.float32)
    filled = whole_hops(frames, 50, spec)
    assert filled.shape == (100, 40)
    assert np.array_equal(filled[-1], fbank(np.zeros(400, np.float32), spec)[0])
    assert whole_hops(frames[:50], 50, spec).shape == (50, 40)


def test_only_streams_are_exported(data: Path) -> None:
    recipe = replace(RECIPE, network=replace(RECIPE.network, kind="x-vector"))
    with pytest.raises(TypeError, match="x-vector"):
        exportable(checkpoint(recipe), data)


def test_no_path_travels() -> None:
    recipe = to_dict(replace(RECIPE))
    recipe["teaching"]["folder"] = "/home/somebody/teachers/whisper"
    recipe["init"] = "/home/somebody/best.pt"
    recipe["data"] |= {
        "main": "/home/somebody/sets/tongues",
        "extra": ["../somebody/more", "sets/near"],
        "noise": ["/home/somebody/hum"],
        "given": {"../somebody/more": "aa"},
    }
    recipe["mix"]["weights"] = {"../somebody/more": 0.5}
    told = placeless(recipe)
    assert "somebody" not in json.dumps(told)
    assert (told["teaching"]["folder"], told["init"]) == ("whisper", "best.pt")
    assert told["data"]["main"] == "tongues"
    assert told["data"]["extra"] == ["more", "sets/near"]
    assert told["data"]["noise"] == ["hum"]
    assert told["data"]["given"] == {"more": "aa"}
    assert told["mix"]["weights"] == {"more": 0.5}
    assert told["features"] == asdict(RECIPE.features)
    assert recipe["data"]["main"].startswith("/home")  # the checkpoint's own is left alone


def test_no_path_travels_in_a_file(data: Path) -> None:
    recipe = replace(RECIPE, data=replace(RECIPE.data, main=str(data / "tongues")))
    source = checkpoint(recipe)
    source["provenance"] = {
        "labels": ["aa", "bb"],
        "data": [recipe.data.main],
        "hours": {recipe.data.main: 1.0},
    }
    told = with_provenance(exportable(source, Path("elsewhere")).spec, source, {}).provenance
    assert str(data) not in json.dumps(told)
    assert (told["data"], told["hours"]) == (["tongues"], {"tongues": 1.0})
