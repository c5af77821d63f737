"""The optimizer and its learning rate."""

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from training.checkpoint import beginning_with
from training.loopspec import LoopSpec
from training.muon import MuonAndAdamW, matrices

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def make_optimizer(module: nn.Module, spec: LoopSpec) -> torch.optim.Optimizer:
    """SGD, AdamW or Muon with weight decay on matrices and kernels, none on norms, biases and other vectors.

    Each group of weights tells, as "share", what part of the learning rate it takes.

    Raises:
        RecipeError: no weight's name begins with one of `spec.shares`.
    """
    plain = {id(p) for m in module.modules() if isinstance(m, NORMS) for p in m.parameters(recurse=False)}
    named = dict(module.named_parameters())
    shares = dict.fromkeys(named, 1.0)
    for beginning, share in spec.shares.items():
        shares |= dict.fromkeys(beginning_with(named, (beginning,), "loop.shares"), share)
    mapping = matrices(module) if spec.optimizer == "muon" else set()
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        if parameter.requires_grad:
            decayed = id(parameter) not in plain and parameter.ndim >= 2
            groups.setdefault((shares[name], decayed, id(parameter) in mapping), []).append(parameter)
    told = [
        {"params": params, "weight_decay": decayed * spec.weight_decay, "share": share, "matrices": matrix}
        for (share, decayed, matrix), params in sorted(groups.items(), key=lambda g: g[0], reverse=True)
    ]
    if spec.optimizer == "muon":
        return MuonAndAdamW(told, spec)
    if spec.optimizer == "sgd":
        return torch.optim.SGD(told, lr=spec.lr, momentum=spec.momentum, nesterov=spec.momentum > 0)
    return torch.optim.AdamW(told, lr=spec.lr, betas=(spec.momentum, spec.beta2), eps=spec.epsilon)


def learning_rate(spec: LoopSpec, step: int, steps_per_epoch: int) -> float:
    """The learning rate of optimizer step `step`, counted from 0 over the whole run."""
    warmup = spec.warmup_steps or round(spec.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return spec.lr * (step + 1) / warmup
    if spec.schedule == "constant":
        return spec.lr
    if spec.schedule == "noam":  # arXiv 1706.03762, equation 3, by its peak
        return spec.lr * math.sqrt(max(1, warmup) / (step + 1))
    done = (step - warmup) / max(1, spec.epochs * steps_per_epoch - warmup)
    return spec.lr * 0.5 * (1 + math.cos(math.pi * done))
