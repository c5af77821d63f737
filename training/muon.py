"""Muon for the weights of linear layers and of convolutions, AdamW for all else, as one optimizer."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from training.loopspec import LoopSpec

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


def matrices(module: nn.Module) -> set[int]:
    """The ids of the weights that Muon takes: of linear layers and of convolutions over all channels.

    An embedding's rows stand apart from each other, and so do the kernels of a grouped convolution: neither
    maps one space onto another.
    """
    tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    mapping = (m for m in module.modules() if isinstance(m, LAYERS) and getattr(m, "groups", 1) == 1)
    return {id(m.weight) for m in mapping} - tables


class MuonAndAdamW(torch.optim.Optimizer):
    """Steps matrices by torch's Muon (arXiv 2502.16982) and the rest by AdamW, at the same learning rates.

    Muon's steps are scaled to the root mean square of AdamW's: a learning rate means the same to both.
    A kernel (out, in, ...) is to Muon the matrix (out, in * ...).

    Args:
        groups: of weights, each with "weight_decay" and, as "matrices", whether Muon takes it.
        spec: the learning rate and AdamW's constants.
    """

    def __init__(self, groups: list[dict[str, Any]], spec: LoopSpec) -> None:
        super().__init__(groups, {"lr": spec.lr})
        flat = [_flattened(group) for group in self.param_groups if group["matrices"]]
        others = [dict(group) for group in self.param_groups if not group["matrices"]]
        self.parts: list[torch.optim.Optimizer] = []
        if flat:
            self.parts.append(torch.optim.Muon(flat, lr=spec.lr, adjust_lr_fn="match_rms_adamw"))
        if others:
            betas = (spec.momentum, spec.beta2)
            self.parts.append(torch.optim.AdamW(others, lr=spec.lr, betas=betas, eps=spec.epsilon))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of both; no closure is taken."""
        if closure is not None:
            raise ValueError("MuonAndAdamW takes no closure")
        self._follow()
        for mine, theirs in self._groups():
            theirs["lr"] = mine["lr"]
            if mine["matrices"]:
                for weight, matrix in zip(mine["params"], theirs["params"], strict=True):
                    matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        for part in self.parts:
            part.step()
        for mine, theirs in self._groups():
            if mine["matrices"]:
                for matrix in theirs["params"]:
                    matrix.grad = None  # else `zero_grad` would not free it

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self._follow()
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)

    def _groups(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each group and the part's own of it."""
        outer = sorted(self.param_groups, key=lambda group: not group["matrices"])  # the order of the parts'
        return zip(outer, (group for part in self.parts for group in part.param_groups), strict=True)

    def _follow(self) -> None:
        """Points the matrices at the weights, which may have moved to another device."""
        for mine, theirs in self._groups():
            if mine["matrices"]:
                for weight, matrix in zip(mine["params"], theirs["params"], strict=True):
                    matrix.data = _matrix(weight.data)


def _flattened(group: dict[str, Any]) -> dict[str, Any]:
    return {**group, "params": [nn.Parameter(_matrix(weight.data)) for weight in group["params"]]}


def _matrix(weight: Tensor) -> Tensor:
    return weight.view(len(weight), -1)
