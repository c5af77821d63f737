"""Bidirectional beam search (arXiv 2008.04481's code), and the search in one direction by the same lines.

Half of the beam writes forwards, half backwards. The halves are pruned apart and meet in one pool of finished
texts. Numbers in comments are the steps of docs/asr.md.
"""

from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor
from torch.nn import functional as F

from asr.decoder import Decoder
from asr.recipe import Directions
from asr.stbd import Stbd
from asr.vocabulary import END, L2R, PAD, R2L

EMPTY = -1e10
"""Log-probability of hypotheses that are not there, and score of empty slots in the pool."""
EXTRA_TOKENS = 50
"""A text has as many tokens as the memory has steps, and this many more, at most."""


@dataclass(frozen=True, slots=True)
class BeamSpec:
    """How to search."""

    beam: int = 2
    """Hypotheses, both directions together."""
    directions: Directions = "both"
    alpha: float = 0.6
    """Of the length penalty ((5 + tokens) / 6)^alpha; larger prefers longer texts."""
    most_tokens: int = 100
    quirk: bool = False
    """The released code counts two for each token: twice the length in the penalty, half the limit."""

    patient: bool = False
    """Ours: the search goes on until nothing alive can get into the pool any more. The released code stops
    once the pool is full, and an end symbol that is second choice, which fills it, is a candidate too."""

    def __post_init__(self) -> None:
        groups = len(starts(self.directions))
        if self.beam < groups or self.beam % groups:
            raise ValueError(f"a beam of {self.beam} does not divide into {groups} directions")
        if self.most_tokens < 1:
            raise ValueError(f"most_tokens must be at least 1, got {self.most_tokens}")


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text that was found."""

    ids: tuple[int, ...]
    """Forwards, whatever the direction; without start and end."""
    score: float
    """Natural log-probability by length penalty."""
    backwards: bool
    finished: bool


def starts(directions: Directions) -> tuple[int, ...]:
    """The start symbols of a search."""
    return {"both": (L2R, R2L), "l2r": (L2R,), "r2l": (R2L,)}[directions]


@torch.no_grad()
def search(decoder: Decoder, memory: Tensor, steps: Tensor, spec: BeamSpec) -> list[list[Hypothesis]]:
    """The best texts of each recording.

    Args:
        decoder: in eval mode.
        memory: (batch, steps, width).
        steps: (batch,) steps of each.
        spec: how to search.

    Returns:
        For each recording its pool of finished texts, best first; if none has finished, those still alive.
    """
    batch, device, beam = len(memory), memory.device, spec.beam
    begin = torch.tensor(starts(spec.directions), device=device)
    groups, size = len(begin), beam // len(begin)
    # 1. The first hypothesis of each half is alive, the others are not there; the pool is empty.
    tokens = begin[None, :, None, None].expand(batch, groups, size, 1)
    logs = torch.full((batch, groups, size), EMPTY, device=device)
    logs[:, :, 0] = 0.0
    pool = torch.full((batch, beam, 1), PAD, device=device)
    scores = torch.full((batch, beam), EMPTY, device=device)
    source, past = decoder.source(memory), decoder.start(batch * beam)
    limits = (steps + EXTRA_TOKENS).clamp(max=min(200, spec.most_tokens))
    written = torch.zeros_like(steps)
    first_rows = beam * torch.arange(batch, device=device)[:, None, None]
    first_rows = first_rows + size * torch.arange(groups, device=device)[:, None]
    for emitted in count():
        # 6. A recording stops when every slot of its pool is finished, or at its limit.
        wanted = (scores <= EMPTY / 2).any(1)
        if spec.patient:
            wanted |= logs.amax((1, 2)) / ((5 + limits) / 6) ** spec.alpha > scores.amin(1)
        running = (_counter(emitted, spec) < limits) & wanted
        if not running.any():
            break
        written += running
        # 2. One call for all; score = log-probability / length penalty.
        logits, past = decoder.step(tokens[..., -1].flatten(1), past, source, steps)
        following = logits.float().log_softmax(-1).view(batch, groups, size, -1)
        # 3. The best pairs of parent and token, within each half separately.
        best, places = (logs.unsqueeze(-1) + following).flatten(2).topk(2 * size, dim=-1)
        parents, last = places // following.shape[-1], places % following.shape[-1]
        candidates = torch.cat((_pick(tokens, parents), last.unsqueeze(-1)), -1)
        ended = last == END
        # 5. The pool keeps the best of what it had and of what ended now, from both halves together.
        counts = ended & (best > EMPTY / 2) & running[:, None, None]
        ended_scores = (best / _penalty(emitted, spec)).masked_fill(~counts, EMPTY)
        scores, chosen = torch.cat((scores, ended_scores.flatten(1)), 1).topk(beam, dim=1)
        rivals = torch.cat((F.pad(pool, (0, 1), value=PAD), candidates.flatten(1, 2)), 1)
        pool = _pick(rivals[:, None], chosen[:, None])[:, 0]
        # 4. From each half the best that have not ended live on; where the search has stopped, all stay.
        alive, kept = best.masked_fill(ended, -torch.inf).topk(size, dim=-1)
        logs = torch.where(running[:, None, None], alive, logs)
        stay = F.pad(tokens, (0, 1), value=PAD)
        tokens = torch.where(running[:, None, None, None], _pick(candidates, kept), stay)
        past = past.index_select(2, (first_rows + parents.gather(2, kept)).flatten())
    # 7. The best of the pool, or the best alive.
    found = []
    for row, count_written in enumerate(written.tolist()):
        last_scores = logs[row].flatten() / _penalty(count_written - 1, spec)
        cut = tokens[row, ..., : count_written + 1].flatten(0, 1)
        found.append(_texts(pool[row], scores[row], True) or _texts(cut, last_scores, False))
    return found


def _counter(emitted: int, spec: BeamSpec) -> int:
    return 2 * emitted if spec.quirk else emitted


def _penalty(emitted: int, spec: BeamSpec) -> float:
    """Length penalty of a text whose last token came after `emitted` others."""
    return float(((5 + _counter(emitted, spec) + 1) / 6) ** spec.alpha)


def _pick(tokens: Tensor, places: Tensor) -> Tensor:
    """Of (batch, groups, n, tokens) those at `places` (batch, groups, m)."""
    return tokens.gather(2, places.unsqueeze(-1).expand(*places.shape, tokens.shape[-1]))


def _texts(tokens: Tensor, scores: Tensor, finished: bool) -> list[Hypothesis]:
    """Texts of (hypotheses, tokens) from the start symbols on, best first; backward ones are turned round."""
    found = []
    for row, score in sorted(zip(tokens.tolist(), scores.tolist(), strict=True), key=lambda pair: -pair[1]):
        if score <= EMPTY / 2:
            continue
        first, *ids = row
        text = tuple(ids[: ids.index(END)] if END in ids else ids)
        found.append(Hypothesis(text[::-1] if first == R2L else text, score, first == R2L, finished))
    return found


@torch.no_grad()
def greedy(net: Stbd, frames: Tensor, lengths: Tensor, start: int = L2R) -> list[list[int]]:
    """A beam of one from log-mel (batch, frames, mels) and (batch,) frames of each: ids, forwards."""
    memory, steps = net.encode(frames, lengths)
    spec = BeamSpec(beam=1, directions="r2l" if start == R2L else "l2r", patient=True)
    return [list(found[0].ids) for found in search(net.decoder, memory, steps, spec)]
