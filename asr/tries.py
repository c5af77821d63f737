"""Ways to search, each measured on the same hearings, and the best of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import process_time
from typing import Any

from tqdm import tqdm

from asr.heard import Heard, write
from stapes.model import Model
from stapes.tasks.asrparams import AsrParams
from stapes.tasks.beam import Directions
from stapes.tasks.edits import distance, normalise

BEAMS = (2, 4, 8)
PREFIXES = (8, 16)
CTC_WEIGHTS = (0.25, 0.5, 1.0)
SHARES = (0.0, 0.5, 1.0)
"""Of rescoring: shares of the direction from right to left."""
_ALONE: tuple[tuple[Directions, float], ...] = (("l2r", 0.0), ("r2l", 1.0))


@dataclass(frozen=True, slots=True)
class Tried:
    """Some params, and what came of them."""

    params: Mapping[str, Any]
    """Those that differ from the model's own."""
    texts: tuple[str, ...]
    """Of each recording."""
    errors: tuple[int, ...]
    """Word errors of each."""
    words: tuple[int, ...]
    """Words wanted of each."""
    folders: tuple[str, ...]
    """Of each."""
    rtf: float
    """Of the processor's time, features and first graph included."""

    def wer(self, folder: str | None = None) -> float | None:
        """Word errors for each word wanted in a folder, or in all together; None where none is wanted."""
        rows = [row for row, name in enumerate(self.folders) if folder in (None, name)]
        words = sum(self.words[row] for row in rows)
        return sum(self.errors[row] for row in rows) / words if words else None

    def figures(self) -> dict[str, Any]:
        """For a report."""
        by_folder = {folder: _rounded(self.wer(folder)) for folder in dict.fromkeys(self.folders)}
        pooled = {"wer": _rounded(self.wer()), "errors": sum(self.errors), "words": sum(self.words)}
        return {"params": dict(self.params)} | pooled | {"by_folder": by_folder, "rtf": round(self.rtf, 4)}


def ways(own: AsrParams, *, second: bool) -> Iterator[dict[str, Any]]:
    """Params to try, cheaper ones first.

    Args:
        own: the model's; one that writes in one direction is not asked for the other.
        second: whether the model has a second graph.
    """
    for prefixes in PREFIXES:
        yield {"search": "ctc", "prefixes": prefixes}
    if not second:
        return
    both = own.directions == "both"
    shares = SHARES if both else tuple(share for name, share in _ALONE if name == own.directions)
    for prefixes in PREFIXES:
        # One direction is half the work.
        for share in sorted(shares, key=lambda share: (share not in (0.0, 1.0), share)):
            for weight in CTC_WEIGHTS:
                rescored = {"prefixes": prefixes, "backwards": share, "ctc_weight": weight}
                yield {"search": "rescore", **rescored}
    directions: tuple[Directions, ...] = ("l2r", "r2l", "both") if both else (own.directions,)
    for beam in BEAMS:
        for direction in directions:
            yield {"search": "beam", "beam": beam, "directions": direction}


def attempt(model: Model, heard: Sequence[Heard], params: Mapping[str, Any]) -> Tried:
    """The errors of a model with some params, on recordings that it has heard; at least one."""
    fork = model.fork(**params)
    start = process_time()
    texts = [write(each, fork) for each in heard]
    spent = process_time() - start + sum(each.spent for each in heard)
    return Tried(
        params=dict(params),
        texts=tuple(texts),
        errors=tuple(word_errors(each.text, text) for each, text in zip(heard, texts, strict=True)),
        words=tuple(len(normalise(each.text).split()) for each in heard),
        folders=tuple(each.folder for each in heard),
        rtf=spent / max(1e-9, sum(each.seconds for each in heard)),
    )


def attempts(model: Model, heard: Sequence[Heard]) -> list[Tried]:
    """All `ways`, in their order."""
    own = AsrParams.of(model.spec)
    every = list(ways(own, second=model.reader is not None))
    return [attempt(model, heard, params) for params in tqdm(every, desc="searches")]


def best(tried: Sequence[Tried]) -> Tried:
    """The one with the fewest errors in all folders together; of equally good ones the first."""
    return min(tried, key=lambda one: sum(one.errors))


def word_errors(wanted: str, given: str) -> int:
    """Word errors of one text."""
    return distance(normalise(wanted).split(), normalise(given).split())


def named(params: Mapping[str, Any]) -> str:
    """Params in a table."""
    return ", ".join(f"{key} {value}" for key, value in params.items() if key != "search")


def table(tried: Sequence[Tried]) -> str:
    """WER of each, in percent, as Markdown."""
    folders = list(dict.fromkeys(tried[0].folders))
    lines = [
        f"| search | params | {' | '.join(folders)} | pooled | RTF |",
        "| --- | --- |" + " ---: |" * (len(folders) + 2),
    ]
    for one in tried:
        rates = [_percent(one.wer(folder)) for folder in (*folders, None)]
        cells = [str(one.params["search"]), named(one.params), *rates, f"{one.rtf:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def directions_table(tried: Sequence[Tried]) -> str:
    """What each direction is worth: pooled WER of one alone, of the other, of both; all else alike.

    Of rescoring the prefixes and weight of its best try count; both directions are equal shares.
    """
    rescored = [one for one in tried if one.params["search"] == "rescore"]
    rows: dict[str, dict[str, Tried]] = {}
    if rescored:
        chosen = best(rescored).params
        alike = [
            one
            for one in rescored
            if all(one.params[key] == chosen[key] for key in ("prefixes", "ctc_weight"))
        ]
        names = {0.0: "l2r", 1.0: "r2l", 0.5: "both"}
        title = f"rescore, prefixes {chosen['prefixes']}, ctc_weight {chosen['ctc_weight']}"
        rows[title] = {names[one.params["backwards"]]: one for one in alike}
    for one in tried:
        if one.params["search"] == "beam":
            rows.setdefault(f"beam {one.params['beam']}", {})[one.params["directions"]] = one
    lines = ["| search | l2r alone | r2l alone | both |", "| --- | ---: | ---: | ---: |"]
    for title, by in rows.items():
        cells = [_percent(by[name].wer()) if name in by else "" for name in ("l2r", "r2l", "both")]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{100 * rate:.2f}"


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 6)
