"""Every way from a trained network to text, on the same recordings: errors, and what a direction is worth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from asr import ctc
from asr.batches import Batches
from asr.errors import Unit, distance, units
from asr.recipe import Directions
from asr.rescoring import RescoreSpec, rescore
from asr.search import BeamSpec, Hypothesis, search
from asr.stbd import Stbd
from asr.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """What is tried."""

    beams: tuple[int, ...] = (2, 4, 8)
    patient: bool = False
    """See BeamSpec."""
    backwards: tuple[float, ...] = (0.0, 0.5, 1.0)
    """Of rescoring: shares of the R2L stream."""
    ctc_weight: float = 0.5
    """Of rescoring."""
    nbest: int = 8
    """Texts of CTC's that are rescored."""


@dataclass(slots=True)
class Way:
    """Errors of one way to text, a recording each."""

    errors: list[int] = field(default_factory=list)
    backwards: list[bool] = field(default_factory=list)
    """Whether the answer was written backwards; empty where no direction was chosen."""


@torch.inference_mode()
def judge(
    net: Stbd, symbols: Sequence[str], part: Batches, *, directions: Directions, unit: Unit, spec: JudgeSpec
) -> dict[str, Any]:
    """Error rates by way.

    Args:
        net: in eval mode.
        symbols: its vocabulary.
        part: recordings.
        directions: that its decoder has learnt.
        unit: of errors.
        spec: what is tried.

    Returns:
        "n", "units", "error" {way: rate}, and for searches in both directions "backwards" {way: {...}}: how
        many answers were written backwards, and in how many of them there were fewer ("won") or more ("lost")
        errors, and how many fewer in all ("saved"), than in the answer of the search forwards by the same
        network with the same beam.
    """
    vocabulary = Vocabulary(tuple(symbols))
    ways: dict[str, Way] = {}
    lengths: list[int] = []
    for _, batch in part.in_order():
        memory, steps = net.encode(batch.frames, batch.lengths)
        wanted = [
            units(vocabulary.decode(text[: int(count)].tolist()), unit)
            for text, count in zip(batch.labels, batch.counts, strict=True)
        ]
        lengths += map(len, wanted)
        for name, found in _ways(net, memory, steps, directions, spec):
            way = ways.setdefault(name, Way())
            for text, answer in zip(wanted, found, strict=True):
                way.errors.append(distance(text, units(vocabulary.decode(answer.ids), unit)))
                way.backwards.append(answer.backwards)
    total = max(1, sum(lengths))
    return {
        "n": len(lengths),
        "units": sum(lengths),
        "error": {name: sum(way.errors) / total for name, way in ways.items()},
        "backwards": {
            name: _worth(way, ways[name.replace("both", "l2r")])
            for name, way in ways.items()
            if name.startswith("both")
        },
    }


def _ways(
    net: Stbd, memory: Tensor, steps: Tensor, directions: Directions, spec: JudgeSpec
) -> Iterator[tuple[str, list[Hypothesis]]]:
    """The name of each way, and its best text of each recording."""
    found: list[list[tuple[tuple[int, ...], float]]] = []
    if net.spec.ctc:
        logits = net.ctc(memory)
        yield "ctc greedy", [_plain(tuple(ids)) for ids in ctc.greedy(logits, steps)]
        logs = logits.float().log_softmax(-1)
        for row, count in zip(logs.numpy(), steps.tolist(), strict=True):
            found.append(ctc.beam_search(row[:count], spec.nbest))
        yield "ctc beam", [_plain(texts[0][0]) for texts in found]
    if not net.spec.decoder.blocks:
        return
    tried: tuple[Directions, ...] = ("both", "l2r", "r2l") if directions == "both" else (directions,)
    for beam in spec.beams:
        for way in tried:
            results = search(net.decoder, memory, steps, BeamSpec(beam, way, patient=spec.patient))
            yield f"{way} beam {beam}", [texts[0] for texts in results]
    if not found:
        return
    shares = spec.backwards if directions == "both" else (float(directions == "r2l"),)
    for share in shares:
        weights = RescoreSpec(share, spec.ctc_weight)
        best = [
            rescore(net.decoder, memory[row : row + 1, : int(steps[row])], texts, weights)[0][0]
            for row, texts in enumerate(found)
        ]
        yield f"rescored, {share:g} backwards", [_plain(ids) for ids in best]


def _plain(ids: tuple[int, ...]) -> Hypothesis:
    return Hypothesis(ids, 0.0, backwards=False, finished=True)


def _worth(both: Way, forwards: Way) -> dict[str, int]:
    """What answers written backwards won and lost."""
    saved = [
        b - a for a, b, turned in zip(both.errors, forwards.errors, both.backwards, strict=True) if turned
    ]
    return {
        "answers": len(saved),
        "won": sum(each > 0 for each in saved),
        "lost": sum(each < 0 for each in saved),
        "saved": sum(saved),
    }
