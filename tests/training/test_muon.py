"""Muon and AdamW as one optimizer, against torch's own two and against a run without a break."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.tiny_task import TinyTask
from training.loop import fit
from training.loopspec import LoopSpec
from training.muon import matrices
from training.optimizer import make_optimizer

SPEC = LoopSpec(lr=0.01, optimizer="muon", weight_decay=0.05, shares={"last.": 0.5})


class Small(nn.Module):
    """A weight of every kind: a table, kernels over all channels and over one, a matrix, norms, biases."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 6)
        self.wide = nn.Conv1d(6, 8, 3, padding=1)
        self.each = nn.Conv1d(8, 8, 3, padding=1, groups=8)
        self.norm = nn.LayerNorm(8)
        self.last = nn.Linear(8, 4)
        self.tied = nn.Linear(6, 5, bias=False)
        self.tied.weight = self.table.weight

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        heard = self.each(self.wide(self.table(letters).mT)).mT
        return self.last(self.norm(heard)).square().sum() + self.tied(self.table(letters)).sum()


def test_muon_takes_what_maps_one_space_onto_another() -> None:
    model = Small()
    taken = matrices(model)
    assert {name for name, weight in model.named_parameters() if id(weight) in taken} == {
        "wide.weight",
        "last.weight",
    }


def test_steps_are_those_of_torchs_two_optimizers() -> None:
    torch.manual_seed(0)
    model, letters = Small(), torch.randint(0, 5, (3, 7))
    twin = Small()
    twin.load_state_dict(model.state_dict())
    kernel = nn.Parameter(twin.wide.weight.detach().flatten(1).clone())
    table, vectors = (
        (twin.table.weight, twin.each.weight),
        (twin.wide.bias, twin.each.bias, *twin.norm.parameters()),
    )
    muon = torch.optim.Muon(
        [{"params": [kernel]}, {"params": [twin.last.weight], "lr": 0.005}],
        lr=0.01, weight_decay=0.05, adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    adamw = torch.optim.AdamW(
        [
            {"params": table},
            {"params": vectors, "weight_decay": 0.0},
            {"params": [twin.last.bias], "weight_decay": 0.0, "lr": 0.005},
        ],
        lr=0.01, weight_decay=0.05,
    )  # fmt: skip
    optimizer = make_optimizer(model, SPEC)
    for _ in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * group["share"]
        model(letters).backward()
        optimizer.step()
        optimizer.zero_grad()
        assert all(weight.grad is None for weight in model.parameters())
        held = [p for part in optimizer.parts for group in part.param_groups for p in group["params"]]  # type: ignore[attr-defined]
        assert all(weight.grad is None for weight in held)

        with torch.no_grad():
            twin.wide.weight.copy_(kernel.view_as(twin.wide.weight))
        twin(letters).backward()
        kernel.grad = twin.wide.weight.grad.flatten(1)  # type: ignore[union-attr]
        muon.step()
        adamw.step()
        twin.zero_grad()
        torch.testing.assert_close(model.wide.weight.flatten(1), kernel)
        for name, weight in model.named_parameters():
            if name != "wide.weight":
                torch.testing.assert_close(weight, twin.get_parameter(name))


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    spec = replace(SPEC, epochs=3, shares={}, evaluate_epochs=1)
    whole = fit(TinyTask(), spec, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(TinyTask(stop_at=(1, 2)), spec, tmp_path / "cut")
    assert fit(TinyTask(), spec, tmp_path / "cut")["final"] == whole["final"]
    first, second = (torch.load(tmp_path / name / "best.pt") for name in ("whole", "cut"))
    for name, weight in first["model"].items():
        assert torch.equal(weight, second["model"][name])


def test_weights_may_be_moved_after_the_optimizer_was_made() -> None:
    """As Fabric moves them: `.data` is another tensor then, which steps and a loaded state must reach.

    Double precision stands for another device.
    """
    model = nn.Linear(3, 2, bias=False)
    optimizer = make_optimizer(model, replace(SPEC, shares={}))
    model.weight.data = model.weight.data.double()
    for _ in range(2):
        before = model.weight.detach().clone()
        model(torch.ones(1, 3).double()).sum().backward()
        optimizer.step()
        assert not torch.equal(model.weight, before)
        again = make_optimizer(model.float(), replace(SPEC, shares={}))
        model.double()
        again.load_state_dict(optimizer.state_dict())
        optimizer = again


def test_no_closure() -> None:
    with pytest.raises(ValueError, match="no closure"):
        make_optimizer(nn.Linear(2, 2), replace(SPEC, shares={})).step(lambda: 0.0)
