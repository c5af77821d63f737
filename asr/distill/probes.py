"""What frozen features can do: a linear map on a learned mixture of layers (SUPERB, arXiv 2105.01051)."""

import argparse
import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from asr.distill.downstream import (
    BLANK,
    Downstream,
    Split,
    greedy,
    hearer,
    judge,
    load_downstream,
    load_source,
    period,
    spell,
)
from asr.distill.teachers import Teacher
from stapes.tasks.edits import error_rates
from training.utterances import buckets, padded

_TOGETHER = 480_000
"""Samples of clips of one length that are heard at once."""


class Probe(nn.Module):
    """Σ softmax(w)_l · layer l, and a linear map; each layer is brought to mean 0 and deviation 1 before."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, std: Tensor, outputs: int) -> None:
        """Takes (layers, width) mean and deviation of the training features."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", 1 / std.clamp_min(1e-4))
        self.mixture = nn.Parameter(torch.zeros(len(mean)))
        self.out = nn.Linear(mean.shape[1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(…, layers, width) to (…, outputs)."""
        normal = (x - self.mean) * self.scale
        return torch.as_tensor(self.out(torch.einsum("...lw,l->...w", normal, self.mixture.softmax(0))))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("source", help="best.pt, random:best.pt, whisper:FOLDER, hubert:FILE or own:FILE")
    parser.add_argument("--folder", default="an4", help="labelled recordings, within --data")
    parser.add_argument("--answer", default="text", help="key of the manifest; text is spelled by CTC")
    parser.add_argument("--part", type=int, default=1, help="train on every PART-th speaker")
    parser.add_argument("--seeds", type=int, default=3, help="probes to train, with other first weights")
    parser.add_argument("--epochs", type=int, default=40, help="of the CTC probe")
    parser.add_argument("--period-ms", type=period, default=20.0, help="of an encoder that compresses")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("runs/features"))


def run(args: argparse.Namespace) -> str:
    """One line of JSON: the test figures of each seed, with intervals."""
    downstream = load_downstream(args.data, args.folder, args.answer, args.cache, args.part)
    source = load_source(args.source, args.period_ms)
    found = probe(source, downstream, args.seeds, args.epochs)
    about = {"source": source.name, "period_ms": args.period_ms, "folder": args.folder}
    about |= {"answer": args.answer, "part": args.part}
    return json.dumps({**about, "speakers": len(set(downstream.splits["train"].speakers)), "seeds": found})


def probe(
    source: Teacher,
    downstream: Downstream,
    seeds: int,
    epochs: int = 40,
    known: dict[str, Tensor] | None = None,
) -> list[dict[str, Any]]:
    """Test figures of a source's features, one of each seed; the dev split chooses when to stop.

    Args:
        source: whose features.
        downstream: what to find out.
        seeds: probes to train.
        epochs: of the CTC probe.
        known: features by recording, to which those that it lacks are added: another part of the same folder
            then need not compute them again.
    """
    known = {} if known is None else known
    kept = {
        name: _features(source, split, downstream.text, known) for name, split in downstream.splits.items()
    }
    fit = _fit_texts if downstream.text else _fit_labels
    found = []
    for seed in range(seeds):
        given, mixture = fit(kept, downstream, seed, epochs)
        figures = judge(downstream.splits["test"], given, text=downstream.text)
        found.append(figures | {"mixture": [round(float(w), 3) for w in mixture]})
    return found


def _features(source: Teacher, split: Split, text: bool, known: dict[str, Tensor]) -> list[Tensor]:
    """(frames, layers, width) of each recording for a text; for a label their mean, (layers, width).

    The probe is linear, so the mean over time may come before it.
    """
    hear = hearer(source)
    sizes = np.diff(split.store.ends)
    lengths = {key: int(sizes[split.store.numbers[key]]) for key in split.keys if key not in known}
    with tqdm(desc="features", total=len(lengths), mininterval=5) as bar:
        for length, keys in groupby(sorted(lengths, key=lambda key: lengths[key]), lambda key: lengths[key]):
            alike, count = list(keys), max(1, _TOGETHER // max(1, length))
            for some in (alike[at : at + count] for at in range(0, len(alike), count)):
                heard = hear([split.store[key] for key in some])
                known |= {
                    key: clip.half() if text else clip.mean(0) for key, clip in zip(some, heard, strict=True)
                }
                bar.update(len(some))
    return [known[key] for key in split.keys]


def _fit_labels(
    kept: dict[str, list[Tensor]], downstream: Downstream, seed: int, epochs: int
) -> tuple[list[str], Tensor]:
    torch.manual_seed(seed)
    x = {name: torch.stack(parts) for name, parts in kept.items()}
    symbols = {symbol: number for number, symbol in enumerate(downstream.symbols)}
    y = {
        name: torch.tensor([symbols.get(each, -1) for each in split.answers])
        for name, split in downstream.splits.items()
    }
    model = Probe(x["train"].mean(0), x["train"].std(0), len(symbols))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    best, state = -1.0, model.state_dict()
    for step in range(10 * epochs):
        some = torch.randperm(len(y["train"]))[:1024]
        loss = F.cross_entropy(model(x["train"][some]), y["train"][some])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if step % 10 == 9:
            with torch.no_grad():
                right = float((model(x["dev"]).argmax(1) == y["dev"]).float().mean())
            if right > best:
                best, state = right, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    with torch.no_grad():
        given = model(x["test"]).argmax(1)
    return [downstream.symbols[int(number)] for number in given], model.mixture.detach().softmax(0)


def _fit_texts(
    kept: dict[str, list[Tensor]], downstream: Downstream, seed: int, epochs: int
) -> tuple[list[str], Tensor]:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    some = torch.cat([part[::4] for part in kept["train"]]).float()
    model = Probe(some.mean(0), some.std(0), len(downstream.symbols) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    spelled = [spell(text, downstream.symbols) for text in downstream.splits["train"].answers]
    lengths = np.array([len(part) for part in kept["train"]])
    best, state = float("inf"), model.state_dict()
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - epoch / epochs)
        for numbers in buckets(lengths, 3_000, rng):
            loss = _ctc(model, [kept["train"][i] for i in numbers], [spelled[i] for i in numbers])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        if epoch % 5 == 4 or epoch + 1 == epochs:
            given = _texts(model, kept["dev"], downstream.symbols)
            rate = error_rates(downstream.splits["dev"].answers, given)["cer"]
            if rate is not None and rate < best:
                best, state = rate, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    return _texts(model, kept["test"], downstream.symbols), model.mixture.detach().softmax(0)


def _ctc(model: Probe, parts: Sequence[Tensor], spelled: Sequence[list[int]]) -> Tensor:
    frames, lengths = padded([part.float().flatten(1).numpy() for part in parts])
    logs = model(frames.reshape(*frames.shape[:2], *parts[0].shape[1:])).log_softmax(-1)
    wanted = torch.tensor([number for text in spelled for number in text], dtype=torch.long)
    sizes = torch.tensor([len(text) for text in spelled])
    return F.ctc_loss(logs.transpose(0, 1), wanted, lengths, sizes, BLANK, zero_infinity=True)


def _texts(model: Probe, parts: Sequence[Tensor], symbols: Sequence[str]) -> list[str]:
    with torch.no_grad():
        return [greedy(model(part.float()).argmax(-1).tolist(), symbols) for part in parts]
