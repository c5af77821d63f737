"""Every recipe that is shipped can be read, and its networks built."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from dialect_id.compare import Comparison, table
from dialect_id.network import DialectNet
from dialect_id.recipe import DialectRecipe
from dialect_id.student import make_network
from training.multiplies import count_multiplies
from training.recipe import load
from training.seeds import interval

RECIPES = sorted((Path(__file__).resolve().parents[2] / "dialect_id/recipes").glob("*.toml"))


@pytest.mark.parametrize("path", [p for p in RECIPES if p.stem != "compare"], ids=lambda p: p.stem)
def test_recipe_builds_a_network(path: Path) -> None:
    recipe = load(DialectRecipe, path)
    network = make_network(recipe, 40)
    assert recipe.name
    if path.stem == "dialect_id":
        assert sum(each.numel() for each in network.parameters()) < 4e6
        assert network.streams


def test_comparison_builds_all_networks() -> None:
    comparison = load(Comparison, next(p for p in RECIPES if p.stem == "compare"))
    assert len(comparison.seeds) >= 3
    parts = {
        name: (spec.dmsc.dynamic, spec.dmsc.local_scales > 1, spec.dmsc.global_pooling)
        for name, spec in comparison.networks.items()
        if spec.kind == "dmsc"
    }
    assert parts == {
        "DMSC": (True, True, True),
        "DMSC-none": (False, False, False),
        "DMSC-dynamic-kernels": (True, False, False),
        "DMSC-local-scales": (False, True, False),
        "DMSC-global-pooling": (False, False, True),
    }
    assert {spec.kind for spec in comparison.networks.values()} == {
        "dmsc", "d-tdnn", "d-tdnn-ss", "x-vector", "ecapa", "cam++", "pooled-encoder"
    }  # fmt: skip
    for network in comparison.networks.values():
        DialectNet(network, comparison.shared.features.mels, 33)


def test_multiplies_by_hand() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(4, 6, 3, groups=2)
            self.linear = nn.Linear(6, 5)

        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(self.linear(self.conv(frames.transpose(1, 2)).mean(2)))

    # Eight places of six channels, two inputs and three taps each, then 6 × 5.
    assert count_multiplies(Small(), 10, 4) == 8 * 6 * 2 * 3 + 30


def test_table(tmp_path: Path) -> None:
    comparison = load(Comparison, next(p for p in RECIPES if p.stem == "compare"))
    for seed, accuracy in enumerate((0.01, 0.02, 0.03)):
        run = {
            "dev": {"accuracy": accuracy},
            "test": {"accuracy": 0.5, "accuracy_3s": 0.4, "cavg": 0.1, "eer": 0.2, "n": 9},
            "parameters": 1_500_000,
            "multiplies_per_second": 2.5e7,
            "rtf": 0.01,
            "minutes": 3.0,
        }
        (tmp_path / f"DMSC-{seed}").mkdir()
        (tmp_path / f"DMSC-{seed}/test.json").write_text(json.dumps(run))
    lines = table(tmp_path, comparison).splitlines()
    assert len(lines) == 3
    # t(0.975, 2) = 4.302653; the deviation of 1, 2, 3 is 1
    half = f"{4.302653 / 3**0.5:.2f}"
    assert lines[2] == (
        f"| DMSC | 1.50 M | 25 M | 0.0100 | 3 | 2.00 ± {half} | 50.00 ± 0.00 | 40.00 ± 0.00 "
        "| 0.1000 ± 0.0000 | 20.00 ± 0.00 | 3.0 |"
    )
    assert len(lines[0].split("|")) == len(lines[2].split("|"))
    assert interval([0.5]) == "50.00"
    assert len(json.loads((tmp_path / "table.json").read_text())["DMSC"]) == 3
