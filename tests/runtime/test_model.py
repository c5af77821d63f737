"""Model: loading, states, and graphs that are not what their metadata says."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stapes import onnxfile
from stapes.model import Model, bundled_models
from stapes.onnxfile import ModelFileError
from stapes.samples import Frames
from stapes.spec import ModelSpec, StateSpec
from tests.runtime.conftest import Tiny
from tests.tools import tiny_onnx
from tests.tools.tiny_onnx import message, number

RNG = np.random.default_rng(3)


def _frames(n: int) -> Frames:
    return (RNG.standard_normal((n, 40)) * 3 - 8).astype(np.float32)


def _expected(mean: Frames) -> Frames:
    """The tiny model by numpy: mean (1, mels) to scores (1, labels)."""
    matrix, bias = tiny_onnx.weights(40)
    logits = mean.astype(np.float64) @ matrix + bias
    e = np.exp(logits - logits.max())
    return (e / e.sum()).astype(np.float32)


def test_scores_are_those_of_numpy(tiny: Tiny) -> None:
    model = tiny("sliding").fork()
    for n in (1, 2, 30, 111):
        frames = _frames(n)
        scores = model(frames)
        assert scores.shape == (1, 4)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, _expected(frames.mean(axis=0, keepdims=True)), atol=1e-5)


def test_state_is_carried_reset_and_not_shared(tiny: Tiny) -> None:
    model = tiny("stateful").fork()
    blocks = [_frames(10) for _ in range(4)]
    state = np.zeros((1, 40))
    first = []
    for block in blocks:
        state = 0.6 * state + 0.4 * block.mean(axis=0, keepdims=True)
        first.append(model(block))
        np.testing.assert_allclose(first[-1], _expected(state), atol=1e-5)
    other = model.fork()
    np.testing.assert_array_equal(other(blocks[0]), first[0])
    model.reset()
    for block, scores in zip(blocks, first, strict=True):
        np.testing.assert_array_equal(model(block), scores)
    np.testing.assert_array_equal(other(blocks[1]), first[1])


def test_calls_of_changing_lengths_share_the_state(tiny: Tiny) -> None:
    """The first length is bound to fixed memory; others, and what was returned before, must not suffer."""
    model = tiny("stateful").fork()
    state = np.zeros((1, 40))
    found, expected = [], []
    for n in (10, 10, 3, 10, 7, 7, 10, 10, 1, 10):
        block = _frames(n)
        state = 0.6 * state + 0.4 * block.mean(axis=0, keepdims=True)
        found.append(model(block))
        expected.append(_expected(state))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_wrong_frames_are_refused_with_their_shape(tiny: Tiny) -> None:
    model = tiny("sliding")
    for frames in (np.zeros((3, 39), np.float32), np.zeros(40, np.float32), np.zeros((3, 40))):
        with pytest.raises(ValueError, match=r"wants \(frames, 40\) float32, got \(.*\) float"):
            model(frames)  # type: ignore[arg-type]


def test_names_and_paths(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny("sliding").path
    assert Model.load(path).spec == Model.load(str(path)).spec == tiny("sliding").spec
    names = ", ".join(bundled_models()) or "none"
    with pytest.raises(ModelFileError, match=rf"no bundled model 'parrot' \(there are: {names}\)"):
        Model.load("parrot")
    with pytest.raises(FileNotFoundError, match=r"no model file parrot\.onnx"):
        Model.load("parrot.onnx")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.onnx").write_bytes(path.read_bytes())
    assert Model.load("here.onnx").spec == tiny("sliding").spec
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        Model.load(path, threads=0)


def _stamped(tmp_path: Path, content: bytes, spec: ModelSpec) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    onnxfile.stamp(path, path, spec)
    return path


def test_graphs_unlike_their_metadata_are_refused(tmp_path: Path) -> None:
    stateful, sliding = tiny_onnx.spec("stateful"), tiny_onnx.spec("sliding")
    cases = [
        (
            tiny_onnx.build(stateful),
            sliding,
            r"wants inputs \['frames'\], the graph has \['frames', 'mean'\]",
        ),
        (
            tiny_onnx.build(sliding),
            stateful,
            r"wants inputs \['frames', 'mean'\], the graph has \['frames'\]",
        ),
        (
            tiny_onnx.build(stateful),
            replace(stateful, states=(StateSpec("mean", (2, 40)),)),
            "input 'mean' must",
        ),
        (tiny_onnx.build(sliding), tiny_onnx.spec("sliding", mels=20), "input 'frames' must be"),
        (
            tiny_onnx.build(stateful).replace(b"mean_next", b"mean_nexT"),
            stateful,
            r"wants outputs \['mean_next'\]",
        ),
    ]
    for content, spec, reason in cases:
        with pytest.raises(ModelFileError, match=reason):
            Model.load(_stamped(tmp_path, content, spec))
    labels = replace(sliding, labels=("_silence_", "_unknown_", "low"))
    with pytest.raises(ModelFileError, match=r"scores are \['batch', 1, 4\], the metadata names 3 labels"):
        Model.load(_stamped(tmp_path, tiny_onnx.build(sliding), labels))


def _fixed(content: bytes, axis: bytes, size: int) -> bytes:
    """The model with a symbolic axis made a number; "batch" and the like are one byte of length each."""
    symbolic = message(1, message(2, axis))
    number_ = message(1, number(1, size) + message(3, b"x" * (len(axis) - 2)))
    assert len(symbolic) == len(number_)
    assert symbolic in content
    return content.replace(symbolic, number_)


def test_fixed_axes_unlike_the_metadata_are_refused(tmp_path: Path) -> None:
    content = _fixed(tiny_onnx.build(tiny_onnx.spec("stateful")), b"frames", 30)
    with pytest.raises(
        ModelFileError, match=r"input 'frames' must be \(batch, 10, 40\), the graph has \['batch', 30"
    ):
        Model.load(_stamped(tmp_path, content, tiny_onnx.spec("stateful")))
    content = _fixed(tiny_onnx.build(tiny_onnx.spec("sliding")), b"frames", 30)
    assert Model.load(_stamped(tmp_path, content, tiny_onnx.spec("sliding")))(_frames(30)).shape == (1, 4)
    with pytest.raises(ModelFileError, match=r"m\.onnx: onnxruntime cannot run it on \(7, 40\)"):
        Model.load(tmp_path / "m.onnx")(_frames(7))


@pytest.mark.parametrize("axis", [1, 2])
def test_a_state_that_comes_back_in_another_shape_is_refused(tmp_path: Path, axis: int) -> None:
    """It is its own sum over an axis; of mels (batch, 1, 1) would even fit into the place of (1, 40)."""
    spec = replace(tiny_onnx.spec("stateful"), states=(StateSpec("mean", (2, 40)),))
    matrix, bias = tiny_onnx.weights(40)
    nodes = [
        tiny_onnx.Node("ReduceSum", ["mean", "axis"], ["mean_next"], {"keepdims": 1}),
        tiny_onnx.Node("MatMul", ["frames", "matrix"], ["product"]),
        tiny_onnx.Node("Add", ["product", "bias"], ["scores"]),
    ]
    content = tiny_onnx.model(
        tiny_onnx.graph(
            nodes,
            {"axis": np.array([axis]), "matrix": matrix, "bias": bias},
            {"frames": ("batch", "frames", 40), "mean": ("batch", 2, 40)},
            {"scores": ("batch", "steps", 4), "mean_next": ("batch", "rows", "columns")},
        )
    )
    back = "(1, 1, 40)" if axis == 1 else "(1, 2, 1)"
    reason = f"state 'mean' comes back as {back}, the metadata says (1, 2, 40)"
    with pytest.raises(ModelFileError, match=re.escape(reason)):
        Model.load(_stamped(tmp_path, content, spec))(_frames(10))


def test_what_onnxruntime_refuses_is_named(tmp_path: Path) -> None:
    spec = tiny_onnx.spec("sliding")
    content = tiny_onnx.build(spec).replace(b"Softmax", b"Sofxmat")
    with pytest.raises(ModelFileError, match=r"m\.onnx: onnxruntime refuses it: .*Sofxmat"):
        Model.load(_stamped(tmp_path, content, spec))
