"""What hotwords are worth: the rarest words of some texts, expected and not."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from asr.heard import Heard
from asr.tries import Tried, attempt, best
from stapes.model import Model
from stapes.tasks.edits import normalise

_SHORTEST = 4
"""Letters of a word that may be a hotword."""


def rarest(texts: Sequence[str], count: int) -> tuple[str, ...]:
    """The rarest words of at least four letters; of equally rare ones, by SHA-1, so that none is favoured."""
    words = Counter(word for text in texts for word in normalise(text).split())
    able = [word for word in words if len(word) >= _SHORTEST and word.isalpha()]
    able.sort(key=lambda word: (words[word], hashlib.sha1(word.encode(), usedforsecurity=False).digest()))
    return tuple(sorted(able[:count]))


def measure(model: Model, heard: Sequence[Heard], tried: Sequence[Tried], count: int) -> dict[str, Any]:
    """Recall of the rarest words and WER, with and without them as hotwords.

    All are given at once, for all clips. Where the decoder's own beam search is best, the best other way is
    taken, as hotwords do not reach that search.

    Args:
        model: that heard the clips.
        heard: clips.
        tried: ways to search that were measured on them.
        count: of hotwords.
    """
    plain = best([one for one in tried if one.params["search"] != "beam"])
    words = rarest([each.text for each in heard], count)
    helped = attempt(model, heard, {**plain.params, "hotwords": list(words)})
    found = {"words": list(words), "params": dict(plain.params)}
    for name, one in (("without", plain), ("with", helped)):
        found[name] = recall(words, heard, one.texts) | {"wer": round(one.wer() or 0.0, 6)}
    return found


def recall(words: Sequence[str], heard: Sequence[Heard], texts: Sequence[str]) -> dict[str, int]:
    """How often words are said ("said"), told where they are said ("found"), and told elsewhere ("false")."""
    said = found = told = 0
    for each, text in zip(heard, texts, strict=True):
        right, given = (Counter(normalise(one).split()) for one in (each.text, text))
        said += sum(right[word] for word in words)
        told += sum(given[word] for word in words)
        found += sum(min(right[word], given[word]) for word in words)
    return {"said": said, "found": found, "false": told - found}


def table(worth: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"| {len(worth['words'])} rarest words as hotwords | found | falsely | WER |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in ("without", "with"):
        one = worth[name]
        share = 100 * one["found"] / max(1, one["said"])
        found = f"{one['found']} of {one['said']} ({share:.1f} %)"
        lines.append(f"| {name} | {found} | {one['false']} | {100 * one['wer']:.2f} |")
    return "\n".join(lines)
