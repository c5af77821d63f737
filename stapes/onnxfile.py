"""What a .onnx file says of itself: its `ModelSpec` and a SHA-256, written into the file, no side files.

A model is a protobuf message, of which only the outline is needed here (`stapes.wire` walks it); field
numbers are those of onnx.proto. Two `metadata_props` are ours: `stapes`, the spec as JSON, and
`stapes_sha256`, the hash of the whole file with that value itself read as 64 zeros.

A model that writes text has a second graph, and may have a language model. They lie in the first graph as
tensors of bytes that no node uses, named `stapes.decoder` and `stapes.language_model`: a valid model still,
which others may open and the hash covers whole.

The hash is integrity, not authenticity: it tells of a cut or damaged file. Whoever changes a file on
purpose can stamp it anew, so load only models from those whom you trust.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from stapes.spec import ModelSpec, SpecError
from stapes.wire import Field, ModelFileError, delimited, walk

__all__ = [
    "HASH_KEY",
    "LANGUAGE_MODEL",
    "SECOND_GRAPH",
    "SPEC_KEY",
    "ModelFileError",
    "inner",
    "language_model",
    "read",
    "read_metadata",
    "read_spec",
    "second_graph",
    "stamp",
    "verify",
]

SPEC_KEY = "stapes"
HASH_KEY = "stapes_sha256"
SECOND_GRAPH = "stapes.decoder"
LANGUAGE_MODEL = "stapes.language_model"
_BLANK = b"0" * 64
_MODEL_GRAPH, _MODEL_METADATA, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 14, 20, 25
_MOST_NESTED = 32
"""Graphs within nodes within graphs: no real model goes so deep, a hostile one would exhaust the stack."""


@dataclass(frozen=True, slots=True)
class _Outline:
    """The two things of a file that matter here."""

    metadata: dict[str, tuple[str, int, int]]
    """Key to value, and where the field with both begins and ends."""
    hash_at: int
    """Where the 64 characters of the hash start; -1 if there is none."""


def _outline(data: bytes) -> _Outline:
    """Reads the top of a file.

    Raises:
        ModelFileError: cut, damaged, no ONNX model, or with tensors in other files.
    """
    if not data:
        raise ModelFileError("the file is empty")
    metadata: dict[str, tuple[str, int, int]] = {}
    hash_at, graphs = -1, 0
    for field in walk(data, 0, len(data)):
        if field.number == _MODEL_GRAPH:
            graphs += 1
            _refuse_external(data, field, _GRAPH, 0)
        elif field.number == _MODEL_FUNCTIONS:
            _refuse_external(data, field, _FUNCTION, 0)
        elif field.number == _MODEL_TRAINING:
            _refuse_external(data, field, _TRAINING, 0)
        elif field.number == _MODEL_METADATA:
            parts = {part.number: part for part in walk(data, field.start, field.end)}
            key, value = (_text(data, parts.get(number)) for number in (1, 2))
            if key in metadata:
                raise ModelFileError(f"metadata key {key!r} is there twice")
            metadata[key] = (value, field.begin, field.end)
            if key == HASH_KEY and 2 in parts:
                hash_at = parts[2].start
    if graphs != 1:
        raise ModelFileError(f"not an ONNX model: {graphs} graphs, must be one")
    return _Outline(metadata, hash_at)


def _text(data: bytes, field: Field | None) -> str:
    if field is None:
        return ""
    try:
        return data[field.start : field.end].decode()
    except UnicodeDecodeError:
        raise ModelFileError(f"damaged: metadata at byte {field.start} is not UTF-8") from None


# Which fields of which message lead to tensors (onnx.proto). A tensor with `data_location` EXTERNAL, or with
# `external_data`, lives in another file, which no hash here covers.
_GRAPH, _NODE, _ATTRIBUTE, _FUNCTION, _TRAINING, _TENSOR, _SPARSE = range(7)
_INTO: dict[int, dict[int, int]] = {
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
}
_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 2, 8, 9, 13, 14
_UINT8 = 2
_GRAPH_TENSOR = 5


def _refuse_external(data: bytes, message: Field, kind: int, depth: int) -> None:
    if depth > _MOST_NESTED:
        raise ModelFileError(f"graphs within graphs, more than {_MOST_NESTED} deep")
    if kind == _TENSOR:
        name, external = "", False
        for field in walk(data, message.start, message.end):
            if field.number == _TENSOR_NAME:
                name = _text(data, field)
            external |= field.number == _TENSOR_EXTERNAL
            external |= field.number == _TENSOR_LOCATION and field.value != 0
        if external:
            raise ModelFileError(
                f"tensor {name!r} lies in another file (external data); a model must be one file"
            )
        return
    into = _INTO[kind]
    for field in walk(data, message.start, message.end):
        if field.number in into:
            _refuse_external(data, field, into[field.number], depth + 1)


def _digest(data: bytes, hash_at: int) -> str:
    digest = hashlib.sha256()
    view = memoryview(data)
    digest.update(view[:hash_at])
    digest.update(_BLANK)
    digest.update(view[hash_at + len(_BLANK) :])
    return digest.hexdigest()


def _verify(data: bytes, outline: _Outline) -> str:
    said = outline.metadata.get(HASH_KEY, ("", 0, 0))[0]
    if not said:
        raise ModelFileError(f"metadata key {HASH_KEY!r} is missing: the file was not stamped by stapes")
    if len(said) != len(_BLANK):
        raise ModelFileError(f"metadata key {HASH_KEY!r} must be {len(_BLANK)} characters, got {len(said)}")
    found = _digest(data, outline.hash_at)
    if found != said:
        raise ModelFileError(f"damaged or changed: SHA-256 is {found[:12]}…, the file says {said[:12]}…")
    return found


def _spec(outline: _Outline) -> ModelSpec:
    if SPEC_KEY not in outline.metadata:
        raise ModelFileError(f"metadata key {SPEC_KEY!r} is missing: the file was not stamped by stapes")
    try:
        return ModelSpec.from_json(outline.metadata[SPEC_KEY][0])
    except SpecError as error:
        raise ModelFileError(str(error)) from error


def read(path: str | os.PathLike[str], *, check: bool = True) -> tuple[bytes, ModelSpec]:
    """A model file's content and its spec, the file read once.

    Args:
        path: the .onnx file.
        check: compare the hash.

    Raises:
        FileNotFoundError: no such file.
        ModelFileError: cut, damaged, not stamped, newer than this stapes, or with external data.
    """
    data = Path(path).read_bytes()
    try:
        outline = _outline(data)
        if check:
            _verify(data, outline)
        return data, _spec(outline)
    except ModelFileError as error:
        raise ModelFileError(f"{Path(path)}: {error}") from error.__cause__


def second_graph(data: bytes) -> bytes | None:
    """The serialised second graph in a model file's content, None if it has none. Raises as `inner`."""
    return inner(data, SECOND_GRAPH)


