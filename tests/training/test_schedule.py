"""The paper's learning rate by its formula, and the mean of the best epochs by hand."""

from pathlib import Path

import pytest
import torch

from training.average import keep
from training.loopspec import LoopSpec
from training.optimizer import learning_rate, make_optimizer


@pytest.mark.parametrize("step", [0, 1, 5000, 15_999, 16_000, 16_001, 100_000, 239_999])
def test_noam_is_the_papers_formula(step: int) -> None:
    spec = LoopSpec(schedule="noam", lr=512**-0.5 * 16_000**-0.5, warmup_steps=16_000, warmup_epochs=0.0)
    wanted = 512**-0.5 * min((step + 1) ** -0.5, (step + 1) * 16_000**-1.5)
    assert learning_rate(spec, step, 1000) == pytest.approx(wanted, rel=1e-12)


def test_adams_constants_are_the_specs() -> None:
    spec = LoopSpec(momentum=0.9, beta2=0.98, epsilon=1e-9)
    optimizer = make_optimizer(torch.nn.Linear(2, 2), spec)
    assert optimizer.defaults["betas"] == (0.9, 0.98)
    assert optimizer.defaults["eps"] == 1e-9


def test_the_best_epochs_are_averaged(tmp_path: Path) -> None:
    def weights(value: float) -> dict[str, torch.Tensor]:
        return {"w": torch.tensor([value, 2 * value]), "count": torch.tensor(int(value))}

    scores = [0.25, 0.5, 0.3, 0.2, 0.5]
    for epoch, score in enumerate(scores, 1):
        entered, mean = keep(tmp_path, weights(float(epoch)), epoch, score, 3)
        assert entered == (epoch != 4)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["2", "3", "5"]
    torch.testing.assert_close(mean["w"], torch.tensor([10 / 3, 20 / 3]))
    assert int(mean["count"]) == 2  # of the best, the earlier of equals
    # A resumed run that repeats an epoch replaces it.
    entered, mean = keep(tmp_path, weights(5.0), 5, 0.5, 3)
    assert entered
    torch.testing.assert_close(mean["w"], torch.tensor([10 / 3, 20 / 3]))
