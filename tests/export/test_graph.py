"""torch to ONNX and simplification: names, axes, fewer nodes, the same numbers."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from export.errors import ExportError, ParityError
from export.parity import TOLERANCE, pieces, random_parity, real_parity, run_module, session
from export.simplify import operators, simplify
from export.torch_to_onnx import OPSET, to_onnx
from stapes.model import Model
from stapes.onnxfile import stamp


def test_names_axes_and_opset(exported: Any) -> None:
    _, spec, folder, *_ = exported
    model = onnx.load(folder / "after.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]

    def shapes(values: Any) -> dict[str, list[str | int]]:
        return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    states = {state.name: ["batch", *state.shape] for state in spec.states}
    assert shapes(model.graph.input) == {"frames": ["batch", "frames", 8], **states}
    scores = shapes(model.graph.output).pop("scores")
    assert (scores[0], scores[2]) == ("batch", 3)
    assert list(shapes(model.graph.output)) == ["scores", *(f"{name}_next" for name in states)]


def test_simplified_graph_is_smaller_and_the_same(exported: Any) -> None:
    module, spec, folder, before, after = exported
    assert sum(after.values()) < sum(before.values())
    assert not {"BatchNormalization", "Identity", "GatherND", "SequenceAt"} & set(after)
    features = np.random.default_rng(1).normal(-5, 4, (2, 24, 8)).astype(np.float32)
    feeds = {"frames": features} | {s.name: np.ones((2, *s.shape), np.float32) for s in spec.states}
    old, new = (session(folder / f"{name}.onnx").run(None, feeds) for name in ("before", "after"))
    wanted = run_module(module, features, list(feeds.values())[1:])
    for first, second, truth in zip(old, new, wanted, strict=True):
        np.testing.assert_allclose(first, truth, atol=2e-6)
        np.testing.assert_allclose(second, truth, atol=2e-6)


def test_parity_on_random_lengths_and_batches(exported: Any) -> None:
    module, spec, folder, *_ = exported
    found = random_parity(module, spec, folder / "after.onnx")
    assert 0 < found.whole < TOLERANCE
    assert (0 < found.chunked < TOLERANCE) if spec.states else found.chunked == 0


def test_parity_sees_one_changed_weight(exported: Any) -> None:
    module, spec, folder, *_ = exported
    weight = module.classifier.weight
    with torch.no_grad():
        weight[0, 0] += 0.05
    try:
        with pytest.raises(ParityError, match=r"differ by .*, allowed is 0.0001"):
            random_parity(module, spec, folder / "after.onnx")
    finally:
        with torch.no_grad():
            weight[0, 0] -= 0.05


def test_parity_hears_segments_shorter_than_the_longest(small: ModuleType, tmp_path: Path) -> None:
    class Faint(small.Segment):  # type: ignore[misc, name-defined]
        """Right for whole windows only, once it is exported."""

        def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor]:
            (scores,) = super().forward(frames)
            if not torch.compiler.is_exporting():
                return (scores,)
            return (scores * frames.new_ones(frames.shape[1]).sum().clamp(max=50) / 50,)

    module = small.built(Faint)
    ir.save(to_onnx(module, small.SEGMENT), tmp_path / "faint.onnx")
    with pytest.raises(ParityError, match="module and graph differ by"):
        random_parity(module, small.SEGMENT, tmp_path / "faint.onnx")


@pytest.mark.parametrize("exported", ["Stateful"], indirect=True)
def test_segments_with_states_are_exported_and_compared_hop_by_hop(
    exported: Any, small: ModuleType, tmp_path: Path
) -> None:
    module, spec, folder, _, after = exported
    graph = to_onnx(module, small.SPEECH)
    simplify(graph)
    assert operators(graph) == after
    assert random_parity(module, small.SPEECH, folder / "after.onnx").chunked > 0
    stamp(folder / "after.onnx", tmp_path / "speech.onnx", small.SPEECH)
    model = Model.load(tmp_path / "speech.onnx")
    assert real_parity(module, model, small.clips()) == real_parity(module, model, small.clips())
    features = np.zeros((11, 8), np.float32)
    assert [len(piece) for piece in pieces(features, small.SPEECH)] == [4, 4]
    assert spec.states == small.SPEECH.states


def test_parity_refuses_what_are_no_posteriors(small: ModuleType, tmp_path: Path) -> None:
    class Doubled(small.Sliding):  # type: ignore[misc, name-defined]
        def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor]:
            return (5 * super().forward(frames)[0],)

    module = small.built(Doubled)
    ir.save(to_onnx(module, small.SLIDING), tmp_path / "doubled.onnx")
    with pytest.raises(ParityError, match="are no posteriors"):
        random_parity(module, small.SLIDING, tmp_path / "doubled.onnx")


@pytest.mark.parametrize("exported", ["Stateful"], indirect=True)
def test_reshape_and_gather_are_simple(exported: Any) -> None:
    _, _, folder, _, after = exported
    graph = ir.load(folder / "after.onnx").graph
    shapes = [node.inputs[1] for node in graph if node.op_type == "Reshape"]
    assert shapes
    assert all(shape is not None and shape.is_initializer() for shape in shapes)
    assert after["Gather"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("a", "b")}, "'scores' has shape"),
        ({"states": ()}, r"cannot export|has inputs"),
    ],
)
def test_spec_that_does_not_fit_is_named(small: ModuleType, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        to_onnx(small.built(small.Stateful), replace(small.STATEFUL, **change))


def test_fixed_time_is_refused(small: ModuleType) -> None:
    class Fixed(small.Segment):  # type: ignore[misc, name-defined]
        def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor]:
            return super().forward(frames + torch.linspace(0, 1, 50)[:, None])  # type: ignore[no-any-return]

    with pytest.raises(ExportError, match=r"dynamic batch and time|fixed to"):
        to_onnx(small.built(Fixed), small.SEGMENT)


def test_export_leaves_the_torch_module_as_it_was(small: ModuleType, tmp_path: Path) -> None:
    module = small.built(small.Sliding)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    graph = to_onnx(module, small.SLIDING)
    simplify(graph)
    ir.save(graph, tmp_path / "sliding.onnx")
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_normalisation_is_folded_where_a_shape_is_asked_before_it(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weights = {"w": (4, 1, 3, 3), "gamma": (4,), "beta": (4,), "mean": (4,), "var": (4,)}
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 20]>
        g (float[batch, 1, time, 8] x) => (float[batch, 4, steps, 6] y, int64[1] n) {
            c = Conv (x, w)
            n = Shape <start = 2, end = 3> (c)
            y = BatchNormalization (c, gamma, beta, mean, var)
        }""")
    for name, shape in weights.items():
        values = generator.uniform(0.5, 1.5, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "before.onnx")
    graph = ir.serde.deserialize_model(model)
    simplify(graph)
    assert operators(graph) == {"Conv": 1, "Shape": 1}
    ir.save(graph, tmp_path / "after.onnx")
    feeds = {"x": generator.normal(size=(2, 1, 9, 8)).astype(np.float32)}
    old, new = (session(tmp_path / f"{name}.onnx").run(["y", "n"], feeds) for name in ("before", "after"))
    np.testing.assert_allclose(old[0], new[0], atol=1e-5)
    np.testing.assert_array_equal(old[1], new[1])