def language_model(data: bytes) -> bytes | None:
    """The language model in a model file's content, None if it has none. Raises as `inner`."""
    return inner(data, LANGUAGE_MODEL)


def inner(data: bytes, name: str) -> bytes | None:
    """The bytes that a tensor of a model file's graph stands for, None if there is none of that name.

    Raises:
        ModelFileError: it is of another type, or its bytes are not kept raw.
    """
    for graph in walk(data, 0, len(data)):
        if graph.number != _MODEL_GRAPH:
            continue
        for tensor in walk(data, graph.start, graph.end):
            if tensor.number != _GRAPH_TENSOR:
                continue
            parts = {part.number: part for part in walk(data, tensor.start, tensor.end)}
            if _text(data, parts.get(_TENSOR_NAME)) != name:
                continue
            kind, raw = parts.get(_TENSOR_TYPE), parts.get(_TENSOR_RAW)
            if kind is None or kind.value != _UINT8 or raw is None:
                raise ModelFileError(f"tensor {name!r} must be raw bytes (uint8)")
            return data[raw.start : raw.end]
    return None


def read_spec(path: str | os.PathLike[str]) -> ModelSpec:
    """The spec in a model file, the hash not compared. Raises as `read`."""
    return read(path, check=False)[1]


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """All `metadata_props` of any self-contained ONNX file, stamped or not. Raises as `read`."""
    try:
        return {key: value for key, (value, _, _) in _outline(Path(path).read_bytes()).metadata.items()}
    except ModelFileError as error:
        raise ModelFileError(f"{Path(path)}: {error}") from None


def verify(path: str | os.PathLike[str]) -> str:
    """The file's SHA-256, as stamped, after comparing it with its content. Raises as `read`."""
    data, _ = read(path)
    return _outline(data).metadata[HASH_KEY][0]


def stamp(path_in: str | os.PathLike[str], path_out: str | os.PathLike[str], spec: ModelSpec) -> str:
    """Writes a copy of a model with `spec` and the hash in it; an earlier stamp is replaced.

    Args:
        path_in: any self-contained ONNX file.
        path_out: may be the same; written under another name first, so it is never half there.
        spec: what the model is.

    Returns:
        The SHA-256.

    Raises:
        ModelFileError: as `read`.
    """
    data = Path(path_in).read_bytes()
    try:
        outline = _outline(data)
    except ModelFileError as error:
        raise ModelFileError(f"{Path(path_in)}: {error}") from None
    stamped = bytearray()
    kept = 0
    for key in sorted({SPEC_KEY, HASH_KEY} & outline.metadata.keys(), key=lambda k: outline.metadata[k][1]):
        _, begin, end = outline.metadata[key]
        stamped += data[kept:begin]
        kept = end
    stamped += data[kept:]
    # Fields of a message may come in any order, so ours go last and nothing before them has to move.
    stamped += _entry(SPEC_KEY, spec.to_json().encode()) + _entry(HASH_KEY, _BLANK)
    digest = _digest(bytes(stamped), len(stamped) - len(_BLANK))
    stamped[-len(_BLANK) :] = digest.encode()
    out = Path(path_out)
    part = out.with_name(f".{out.name}.part")
    try:
        part.write_bytes(stamped)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return digest


def _entry(key: str, value: bytes) -> bytes:
    """A `metadata_props` field: StringStringEntryProto key = 1, value = 2."""
    return delimited(_MODEL_METADATA, delimited(1, key.encode()) + delimited(2, value))
