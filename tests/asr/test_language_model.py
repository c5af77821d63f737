"""The command `language-model`: which texts are learnt, which are left out, and what comes of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from asr.__main__ import main
from asr.language_model import perplexity
from asr.ngrams.texts import LanguageTextError, Source, Withheld, generated, read, transcripts, weighted
from asr.vocabulary import SPECIALS, Vocabulary
from stapes.tasks.ngrams import Ngrams
from training.utterances import ManifestError

LETTERS = Vocabulary((*SPECIALS, "▁", *"abcdefghijklmnopqrstuvwxyz'"))
LONG = "it was the best of times it was the worst of times it was the age of wisdom"


def _manifest(folder: Path, *rows: tuple[str, str]) -> Path:
    folder.mkdir(parents=True)
    lines = [json.dumps({"audio": "a.wav", "split": split, "text": text}) for split, text in rows]
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("books", "books", 1),
        ("an4:20", "an4", 20),
        ("C:/books:0.5", "C:/books", 0.5),
        ("C:/books", "C:/books", 1),
    ],
)
def test_sources_have_weights(text: str, path: str, weight: float) -> None:
    assert Source.parse(text) == Source(Path(path), weight)


def test_sources_are_files_folders_or_manifests(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("x")
    (tmp_path / "a.txt").write_text("x")
    folder = _manifest(tmp_path / "set", ("train", "one"), ("dev", "two"), ("train", ""))
    assert [path.name for path in Source(tmp_path).files()] == ["a.txt", "b.txt"]
    assert Source(tmp_path / "a.txt").files() == [tmp_path / "a.txt"]
    assert [read(path) for path in Source(folder).files()] == [["one"]]
    with pytest.raises(LanguageTextError, match="nowhere is no file"):
        Source(tmp_path / "nowhere").files()


def test_paragraphs_become_texts_of_a_few_sentences(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text(
        "It rained.\nIt rained all\nday: 12 hours! \r\n\r\n“Mr. Dee,” she said.\n\n***\n\n" + LONG
    )
    rain = "it rained it rained all day twelve hours"
    assert read(book) == [rain, "mister dee she said", LONG]
    book.write_text("One line.\nAnother one.\n")
    assert read(book) == ["one line", "another one"]


def test_files_that_hold_texts_of_tests_leak() -> None:
    other = "we were all going direct to heaven we were all going the other way"
    held = Withheld([LONG, other, "yes", "a b c d e"])
    assert held.leaks([f"well {LONG[:60]}", f"and {other}"])
    # A run may end in the next text: both are read on.
    assert held.leaks([LONG[:20], LONG[20:], other])
    assert not held.leaks([LONG, LONG])  # one quotation, however often
    assert not held.leaks([" ".join(reversed(LONG.split())), other[:20], "yes"])
    assert not held.leaks([])
    assert not Withheld([]).leaks([LONG])
    assert ["yes" in held, "a b c d e" in held, LONG in held] == [False, True, True]


def test_transcripts_of_splits(tmp_path: Path) -> None:
    folder = _manifest(tmp_path / "set", ("train", "ONE"), ("test", "2 men"), ("dev", ""))
    assert transcripts([folder]) == ["one", "two men"]
    assert transcripts([folder], ["test"]) == ["two men"]
    with pytest.raises(ManifestError, match="no text of split dev"):
        transcripts([folder], ["dev"])
    chinese = _manifest(tmp_path / "zh", ("test", "你好，世界。"))
    assert transcripts([chinese], normaliser="mandarin") == ["你好世界"]


def test_what_generators_say_is_normalised_and_the_same_each_time() -> None:
    texts = list(generated(300))
    assert texts == list(generated(300))
    assert len(set(texts)) > 250
    assert all(set(text) <= set(LETTERS.symbols) | {" "} and text for text in texts)
    assert any(len(text.split()) > 2 and max(map(len, text.split())) == 1 for text in texts)  # spelled


def test_texts_count_as_often_as_weighted() -> None:
    texts = [str(number) for number in range(2000)]
    rng = np.random.default_rng(0)
    assert weighted(texts, 2, rng) == [*texts, *texts]
    assert 500 < len(weighted(texts, 0.3, rng)) < 700
    assert 2500 < len(weighted(texts, 1.3, rng)) < 2700


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    LETTERS.save(tmp_path / "letters.json")
    books = tmp_path / "books"
    books.mkdir()
    said = "we were all going direct to heaven we were all going the other way"
    (books / "cities.txt").write_text(f"{LONG}.\n\n{said.capitalize()}.")
    (books / "other.txt").write_text("The cat sat on the mat. The cat ate the rat on the mat.\n" * 30)
    (books / "again.txt").write_text("The cat sat on the mat. The cat ate the rat on the mat.\n" * 30)
    train = _manifest(
        tmp_path / "train", ("train", "the cat sat on the rat"), ("dev", "the mat sat on the cat")
    )
    test = _manifest(tmp_path / "test", ("test", LONG), ("test", said))
    out = tmp_path / "new" / "asr.lm"
    arguments = ["language-model", str(books), f"{train}:3", str(tmp_path / "letters.json"), str(out)]
    arguments += ["--order", "5", "--without", str(test), "--dev", str(train)]
    assert main([*arguments, "--generated", "50"]) == 0
    told = capsys.readouterr().out
    assert "left out: 1 files with texts of tests (cities)" in told
    assert f"{train}: perplexity " in told
    ngrams = Ngrams(out.read_bytes(), LETTERS.symbols)
    known, unknown = (perplexity(ngrams, LETTERS, [text]) for text in ("the cat sat", "zebras buzz quietly"))
    assert known.symbols < unknown.symbols / 3
    # Eleven symbols and three words, and an end.
    assert known.words == pytest.approx(known.symbols ** (12 / 4), rel=1e-6)
    assert main([*arguments, "--size-mb", "0.011"]) == 0
    assert out.stat().st_size <= 11_000
    for wrong, reason in (
        (["--order", "0"], "order must be 1 to 16"),
        (["--dev", f"{train}:x"], "no text of split x"),
    ):
        assert main([*arguments, *wrong]) == 1
        assert reason in capsys.readouterr().err
