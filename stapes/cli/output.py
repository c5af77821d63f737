"""What several commands share: how lines are printed and how arguments are read."""

import argparse
import json
import sys
from typing import Any, TypeAlias

from stapes.events import Event
from stapes.model import Model
from stapes.tasks.symbols import SPECIALS

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What `add_subparsers` returns; argparse has no public name for it."""


def print_json(value: dict[str, Any]) -> None:
    """One line, flushed: a program at the other end of the pipe acts on it now."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def event_json(event: Event, file: str | None = None) -> str:
    """The event's line, with the file that it was found in."""
    line = event.to_json()
    return line if file is None else line[:-1] + f', "file": {json.dumps(file, ensure_ascii=False)}}}'


def event_text(event: Event) -> str:
    """The event for people: when, what, how sure, who says so."""
    fields = json.loads(event.to_json())
    name = fields.pop("event")
    seconds = fields.pop("seconds")
    model = fields.pop("model")
    del fields["at"]
    fields |= {"nbest": fields.pop("nbest", [])}  # last: what else it may have been
    told = (_field(key, value) for key, value in fields.items() if value not in ([], {}, ""))
    words = [word for word in told if word]
    clock = f"{int(seconds // 60):3d}:{seconds % 60:05.2f}"
    return f"{clock}  {name:<14} {'  '.join(words)}{f'  [{model}]' if model else ''}".rstrip()


def _field(key: str, value: object) -> str:  # noqa: PLR0911 - one return a kind of value
    if key in ("label", "text"):
        return f"{value}"
    if key == "scores" and isinstance(value, dict):
        best = sorted(value.items(), key=lambda pair: -pair[1])[:3]
        return " ".join(f"{label} {score:.2f}" for label, score in best)
    if key == "nbest" and isinstance(value, list):
        return "or: " + " | ".join(text for text, _ in value[1:3]) if len(value) > 1 else ""
    if key == "words":
        return ""
    if key == "features" and isinstance(value, list):
        return shape(value)
    if key == "period_ms":
        return f"every {value:g} ms"
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{key}={value}" if key != "reason" else f"({value})"


def shape(features: list[list[float]]) -> str:
    """16 × 192: steps and width."""
    return f"{len(features)} × {len(features[0]) if features else 0}"


def add_listening(parser: argparse.ArgumentParser) -> None:
    """Options of all commands that run a stream."""
    parser.add_argument(
        "--wake", default="", metavar="MODEL", help="transcribe only what follows a keyword of this model"
    )
    parser.add_argument(
        "--hotwords",
        type=phrases,
        default=[],
        metavar="A,B",
        help="phrases that speech to text is to expect",
    )


def load_models(names_or_paths: list[str], hotwords: list[str]) -> list[Model]:
    """Models, those that write text with the phrases to expect.

    Raises:
        ValueError: a model twice; phrases, but no model that could expect or write them.
    """
    models = [Model.load(name) for name in names_or_paths]
    told = [model.spec.name for model in models]
    if twice := sorted({name for name in told if told.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} is named twice: its events could not be told apart")
    writers = [model.spec for model in models if model.spec.task == "asr"]
    if hotwords and not writers:
        raise ValueError(f"--hotwords wants a model that writes text, not {', '.join(names_or_paths)}")
    for spec in writers:
        written = {*"".join(spec.labels[SPECIALS:]).lower(), " "}
        for phrase in hotwords:
            if unknown := "".join(sorted(set(phrase.lower()) - written)):
                raise ValueError(
                    f"--hotwords {phrase!r} can never be heard: {spec.name} writes no {unknown!r}"
                )
    return [
        model.fork(hotwords=hotwords) if hotwords and model.spec.task == "asr" else model for model in models
    ]


def complain(error: Exception, file: str | None = None) -> None:
    """An error as one sentence on stderr, which names the file that it is about."""
    words = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        words = f"{error.filename}: {error.strerror}"
    elif file is not None and file not in words:
        words = f"{file}: {words}"
    print(f"stapes: {words}", file=sys.stderr, flush=True)


def device(text: str) -> int | str:
    """A device's number, or a part of its name."""
    return int(text) if text.isdecimal() else text


def phrases(text: str) -> list[str]:
    """`new york,stapes` as ["new york", "stapes"]."""
    return [phrase.strip() for phrase in text.split(",") if phrase.strip()]


def names(text: str) -> list[str]:
    """`a,b` as ["a", "b"]."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError("name at least one model")
    return found
