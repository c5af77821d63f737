"""What files that travel call the folders and files of the machine where they were made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def told_name(path: str) -> str:
    """Of /somewhere/set and ../set the last part alone; other names as they are."""
    parts = Path(path)
    return parts.name if parts.is_absolute() or ".." in parts.parts else path


def placeless(value: Any) -> Any:
    """A recipe, figures or provenance with all folders and files by `told_name`.

    Args:
        value: what JSON can hold; tuples become lists. Of a figure, "error/FOLDER", the folder is renamed.
    """
    if isinstance(value, str):
        kind, slash, rest = value.partition("/")
        figure = slash and not kind.endswith((":", ".")) and rest.startswith(("/", "../"))
        return f"{kind}/{told_name(rest)}" if kind and figure else told_name(value)
    if isinstance(value, Mapping):
        return {placeless(key): placeless(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [placeless(entry) for entry in value]
    return value
