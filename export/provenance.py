"""How a model file came to be: written into it, so that it can be made again."""

import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stapes.spec import ModelSpec
from training.naming import placeless

PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")


def with_provenance(spec: ModelSpec, checkpoint: dict[str, Any], figures: dict[str, Any]) -> ModelSpec:
    """The spec with the checkpoint's recipe, metrics and provenance, and the export's own figures.

    What the spec has of these already stays. Folders and files are named, not where they lay.
    """
    own = {"versions": {name: version(name) for name in PACKAGES}, "commit": commit(), **figures}
    kept: dict[str, Any] = {key: checkpoint[key] for key in ("recipe", "metrics") if key in checkpoint}
    told = {**checkpoint.get("provenance", {}), **kept, **spec.provenance}
    return replace(spec, provenance=placeless(told) | {"export": own})


def commit() -> str | None:
    """The git commit of this code, "+" after it where files differ from it; None outside a repository."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
        ).stdout

    try:
        # Installed below somebody else's repository, this code is not what that commit names.
        if not git("ls-files", Path(__file__).name):
            return None
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
