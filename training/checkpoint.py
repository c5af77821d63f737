"""last.pt, from which a run goes on, and best.pt, from which a model is exported."""

from collections.abc import Callable, Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from training.atomic import replacing
from training.recipe import RecipeError, differences

OPERATIONAL = ("loop.threads", "loop.log_steps", "loop.checkpoint_minutes")
"""Keys that may change between an interruption and its resumption."""


class CheckpointError(ValueError):
    """A file of weights that is damaged, or is not what was asked for; the message names it."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a dict of tensors and plain values, whole or not at all."""
    with replacing(path) as draft:
        torch.save(state, draft)


def read(path: Path) -> dict[str, Any]:
    """Reads what `save` wrote, onto the CPU; no code in the file is run.

    Raises:
        CheckpointError: it is damaged, or something else.
        OSError: it cannot be opened.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:  # by where it was damaged
        raise CheckpointError(f"{path} is not a readable checkpoint ({type(error).__name__})") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, a checkpoint is a dict")
    return cast("dict[str, Any]", state)


def refuse_other(path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Compares the recipe of an interrupted run with the wanted one.

    Raises:
        RecipeError: they differ in more than OPERATIONAL keys; the message names them.
    """
    changed = [key for key in differences(old, new) if key not in OPERATIONAL]
    if changed:
        raise RecipeError(
            f"{path} is a run with other {', '.join(changed)}; to start over it: resume=False (--anew)"
        )


def random_states(fabric: Fabric) -> list[Tensor]:
    """The states of torch's global generators in all processes, each (processes, bytes).

    A collective call: every process must make it.
    """
    states = [generator.get_state() for generator in generators(fabric.device)]
    gathered = [cast("Tensor", fabric.all_gather(state)) for state in states]
    return [each.cpu().reshape(fabric.world_size, -1) for each in gathered]


def restore_random_states(fabric: Fabric, states: list[Tensor]) -> None:
    """Puts this process' generators back to `random_states`."""
    # not strict: a run that moved from a GPU to a CPU goes on, though no longer to the bit
    for generator, ranks in zip(generators(fabric.device), states, strict=False):
        generator.set_state(
            ranks[fabric.global_rank].clone()
        )  # set_state crashes on a row of a larger tensor


def generators(device: torch.device) -> list[torch.Generator]:
    """Torch's global generators of a process: the CPU's and, if `device` is a GPU, that GPU's."""
    found = [torch.default_generator]
    if device.type == "cuda":
        found.append(torch.cuda.default_generators[torch.cuda.current_device()])
    return found


def averaged(state: dict[str, Any]) -> dict[str, Tensor]:
    """Of the content of last.pt, the weights that are evaluated: the averaged ones, if there are any."""
    average = state["average"]
    return cast("dict[str, Tensor]", average["module"] if average else state["module"])


def take_over(network: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Puts weights of the same name and shape into a network; gives the names of those left as they were."""
    mine = network.state_dict()
    fitting = {name: w for name, w in weights.items() if name in mine and mine[name].shape == w.shape}
    network.load_state_dict(fitting, strict=False)
    return sorted(mine.keys() - fitting.keys())


def first_weights(
    network: nn.Module,
    path: Path,
    parts: tuple[str, ...] = (),
    renamed: Callable[[str], str] = str,
) -> list[str]:
    """Takes over what fits of the weights in a best.pt; gives the names of those left as they were.

    Args:
        network: to begin with them.
        path: of the best.pt.
        parts: beginnings of the names of those that are wanted; empty: all.
        renamed: a name in the file to that in `network`.

    Raises:
        CheckpointError: it is damaged, no best.pt, or nothing in it fits.
        RecipeError: no name begins with one of `parts`.
        OSError: it cannot be opened.
    """
    weights = read(path).get("model")
    if not isinstance(weights, dict):
        raise CheckpointError(f"{path} has no key 'model': it is no best.pt")
    if parts:
        weights = {name: weights[name] for name in beginning_with(weights, parts, "init_parts")}
    weights = {renamed(name): weight for name, weight in weights.items()}
    left = take_over(network, weights)
    if len(left) == len(network.state_dict()):
        raise CheckpointError(f"{path}: none of its weights has a name and shape of this network")
    return left


def beginning_with(names: Iterable[str], beginnings: tuple[str, ...], key: str) -> set[str]:
    """Those of `names` that begin with one of `beginnings`, which a recipe gives under `key`.

    Raises:
        RecipeError: no name begins with one of them.
    """
    known = list(names)
    for beginning in beginnings:
        if not any(name.startswith(beginning) for name in known):
            raise RecipeError(f"{key}: no weight's name begins with {beginning!r}")
    return {name for name in known if name.startswith(beginnings)}
