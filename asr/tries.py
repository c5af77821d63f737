"""Ways to search, each measured on the same hearings, and the best of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import process_time
from typing import Any

from tqdm import tqdm

from asr.candidates import all_candidates
from asr.heard import Heard, write
from stapes.model import Model
from stapes.tasks.asrparams import AsrParams
from stapes.tasks.beam import Directions
from stapes.tasks.edits import distance, normalise

BEAMS = (2, 4, 8)
PREFIXES = (8, 16)
PREFIXES_WITH_LANGUAGE = (64, 128)
"""A language model has something to choose among. Its weights are found with the first."""
CTC_WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0)
SHARES = (0.0, 0.5, 1.0)
"""Of rescoring: shares of the direction from right to left."""
LM_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
LM_BONUSES = (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
_FIRST = 0.4, 1.5
"""Weight and bonus that the search for better ones begins with."""
_ALONE: tuple[tuple[Directions, float], ...] = (("l2r", 0.0), ("r2l", 1.0))


_WORD = re.compile(r"[\u3400-\u9fff]|[^\s\u3400-\u9fff]+")


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


def choices(own: AsrParams, *, second: bool) -> Iterator[dict[str, Any]]:
    """Who decides among CTC's texts: params to try, cheaper ones first.

    Args:
        own: the model's; one that writes in one direction is not asked for the other.
        second: whether the model has a second graph.
    """
    yield {"search": "ctc"}
    if not second:
        return
    both = own.directions == "both"
    shares = SHARES if both else tuple(share for name, share in _ALONE if name == own.directions)
    # One direction is half the work.
    for share in sorted(shares, key=lambda share: (share not in (0.0, 1.0), share)):
        for weight in CTC_WEIGHTS:
            yield {"search": "rescore", "backwards": share, "ctc_weight": weight}


def beams(own: AsrParams) -> Iterator[dict[str, Any]]:
    """The decoder alone: params to try, cheaper ones first."""
    directions: tuple[Directions, ...] = (
        ("l2r", "r2l", "both") if own.directions == "both" else (own.directions,)
    )
    for beam in BEAMS:
        for direction in directions:
            yield {"search": "beam", "beam": beam, "directions": direction}


def attempt(model: Model, heard: Sequence[Heard], params: Mapping[str, Any]) -> Tried:
    """The errors of a model with some params, on recordings that it has heard; at least one."""
    fork = model.fork(**params)
    start = process_time()
    texts = [write(each, fork) for each in heard]
    return _tried(heard, params, texts, process_time() - start)


def searches(model: Model, heard: Sequence[Heard], params: Mapping[str, Any]) -> list[Tried]:
    """All `choices` among the texts of one search.

    Args:
        model: that heard the recordings.
        heard: at least one.
        params: of CTC's search and its language model.
    """
    own, second = AsrParams.of(model.spec), model.reader is not None
    found = list(all_candidates(heard, model.fork(**params, search="rescore" if second else "ctc")))
    tried = []
    for choice in choices(own, second=second):
        spent = sum(each.searched for each in found)
        if choice["search"] == "rescore":
            spent += sum(each.judged for each in found) * (1.0 if choice["backwards"] == 0.5 else 0.5)
        share, weight = choice.get("backwards", 0.0), choice.get("ctc_weight")
        tried.append(_tried(heard, {**choice, **params}, [each.text(share, weight) for each in found], spent))
    return tried


def attempts(model: Model, heard: Sequence[Heard], *, even: bool = False) -> list[Tried]:
    """Every way to search; of weights of the language model only those on the way to the best.

    Args:
        model: that heard the recordings.
        heard: at least one.
        even: what is best; see `cost`.
    """
    tried: list[Tried] = []
    without = {} if model.language is None else {"lm_weight": 0.0}
    for prefixes in PREFIXES:
        tried += searches(model, heard, {"prefixes": prefixes, **without})
    if model.language is not None:
        first, *others = PREFIXES_WITH_LANGUAGE
        climbed = _climb(model, heard, first, even=even)
        found = best(climbed, even=even).params
        weights = {key: found[key] for key in ("lm_weight", "lm_bonus")}
        tried += climbed
        for prefixes in others:
            tried += searches(model, heard, {"prefixes": prefixes, **weights})
    if model.reader is not None:
        every = list(beams(AsrParams.of(model.spec)))
        tried += [attempt(model, heard, params) for params in tqdm(every, desc="the decoder alone")]
    return tried


def _climb(model: Model, heard: Sequence[Heard], prefixes: int, *, even: bool) -> list[Tried]:
    """From one weight and bonus to the best beside it, until no other is better."""
    found: dict[tuple[int, int], list[Tried]] = {}
    here = LM_WEIGHTS.index(_FIRST[0]), LM_BONUSES.index(_FIRST[1])
    with tqdm(desc="language model") as progress:
        while True:
            weight, bonus = here
            around = [
                here,
                (weight - 1, bonus),
                (weight + 1, bonus),
                (weight, bonus - 1),
                (weight, bonus + 1),
            ]
            around += [(weight + 1, bonus + 1), (weight - 1, bonus - 1)]  # they go together
            for one in around:
                if one not in found and one[0] in range(len(LM_WEIGHTS)) and one[1] in range(len(LM_BONUSES)):
                    params = {"lm_weight": LM_WEIGHTS[one[0]], "lm_bonus": LM_BONUSES[one[1]]}
                    found[one] = searches(model, heard, {"prefixes": prefixes, **params})
                    progress.update()
            top = min(found, key=lambda one: cost(best(found[one], even=even), even=even))
            if top == here:
                return [one for each in found.values() for one in each]
            here = top


def _tried(heard: Sequence[Heard], params: Mapping[str, Any], texts: Sequence[str], spent: float) -> Tried:
    """Measured."""
    return Tried(
        params=dict(params),
        texts=tuple(texts),
        errors=tuple(word_errors(each.text, text) for each, text in zip(heard, texts, strict=True)),
        words=tuple(len(words_of(each.text)) for each in heard),
        folders=tuple(each.folder for each in heard),
        rtf=(spent + sum(each.spent for each in heard)) / max(1e-9, sum(each.seconds for each in heard)),
    )


def cost(tried: Tried, *, even: bool = False) -> float:
    """What is to be least: word errors in all folders together, or, even, the mean of their error rates."""
    if not even:
        return sum(tried.errors)
    rates = [tried.wer(folder) or 0.0 for folder in dict.fromkeys(tried.folders)]
    return sum(rates) / len(rates)


def best(tried: Sequence[Tried], *, even: bool = False) -> Tried:
    """The one of least cost; of equally good ones the first."""
    return min(tried, key=lambda one: cost(one, even=even))


def heads(tried: Sequence[Tried], *, even: bool = False) -> list[Tried]:
    """Of those that choose among the texts of one search the best of each kind; all others."""
    groups: dict[tuple[Any, ...], list[Tried]] = {}
    for one in tried:
        kept = {key: value for key, value in one.params.items() if key not in ("backwards", "ctc_weight")}
        groups.setdefault(tuple(kept.items()), []).append(one)
    return [best(group, even=even) for group in groups.values()]


def word_errors(wanted: str, given: str) -> int:
    """Word errors of one text."""
    return distance(words_of(wanted), words_of(given))


def words_of(text: str) -> list[str]:
    """What errors are counted in: words, and each ideograph, since no spaces part the words of these."""
    return _WORD.findall(normalise(text))


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


def directions_table(tried: Sequence[Tried], *, even: bool = False) -> str:
    """What each direction is worth: pooled WER of one alone, of the other, of both; all else alike.

    Of rescoring the best try counts, with other shares; both directions are equal shares.
    """
    rescored = [one for one in tried if one.params["search"] == "rescore"]
    rows: dict[str, dict[str, Tried]] = {}
    if rescored:
        chosen = best(rescored, even=even).params
        alike = [one for one in rescored if {**one.params, "backwards": 0} == {**chosen, "backwards": 0}]
        names = {0.0: "l2r", 1.0: "r2l", 0.5: "both"}
        shared = {key: value for key, value in chosen.items() if key != "backwards"}
        title = f"rescore, {named(shared)}"
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
