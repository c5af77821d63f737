"""Every recipe that is shipped can be read, and its networks built."""

from pathlib import Path

import pytest

from kws.clips import LABELS
from kws.compare import Comparison
from kws.network import KeywordNet
from kws.recipe import KwsRecipe
from training.recipe import load
from training.seeds import interval

RECIPES = sorted((Path(__file__).resolve().parents[2] / "kws/recipes").glob("*.toml"))


@pytest.mark.parametrize("path", [p for p in RECIPES if p.stem != "compare"], ids=lambda p: p.stem)
def test_recipe_builds_a_network(path: Path) -> None:
    recipe = load(KwsRecipe, path)
    assert KeywordNet(recipe.network, recipe.features.mels, len(LABELS)).network is not None


def test_comparison_builds_all_networks() -> None:
    comparison = load(Comparison, next(p for p in RECIPES if p.stem == "compare"))
    assert len(comparison.seeds) >= 3
    assert {"GraphTCN", "BC-ResNet-3", "CENet-GCN-40", "DS-CNN-S"} <= set(comparison.networks)
    for network in comparison.networks.values():
        KeywordNet(network, 40, len(LABELS))


def test_interval_is_students() -> None:
    # t(0.975, 2) = 4.302653; the deviation of 1, 2, 3 is 1
    assert interval([0.01, 0.02, 0.03]) == f"2.00 ± {4.302653 / 3**0.5:.2f}"
    assert interval([0.5]) == "50.00"
