"""TOML into frozen dataclasses and back: every key and type is checked by name, nothing is executed."""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


class RecipeError(ValueError):
    """A recipe that cannot be read; the message names the key, dotted."""


def load(cls: type[T], path: Path | str, overrides: Iterable[str] = ()) -> T:
    """Reads a recipe.

    Args:
        cls: a dataclass whose fields are int, float, str, bool, Literal, tuples, dict[str, ...], `... | None`
            or further dataclasses. Defaults make a key optional.
        path: the TOML file.
        overrides: `"loop.epochs=3"`, applied in order; the value is TOML, and a bare word is a string.

    Raises:
        RecipeError: the file is unreadable or no TOML, a key is unknown or missing, a value has a wrong type,
            or the dataclass itself refuses it (ValueError in `__post_init__`).
    """
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"recipe {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RecipeError(f"recipe {path} is not TOML: {error}") from None
    for override in overrides:
        _override(raw, override)
    return build(cls, raw)


def build(cls: type[T], raw: Mapping[str, Any], path: str = "") -> T:
    """A `cls` from nested plain values; the inverse of `to_dict`.

    Args:
        cls: a dataclass.
        raw: tables, lists and scalars, as tomllib gives them.
        path: where `raw` stands in the recipe, for messages.

    Raises:
        RecipeError: as for `load`.
    """
    if not is_dataclass(cls):
        raise TypeError(f"{cls!r} is no dataclass")
    prefix = f"{path}." if path else ""
    known = {field.name: field for field in fields(cls) if field.init}
    for key in raw:
        if key not in known:
            raise RecipeError(f"unknown key {prefix + key!r}; known here: {', '.join(known)}")
    hints = get_type_hints(cls)
    values = {}
    for name, field in known.items():
        if name in raw:
            values[name] = _value(hints[name], raw[name], prefix + name)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise RecipeError(f"key {prefix + name!r} is missing")
    try:
        return cast("T", cls(**values))
    except RecipeError:
        raise
    except ValueError as error:
        raise RecipeError(f"{path or cls.__name__}: {error}") from error


def to_dict(recipe: object) -> dict[str, Any]:
    """The resolved recipe as nested dicts, lists and scalars (for checkpoints and provenance)."""
    if not is_dataclass(recipe) or isinstance(recipe, type):
        raise TypeError(f"{recipe!r} is no dataclass instance")
    return cast("dict[str, Any]", _plain(asdict(recipe)))


def to_toml(recipe: object) -> str:
    """TOML of a recipe (dataclass or dict) that `load` reads back to the same values; None is left out."""
    raw = recipe if isinstance(recipe, dict) else to_dict(recipe)
    lines = list(_table(cast("dict[str, Any]", _plain(raw)), ()))
    return "\n".join(lines).strip() + "\n"


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[str]:
    """The dotted keys in which two resolved recipes differ, sorted."""
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{path}{key}.")
        elif a != b:
            found.append(path + key)
    return found


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"an override must read key=value, got {override!r}")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        value: Any = text.strip()
    else:
        if parsed.keys() != {"value"}:
            raise RecipeError(f"an override sets one key, got {override!r}")
        value = parsed["value"]
    table = raw
    for depth, part in enumerate(parts[:-1], 1):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"key {'.'.join(parts[:depth])!r} is a value, not a table: {override!r}")
    table[parts[-1]] = value


def _value(kind: Any, raw: Any, path: str) -> Any:
    """`raw` checked against the annotation `kind`."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if len(args) != 2 or NoneType not in args:
            raise TypeError(f"{path}: a recipe knows `T | None`, no other union: {kind}")
        inner = args[0] if args[1] is NoneType else args[1]
        return None if raw is None else _value(inner, raw, path)
    if origin is tuple:
        return _tuple(args, raw, path)
    if origin is dict:
        return {key: _value(args[1], item, f"{path}.{key}") for key, item in _mapping(raw, path).items()}
    if is_dataclass(kind) and isinstance(kind, type):
        return build(kind, _mapping(raw, path), path)
    return _scalar(kind, raw, path)


def _scalar(kind: Any, raw: Any, path: str) -> Any:
    """An int is accepted for a float; a bool never for an int."""
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if not any(raw == choice and type(raw) is type(choice) for choice in choices):
            raise RecipeError(f"key {path!r} must be one of {', '.join(map(repr, choices))}, got {raw!r}")
        return raw
    if kind not in (int, float, str, bool):
        raise TypeError(f"{path}: a recipe cannot hold {kind}")
    if kind is float and type(raw) is int:
        return float(raw)
    if type(raw) is not kind:
        raise RecipeError(f"key {path!r} must be {kind.__name__}, got {type(raw).__name__} {raw!r}")
    return raw


def _tuple(kinds: tuple[Any, ...], raw: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(raw, list | tuple):
        raise RecipeError(f"key {path!r} must be a list, got {type(raw).__name__} {raw!r}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(raw)
    if len(raw) != len(kinds):
        raise RecipeError(f"key {path!r} must have {len(kinds)} values, got {len(raw)}")
    return tuple(
        _value(kind, item, f"{path}.{i}") for i, (kind, item) in enumerate(zip(kinds, raw, strict=True))
    )


def _mapping(raw: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise RecipeError(f"key {path!r} must be a table, got {type(raw).__name__} {raw!r}")
    return raw


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _table(table: dict[str, Any], path: tuple[str, ...]) -> Iterable[str]:
    if path and (not table or any(not isinstance(v, dict) and v is not None for v in table.values())):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for key, value in table.items():
        if value is not None and not isinstance(value, dict):
            yield f"{_key(key)} = {_inline(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _table(value, (*path, key))


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which JSON leaves bare and TOML forbids.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(k)} = {_inline(v)}' for k, v in value.items() if v is not None)}}}"
    raise TypeError(f"a recipe cannot hold {type(value).__name__} {value!r}")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _inline(key)
