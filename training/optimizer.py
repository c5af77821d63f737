"""The optimizer and its learning rate."""

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from training.loopspec import LoopSpec

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def make_optimizer(module: nn.Module, spec: LoopSpec) -> torch.optim.Optimizer:
    """SGD or AdamW with weight decay on matrices and kernels, none on norms, biases and other vectors."""
    plain = {id(p) for m in module.modules() if isinstance(m, NORMS) for p in m.parameters(recurse=False)}
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (undecayed if id(parameter) in plain or parameter.ndim < 2 else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": spec.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if spec.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.momentum > 0)
    return torch.optim.AdamW(groups, lr=spec.lr, betas=(spec.momentum, spec.beta2), eps=spec.epsilon)


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
