"""Vocabularies: cutting against sentencepiece and against every cutting there is; files; the command line."""

import argparse
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.vocabulary import (
    END,
    L2R,
    PAD,
    R2L,
    SPACE,
    SPECIALS,
    UNK,
    Vocabulary,
    VocabularyError,
    add_arguments,
    characters,
    run,
    unigram,
)
from tests.tools import needs
from training.utterances import ManifestError

TEXTS = [
    "the cat sat on the mat", "a cat and a hat that sat", "the hats of the cats", "they said that the mat",
    "c a t", "o n e", "don't the hen eat", "then and then on and on",
] * 5  # fmt: skip


def test_characters_by_frequency_with_the_specials_first() -> None:
    vocabulary = characters(["ab a", "b a"])
    assert vocabulary.symbols == (*SPECIALS, "a", "b", SPACE)
    assert vocabulary.encode("ab  ba") == [5, 6, 7, 6, 5]
    assert vocabulary.encode("azb") == [5, UNK, 6]
    assert vocabulary.decode([L2R, 5, PAD, 7, 6, UNK, END, R2L]) == "a b*"
    assert characters(["ab a", "b a"], 6).symbols == (*SPECIALS, "a")


def test_mandarin_has_no_space() -> None:
    vocabulary = characters(["你好", "好的"])
    assert SPACE not in vocabulary.symbols
    assert vocabulary.decode(vocabulary.encode("你 的")) == "你的"


def _cuttings(word: str, symbols: tuple[str, ...]) -> Iterator[list[int]]:
    """Every way to write a word in symbols."""
    if not word:
        yield []
    for number, symbol in enumerate(symbols):
        if number >= len(SPECIALS) and word.startswith(symbol):
            yield from ([number, *rest] for rest in _cuttings(word[len(symbol) :], symbols))


@given(
    st.lists(st.floats(-9, -0.1), min_size=8, max_size=8, unique=True),
    st.text(alphabet="ab", min_size=1, max_size=7),
)
def test_the_cutting_is_the_best_of_all(scores: list[float], word: str) -> None:
    pieces = (SPACE, "a", "b", "ab", "ba", SPACE + "a", "aba", "bb")
    vocabulary = Vocabulary((*SPECIALS, *pieces), (0.0,) * 5 + tuple(scores))
    found = vocabulary.encode(word)
    totals = [
        sum(vocabulary.scores[n] for n in cutting) for cutting in _cuttings(SPACE + word, vocabulary.symbols)
    ]
    assert math.isclose(sum(vocabulary.scores[n] for n in found), max(totals), rel_tol=1e-12)
    assert vocabulary.decode(found) == word


def test_without_scores_the_fewest_symbols() -> None:
    vocabulary = Vocabulary((*SPECIALS, SPACE, "a", "b", "ab", SPACE + "a", "bab"))
    assert vocabulary.encode("abab") == [vocabulary.symbols.index(SPACE + "a"), 10]
    assert vocabulary.encode("zzb") == [5, UNK, 7]  # a run of unknowns is one


def test_unigram_cuts_as_sentencepiece_does() -> None:
    sentencepiece = needs.package("sentencepiece", "learns the subwords")
    vocabulary = unigram(TEXTS, 32)
    assert len(vocabulary) == 32
    assert vocabulary.symbols[:5] == SPECIALS
    assert {symbol for symbol in vocabulary.symbols[5:] if len(symbol) == 1} >= set("thecaso'nd")
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=written, vocab_size=28, character_coverage=1.0,
        normalization_rule_name="identity", unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1, num_threads=1,
        minloglevel=2,
    )  # fmt: skip
    theirs = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    for text in [*TEXTS[:8], "that the hen said", "mats", "xx yes on"]:
        ours = [vocabulary.symbols[number] for number in vocabulary.encode(text)]
        expected = [theirs.id_to_piece(number) for number in theirs.encode(text)]
        assert ours == expected
    for text in TEXTS[:8]:
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_sizes_that_cannot_be_are_refused() -> None:
    needs.package("sentencepiece", "learns the subwords")
    with pytest.raises(VocabularyError, match="5000"):
        unigram(TEXTS, 5000)
    with pytest.raises(VocabularyError, match="none"):
        characters([])


def test_files_round_trip_and_bad_ones_are_named(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    vocabulary = Vocabulary((*SPECIALS, SPACE, "你", "ab"), (0.0,) * 5 + (-1.5, -0.1, -2.25))
    vocabulary.save(path)
    assert Vocabulary.load(path) == vocabulary
    for bad in ("", "[]", '{"symbols": ["a"], "scores": []}'):
        path.write_text(bad)
        with pytest.raises(VocabularyError, match=r"vocabulary\.json"):
            Vocabulary.load(path)


@pytest.mark.parametrize("bad", [SPECIALS, ("a", *SPECIALS), (*SPECIALS, "a", "a"), (*SPECIALS, "")])
def test_tables_that_are_none(bad: tuple[str, ...]) -> None:
    with pytest.raises(VocabularyError):
        Vocabulary(bad)
    with pytest.raises(VocabularyError, match="scores"):
        Vocabulary((*SPECIALS, "a"), (0.0,))


def test_ids_beyond_the_table() -> None:
    with pytest.raises(VocabularyError, match="id 9"):
        characters(["ab"]).decode([9])


def test_command_line(tmp_path: Path) -> None:
    lines = [
        {"audio": "1.wav", "text": "Abba!", "split": "train"},
        {"audio": "2.wav", "text": "zoo", "split": "dev"},
        {"audio": "3.wav", "split": "train"},
    ]
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    out = tmp_path / "made.json"
    said = run(parser.parse_args([str(tmp_path), str(out), "--kind", "characters"]))
    assert "7 symbols of 1 texts" in said
    file = str(tmp_path / "manifest.jsonl")
    assert run(parser.parse_args([file, str(out), "--kind", "characters"])) == said
    for other in ("gone", "other.jsonl"):  # the folder around it is no answer
        with pytest.raises(ManifestError, match=other):
            run(parser.parse_args([str(tmp_path / other), str(out), "--kind", "characters"]))
    assert Vocabulary.load(out).symbols == (*SPECIALS, "a", "b")
