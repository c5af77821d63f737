"""Model files: what is stamped is read, and whatever is wrong with a file is named."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes import onnxfile
from stapes.model import Model
from stapes.onnxfile import ModelFileError
from tests.tools import needs, tiny_onnx
from tests.tools.tiny_onnx import message, number

SPEC = tiny_onnx.spec("stateful")


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_onnx.write(tmp_path_factory.mktemp("stamped"), SPEC)


def _write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    return path


def _with_metadata(*pairs: tuple[str, str]) -> bytes:
    entries = b"".join(message(14, message(1, key) + message(2, value)) for key, value in pairs)
    return tiny_onnx.build(SPEC) + entries


def test_what_is_stamped_is_read(stamped: Path) -> None:
    assert onnxfile.read_spec(stamped) == SPEC
    digest = onnxfile.verify(stamped)
    assert onnxfile.read_metadata(stamped) == {"stapes": SPEC.to_json(), "stapes_sha256": digest}


def test_stamping_again_replaces(stamped: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.onnx"
    other = replace(SPEC, name="other")
    digest = onnxfile.stamp(stamped, out, other)
    assert onnxfile.verify(out) == digest != onnxfile.verify(stamped)
    assert onnxfile.read_spec(out) == other
    assert onnxfile.stamp(out, out, SPEC) == onnxfile.verify(stamped)
    assert out.read_bytes() == stamped.read_bytes()
    assert list(tmp_path.iterdir()) == [out]


def test_foreign_metadata_is_kept(tmp_path: Path) -> None:
    path = _write(tmp_path, _with_metadata(("author", "ä"), ("stapes", "old"), ("note", "")))
    onnxfile.stamp(path, path, SPEC)
    assert onnxfile.read_spec(path) == SPEC
    metadata = onnxfile.read_metadata(path)
    assert (metadata["author"], metadata["note"]) == ("ä", "")


def test_onnx_reads_what_we_stamp(stamped: Path) -> None:
    onnx = needs.package("onnx", "the oracle for the wire format")
    model = onnx.load(stamped)
    onnx.checker.check_model(model, full_check=True)
    assert {p.key: p.value for p in model.metadata_props} == onnxfile.read_metadata(stamped)


def test_stamps_what_onnx_writes(tmp_path: Path) -> None:
    onnx = needs.package("onnx", "the oracle for the wire format")
    model = onnx.load_from_string(tiny_onnx.build(SPEC))
    onnx.helper.set_model_props(model, {"stapes_sha256": "short", "k": "v" * 300})
    path = _write(tmp_path, model.SerializeToString())
    onnxfile.stamp(path, path, SPEC)
    onnxfile.verify(path)
    assert onnxfile.read_metadata(path)["k"] == "v" * 300


def test_every_cut_is_refused(stamped: Path, tmp_path: Path) -> None:
    data = stamped.read_bytes()
    path = tmp_path / "cut.onnx"
    for length in [*range(0, len(data), 9), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(
            ModelFileError, match=r"cut short|is empty|is missing|not an ONNX|graphs, must be"
        ):
            onnxfile.verify(path)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_every_changed_byte_is_refused(
    stamped: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(stamped.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path = _write(tmp_path_factory.getbasetemp(), bytes(content))
    with pytest.raises(ModelFileError):
        onnxfile.verify(path)
    with pytest.raises(ModelFileError):
        Model.load(path)


@settings(deadline=None, max_examples=300)
@given(content=st.binary(max_size=200))
def test_any_bytes_give_a_named_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = _write(tmp_path_factory.getbasetemp(), content)
    with pytest.raises(ModelFileError, match=re.escape(str(path))):
        onnxfile.verify(path)


def test_appended_bytes_are_refused(stamped: Path, tmp_path: Path) -> None:
    path = _write(tmp_path, stamped.read_bytes() + message(6, "a doc string"))
    with pytest.raises(ModelFileError, match="damaged or changed: SHA-256"):
        onnxfile.verify(path)
    assert Model.load(path, verify=False).spec == SPEC


def test_missing_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="'stapes_sha256' is missing"):
        onnxfile.verify(_write(tmp_path, tiny_onnx.build(SPEC)))
    with pytest.raises(ModelFileError, match="'stapes' is missing"):
        onnxfile.read_spec(_write(tmp_path, tiny_onnx.build(SPEC)))
    with pytest.raises(ModelFileError, match="'stapes_sha256' is there twice"):
        onnxfile.verify(
            _write(tmp_path, _with_metadata(("stapes_sha256", "0" * 64), ("stapes_sha256", "1" * 64)))
        )
    with pytest.raises(ModelFileError, match="must be 64 characters, got 5"):
        onnxfile.verify(_write(tmp_path, _with_metadata(("stapes_sha256", "short"))))


@pytest.mark.parametrize(
    ("change", "message_"),
    [
        ({"schema": 2}, "schema 2, this stapes reads up to 1: install a newer stapes"),
        ({"schema": None}, "'schema' must be a whole number"),
        ({"schema": 0}, "schema 0, this stapes reads from 1"),
        ({"colour": "blue"}, "unknown metadata key 'colour'"),
        ({"labels": ["a", "a"]}, "'labels' names 'a' twice"),
        ({"name": 3}, "'name' must be str, got 3"),
        ({"window": {"frames": 3, "hop": 1, "lookahead": 0, "mode": "jumping"}}, "mode must be one of"),
        ({"window": {"frames": 3, "hop": 1, "lookahead": 0}}, r"'window\.mode' is missing"),
        ({"window": []}, "'window' must be an object, got list"),
    ],
)
def test_wrong_metadata_is_named(tmp_path: Path, change: dict[str, object], message_: str) -> None:
    raw = json.loads(SPEC.to_json()) | change
    with pytest.raises(ModelFileError, match=message_):
        onnxfile.read_spec(_write(tmp_path, _with_metadata(("stapes", json.dumps(raw)))))


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        *[("features", key, float("nan")) for key in ("frame_ms", "hop_ms", "low_hz", "scale", "floor")],
        ("features", "frame_ms", float("inf")),
        ("features", "frame_ms", 1e308),
        ("features", "frame_ms", 1e9),
        ("features", "frame_ms", 10**400),
        ("features", "sample_rate", 10**400),
        ("features", "mels", 10**9),
        ("features", "preemphasis", 97.0),
        ("features", "floor", 0.0),
        ("features", "floor", 1e-50),
        ("features", "floor", 1e50),
        ("features", "scale", -1.0),
        ("features", "scale", 1e50),
        ("window", "frames", 10**12),
        ("window", "hop", 10**12),
        ("window", "lookahead", 10**9),
    ],
)
def test_numbers_that_no_model_has_are_refused(tmp_path: Path, part: str, key: str, value: float) -> None:
    """Neither another error, nor all the memory, nor all the time."""
    raw = json.loads(SPEC.to_json())
    raw[part][key] = value
    with pytest.raises(ModelFileError, match=key):
        onnxfile.read_spec(_write(tmp_path, _with_metadata(("stapes", json.dumps(raw)))))


def test_states_of_one_name_are_refused(tmp_path: Path) -> None:
    raw = json.loads(SPEC.to_json())
    raw["states"] *= 2
    with pytest.raises(ModelFileError, match="'states' names 'mean' twice"):
        onnxfile.read_spec(_write(tmp_path, _with_metadata(("stapes", json.dumps(raw)))))


def test_endless_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="metadata is not JSON"):
        onnxfile.read_spec(_write(tmp_path, _with_metadata(("stapes", "[" * 100_000))))


@pytest.mark.parametrize("key", sorted(json.loads(SPEC.to_json())))
def test_each_missing_metadata_key_is_named(tmp_path: Path, key: str) -> None:
    raw = json.loads(SPEC.to_json())
    del raw[key]
    with pytest.raises(ModelFileError, match=f"'{key}'"):
        onnxfile.read_spec(_write(tmp_path, _with_metadata(("stapes", json.dumps(raw)))))


def _nested(depth: int, graph: bytes) -> bytes:
    for _ in range(depth):
        graph = message(1, message(4, "If") + message(5, message(1, "then_branch") + message(6, graph)))
    return graph


def test_external_data_is_refused_wherever_it_is(tmp_path: Path) -> None:
    far = tiny_onnx.tensor("far", np.zeros(1, np.float32), external=True)
    attribute = message(5, message(1, "value") + message(5, far))
    in_node = message(1, message(4, "Constant") + attribute)
    plain = tiny_onnx.build(SPEC)
    places = [
        tiny_onnx.build(SPEC, external=["matrix"]),
        message(7, in_node),
        message(7, message(1, message(5, message(1, "values") + message(10, far)))),
        message(7, message(15, message(1, far))),
        message(7, message(15, message(2, far))),
        message(7, message(1, message(5, message(1, "v") + message(22, message(1, far))))),
        message(7, _nested(3, in_node)),
        message(7, _nested(1, message(5, far))),
        plain + message(25, message(1, "f") + message(7, message(4, "Constant") + attribute)),
        plain + message(20, message(1, message(5, far))),
    ]
    for content in places:
        with pytest.raises(ModelFileError, match=r"'(far|matrix)' lies in another file \(external data\)"):
            onnxfile.stamp(_write(tmp_path, content), tmp_path / "out.onnx", SPEC)
    assert not (tmp_path / "out.onnx").exists()


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, message(7, _nested(2000, number(99, 1))))
    with pytest.raises(ModelFileError, match="more than 32 deep"):
        onnxfile.read_metadata(path)


def test_missing_file() -> None:
    with pytest.raises(FileNotFoundError):
        onnxfile.verify("no-such-file.onnx")


def test_a_second_graph_is_found_and_a_wrong_one_named() -> None:
    def with_tensor(content: bytes) -> bytes:
        return tiny_onnx.model(
            message(5, tiny_onnx.tensor("w", np.zeros(3, np.float32))) + message(5, content)
        )

    inner = np.arange(200, dtype=np.uint8)
    assert onnxfile.second_graph(tiny_onnx.build(SPEC)) is None
    assert (
        onnxfile.second_graph(with_tensor(tiny_onnx.tensor(onnxfile.SECOND_GRAPH, inner))) == inner.tobytes()
    )
    for wrong in (
        tiny_onnx.tensor(onnxfile.SECOND_GRAPH, np.zeros(3, np.float32)),
        number(2, 2) + message(8, onnxfile.SECOND_GRAPH),
    ):
        with pytest.raises(ModelFileError, match=r"'stapes\.decoder' must be raw bytes"):
            onnxfile.second_graph(with_tensor(wrong))
