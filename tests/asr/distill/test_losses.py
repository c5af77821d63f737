"""Losses against values worked out by hand, heads against their definition, stage 1 against its promise."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch.nn import functional as F

from asr.distill import losses
from asr.distill.heads import HeadSpec, Pupil
from asr.distill.units import Units
from training.encoder.spec import EncoderSpec

SMALL = EncoderSpec(
    mels=8, layers=3, width=16, inner=24, heads=2, position_kernel=6, position_groups=2, dropout=0.0
)


def test_regression_by_hand() -> None:
    told = torch.tensor([[[[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]]])  # the third frame is padding
    taught = torch.tensor([[[[1.0, 1.0], [0.0, -1.0], [0.0, 0.0]]]])
    lengths = torch.tensor([2])
    # |told − taught|: (0 + 1 + 0 + 3) / 4 = 1; cosines 1/√2 and −1
    cosines = (1 / math.sqrt(2), -1.0)
    wanted = 1 + sum(math.log1p(math.exp(-c)) for c in cosines) / 2
    loss, mean = losses.regression(told, taught, lengths)
    assert float(loss) == pytest.approx(wanted, abs=1e-6)
    assert float(mean) == pytest.approx(sum(cosines) / 2, abs=1e-6)
    assert float(losses.regression(told, taught, lengths, distance=0.5, cosine=0)[0]) == pytest.approx(0.5)
    assert float(losses.front_end(told[:, 0], taught[:, 0], lengths)) == pytest.approx(1.0)


def test_unit_losses_by_hand() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 2, 5, 7))
    lengths = np.array([5, 3])
    kept = [(b, t) for b in range(2) for t in range(lengths[b])]
    kl = np.mean([rel_entr(softmax(teacher[at]), softmax(student[at])).sum() for at in kept])
    hard = -np.mean([log_softmax(student[at])[teacher[at].argmax()] for at in kept])
    same = np.mean([student[at].argmax() == teacher[at].argmax() for at in kept])
    given = (torch.tensor(student), torch.tensor(teacher), torch.tensor(lengths))
    assert float(losses.soft_units(*given)) == pytest.approx(kl, rel=1e-5)
    assert float(losses.hard_units(*given)) == pytest.approx(hard, rel=1e-5)
    assert float(losses.agreement(*given)) == pytest.approx(same)


def test_hard_units_are_contrastive_with_the_positive_left_out_of_the_negatives() -> None:
    """The written-out form: the positive first, then all units, of which its own copy is put out of play."""
    torch.manual_seed(0)
    logits, teacher = torch.randn(1, 4, 6), torch.randn(1, 4, 6)
    label = teacher.argmax(-1)
    positive = logits.gather(-1, label[..., None])
    negatives = logits.scatter(-1, label[..., None], -torch.inf)
    joined = torch.cat((positive, negatives), -1).flatten(0, 1)
    wanted = F.cross_entropy(joined, torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(losses.hard_units(logits, teacher, torch.tensor([4])), wanted)


def test_units_are_cosines_over_tau() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    frame = torch.tensor([[[0.0, 5.0]]])
    torch.testing.assert_close(Units(embeddings, tau=0.1)(frame), torch.tensor([[[0.0, 8.0]]]))
    turned = Units.of(embeddings, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.zeros(2), tau=1.0)
    torch.testing.assert_close(turned(frame), torch.tensor([[[1.0, 0.6]]]))


@pytest.mark.parametrize("kind", ["layer-wise", "expand-last"])
@pytest.mark.parametrize("units", ["none", "embedded", "linear", "hard"])
def test_heads(kind: str, units: str) -> None:
    torch.manual_seed(0)
    heads = HeadSpec(kind, (1, 3), (4, 12), units)  # type: ignore[arg-type]
    taught = Units(torch.randn(11, 20))
    pupil = Pupil(SMALL, heads, 20, taught).eval()
    frames, lengths = torch.randn(2, 13, 8), torch.tensor([13, 6])
    told = pupil(frames, lengths)
    states = pupil.student(frames, lengths).states
    assert told.layers.shape == (2, 2, 7, 20)
    assert told.units.shape == ((2, 7, 11) if units != "none" else (0,))
    if kind == "layer-wise":
        weights = pupil.layer_heads.maps[1]
        wanted = states[3] @ weights.weight.T + weights.bias
    else:
        wide = F.gelu(pupil.layer_heads.expand(states[-1]))[..., 20:]  # the second layer's half
        wanted = wide @ pupil.layer_heads.weight[1] + pupil.layer_heads.bias[1]
    torch.testing.assert_close(told.layers[:, 1], wanted)
    if units == "hard":
        said = pupil.unit_head(states[-1])[1, 2]
        wanted = F.cosine_similarity(said[None], taught.embeddings) / 0.1
        torch.testing.assert_close(told.units[1, 2], wanted)


def test_stage_one_moves_the_front_end_alone() -> None:
    torch.manual_seed(0)
    pupil = Pupil(
        SMALL, HeadSpec(students=(1, 3), teachers=(4, 12), units="linear"), 20, Units(torch.randn(5, 20))
    )
    optimizer = torch.optim.AdamW(pupil.parameters(), lr=0.1, weight_decay=0.1)
    frames, lengths, first = torch.randn(2, 13, 8), torch.tensor([13, 6]), torch.randn(2, 7, 20)

    def step(stage: int) -> set[str]:
        before = {name: weight.clone() for name, weight in pupil.named_parameters()}
        told = pupil(frames, lengths, stage)
        if stage == 1:
            loss = losses.front_end(told.front, first, told.lengths)
        else:
            loss = losses.regression(told.layers, first[:, None].expand(2, 2, 7, 20), told.lengths)[0]
            loss = loss + losses.soft_units(told.units, torch.zeros(2, 7, 5), told.lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {name for name, weight in pupil.named_parameters() if not torch.equal(weight, before[name])}

    everything = {name for name, _ in pupil.named_parameters()}
    front = {name for name in everything if name.startswith(("student.front.", "front_head."))}
    assert front
    for _ in range(2):
        assert step(1) == front
    assert step(2) == everything - {name for name in everything if name.startswith("front_head.")}


def test_nothing_to_predict_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to predict"):
        HeadSpec(students=(), teachers=())
    with pytest.raises(ValueError, match="2 layers of the student for 3"):
        HeadSpec(students=(1, 2), teachers=(1, 2, 3))
    with pytest.raises(ValueError, match="wants the teacher's units"):
        Pupil(SMALL, HeadSpec(students=(1,), teachers=(1,), units="hard"), 20)
