"""From a checkpoint's path to the task's own `Exportable`."""

import importlib
import math
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from export.errors import ExportError
from training.exportable import Exportable, ExportableOf

TASKS = {
    "kws": "kws.exporting",
    "asr": "asr.exporting",
    "dialect_id": "dialect_id.exporting",
    "distill": "asr.distill.exporting",
}
"""Where each task's exporter is. A checkpoint's task is looked up here, never imported as it comes."""


def read(path: Path) -> dict[str, Any]:
    """Reads a checkpoint; no code in it is run.

    Raises:
        OSError: the file cannot be read.
        ExportError: it is no checkpoint, or lacks "task" or "model".
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file ends in UnpicklingError, RuntimeError, IndexError, …
        raise ExportError(f"{path} is not a readable checkpoint: {_first_line(error)}") from error
    if not isinstance(checkpoint, dict):
        raise ExportError(f"{path} holds a {type(checkpoint).__name__}, a checkpoint is a dict")
    for key in ("task", "model"):
        if key not in checkpoint:
            raise ExportError(f"{path} is no checkpoint: key {key!r} is missing")
    return cast("dict[str, Any]", checkpoint)


def exportable(checkpoint: dict[str, Any], data: Path | None, teacher: str = "") -> Exportable:
    """The model of a checkpoint, built by its task.

    Args:
        checkpoint: as `read` gives it.
        data: folder of recordings, None for the task's usual place.
        teacher: where its weights are, for a task that judges students by their teacher.

    Raises:
        ExportError: an unknown task, a task that has no exporter, weights that do not fit or are not finite.
    """
    task = checkpoint["task"]
    if not isinstance(task, str) or task not in TASKS:
        raise ExportError(f"the checkpoint's task is {task!r}, known are {', '.join(TASKS)}")
    if teacher and task != "distill":
        raise ExportError(f"a teacher judges students, not a model of the task {task!r}")
    name, taught = TASKS[task], {"teacher": teacher} if teacher else {}
    try:
        build = cast("ExportableOf", importlib.import_module(name).exportable)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):  # the exporter is there and misses something else
            raise
        raise ExportError(f"task {task!r} has no exporter: there is no module {name}") from error
    try:
        found = build(checkpoint, data, **taught)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ExportError(f"the checkpoint does not fit task {task!r}: {error}") from error
    found.module.eval()
    refuse_non_finite(found.module)
    return found


def refuse_non_finite(module: nn.Module) -> None:
    """Raises ExportError, with its name, if a weight is NaN or infinite."""
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise ExportError(f"weight {name!r} is not finite in {bad} of {math.prod(tensor.shape)} places")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
