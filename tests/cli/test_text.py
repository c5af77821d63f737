"""The commands with a model that writes text."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stapes.cli.output import event_text, load_models
from stapes.events import TextFinished
from tests.cli.conftest import Cli
from tests.cli.sounds import write_samples
from tests.tools import tiny_asr
from tests.tools.signals import high, low, quiet
from tests.tools.tiny_onnx import spec, write


@pytest.fixture(scope="module")
def asr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_asr.write(tmp_path_factory.mktemp("asr"), tiny_asr.spec())


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """high, low, high."""
    parts = [quiet(1), high(0.5), quiet(1), low(0.5), quiet(0.8), high(0.5), quiet(0.7)]
    samples = np.round(np.concatenate(parts) * 32_767).astype(np.int16)
    return write_samples(tmp_path_factory.mktemp("talk") / "talk.wav", samples, 16_000)


def test_run(cli: Cli, asr: Path, talk: Path) -> None:
    done = cli("run", talk, "--models", asr, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    finished = [row for row in rows if row["event"] == "TextFinished"]
    assert [row["text"] for row in finished] == ["high", "low", "high"]
    assert finished[0]["words"][0]["text"] == "high"
    assert finished[0]["words"][0]["start"] == pytest.approx(1, abs=0.15)
    people = cli("run", talk, "--models", asr).stdout
    assert "TextChanged    high  [tiny-asr]" in people
    assert "TextFinished   high  1.00  [tiny-asr]" in people
    assert "words=" not in people


def test_people_are_told_what_else_it_may_have_been() -> None:
    best = (("go", -0.1), ("no", -14.9), ("do go", -19.6), ("doe", -21.0))
    event = TextFinished(at=1600, model="asr", text="go", nbest=best, confidence=0.934)
    assert event_text(event) == "  0:00.10  TextFinished   go  0.93  or: no | do go  [asr]"


def test_run_after_a_keyword(cli: Cli, asr: Path, talk: Path, tmp_path: Path) -> None:
    kws = write(tmp_path, spec("stateful"))
    done = cli("run", talk, "--models", f"{kws},{asr}", "--wake", "tiny-stateful", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    first = next(row["at"] for row in rows if row["event"] == "KeywordSpotted")
    assert [row["text"] for row in rows if row["event"] == "TextFinished"]
    assert all(row["at"] > first for row in rows if row["event"].startswith("Text"))
    done = cli("run", talk, talk, "--models", asr, "--wake", "kws")
    assert done.returncode == 1
    assert done.stderr.startswith("stapes: no keyword model 'kws' to wake the others")
    assert done.stderr.count("\n") == 1


def test_hotwords(cli: Cli, asr: Path, talk: Path, tmp_path: Path) -> None:
    assert cli("run", talk, "--models", asr, "--hotwords", "new york, low").returncode == 0
    kws = write(tmp_path, spec("stateful"))
    done = cli("run", talk, "--models", kws, "--hotwords", "low")
    assert done.returncode == 1
    assert "--hotwords wants a model that writes text" in done.stderr
    done = cli("run", talk, "--models", asr, "--hotwords", "low,Löw 2")
    assert done.returncode == 1
    assert "--hotwords 'Löw 2' can never be heard: tiny-asr writes no '2ö'" in done.stderr


def test_hotwords_reach_the_models_that_write(asr: Path, tmp_path: Path) -> None:
    kws = write(tmp_path, spec("stateful"))
    keywords, text = load_models([str(kws), str(asr)], ["new york"])
    assert text.spec.params["hotwords"] == ["new york"]
    assert "hotwords" not in keywords.spec.params
    capitals = replace(tiny_asr.spec(), labels=tuple(label.upper() for label in tiny_asr.LABELS))
    (shouting,) = load_models([str(tiny_asr.write(tmp_path, capitals))], ["New York"])
    assert shouting.spec.params["hotwords"] == ["New York"]


def test_score_over_a_manifest(cli: Cli, asr: Path, talk: Path) -> None:
    manifest = talk.parent / "talk.jsonl"
    lines = [{"audio": talk.name, "text": "High, low high!"}, {"audio": talk.name, "text": "high low"}]
    manifest.write_text("\n".join(map(json.dumps, lines)))
    done = cli("score", asr, "--manifest", manifest, "--json")
    *rows, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows] == ["high low high"] * 2
    assert rows[0]["nbest"][0][0] == "high low high"
    summary = last["summary"]
    assert (summary["task"], summary["n"], summary["words"]) == ("asr", 2, 5)
    assert summary["wer"] == pytest.approx(0.2)
    assert summary["cer"] == pytest.approx(4 / 18, abs=1e-6)


def test_info_is_short(cli: Cli, asr: Path) -> None:
    done = cli("info", asr)
    assert "labels     9: <pad>" in done.stdout
    assert "second graph" in done.stdout
