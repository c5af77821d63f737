"""The command lines of all tasks: a training's arguments, and errors told in one line."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import asr.__main__
import asr.distill.__main__
import dialect_id.__main__
import kws.__main__
from asr.ngrams.texts import LanguageTextError
from asr.sentences import TextError
from asr.vocabulary import VocabularyError
from kws.clips import DataError
from tests.training.tiny_task import TinyTask
from training import command
from training.loopspec import LoopSpec
from training.voices import EngineError

PACKAGES: dict[str, tuple[ModuleType, tuple[type[Exception], ...]]] = {
    "kws": (kws.__main__, (DataError,)),
    "dialect_id": (dialect_id.__main__, ()),
    "asr": (asr.__main__, (VocabularyError, TextError, LanguageTextError, EngineError)),
    "asr.distill": (asr.distill.__main__, ()),
}
CASES = [(name, error) for name, (_, own) in PACKAGES.items() for error in (*command.TOLD, *own)]


@pytest.mark.parametrize(("package", "error"), CASES, ids=lambda case: getattr(case, "__name__", case))
def test_every_package_tells_its_errors_in_one_line(
    package: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> None:
        raise error("this is\nwrong")

    monkeypatch.setattr(command, "load", fails)
    assert PACKAGES[package][0].main(["train", "recipe.toml"]) == 1
    assert capsys.readouterr() == ("", f"python -m {package}: this is wrong\n")


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_no_fault_of_the_user_is_raised(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(command, "load", fails)
    with pytest.raises(ZeroDivisionError):
        PACKAGES[package][0].main(["train", "recipe.toml"])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_trains_by_the_same_arguments(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        PACKAGES[package][0].main(["train", "--help"])
    told = capsys.readouterr().out
    assert all(option in told for option in ("--data", "--out", "--cache", "--set", "--anew"))
    folder = package.replace(".", "/") + "/recipes"
    assert folder in told.replace("\n", "").replace(" ", "")  # wherever the help breaks its lines
    made: list[Any] = []

    def fit(task: object, spec: LoopSpec, out: Path, *, resume: bool) -> dict[str, Any]:
        made.append((task, spec.seed, out, resume))
        return {"metric": "accuracy", "best": {"dev": {"accuracy": 0.5}, "epoch": 2}}

    monkeypatch.setattr(command, "fit", fit)
    recipes = sorted((Path(str(PACKAGES[package][0].__file__)).parent / "recipes").glob("*.toml"))
    first = next(path for path in recipes if _trains(package, path))
    assert PACKAGES[package][0].main(["train", str(first), "--set", "loop.seed=7", "--anew"]) == 0
    assert (
        capsys.readouterr().out == f"best dev accuracy: {{'accuracy': 0.5}}, epoch 2, in runs/{first.stem}\n"
    )
    ((task, *others),) = made
    assert others == [7, Path("runs") / first.stem, False]
    assert task.data == ((command.DATA,) if package == "asr" else command.DATA)


def _trains(package: str, recipe: Path) -> bool:
    """Whether a recipe is one of `train`, not of a comparison or of another command."""
    try:
        commands = PACKAGES[package][0]._COMMANDS
        command.load(commands["train"][0].recipe, recipe)
    except command.RecipeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class TinyRecipe:
    loop: LoopSpec = field(default_factory=LoopSpec)


TRAIN = command.Train(TinyRecipe, lambda _recipe, _args: TinyTask(), "tiny/recipes")
COMMANDS: dict[str, tuple[command.Command, str]] = {"train": (TRAIN, "train a recipe")}
RECIPE = '[loop]\nepochs = 2\nthreads = 1\naccelerator = "cpu"\nprecision = "32-true"\n'


def test_a_run_is_made_resumed_and_begun_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    line = ["train", str(recipe), "--out", str(tmp_path / "run")]
    assert command.main("tiny", COMMANDS, line) == 0
    told = capsys.readouterr().out
    assert told.startswith("best dev accuracy: {'accuracy': ")
    assert told.endswith(f"in {tmp_path / 'run'}\n")
    assert command.main("tiny", COMMANDS, line) == 0  # nothing is left to do
    assert capsys.readouterr().out == told
    assert command.main("tiny", COMMANDS, [*line, "--set", "loop.lr=0.02"]) == 1
    assert "is a run with other loop.lr" in capsys.readouterr().err
    assert command.main("tiny", COMMANDS, [*line, "--set", "loop.lr=0.02", "--anew"]) == 0


def test_a_damaged_checkpoint_and_an_infinite_loss_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    line = ["train", str(recipe), "--out", str(tmp_path / "run")]
    assert command.main("tiny", COMMANDS, [*line, "--set", "loop.lr=1e30"]) == 1
    assert "python -m tiny: the loss is " in capsys.readouterr().err
    (tmp_path / "run/last.pt").write_bytes(b"cut")
    assert command.main("tiny", COMMANDS, line) == 1
    assert "last.pt" in capsys.readouterr().err


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main("tiny", COMMANDS, [])
    assert "usage: python -m tiny" in capsys.readouterr().err


def test_where_a_run_goes() -> None:
    parser = argparse.ArgumentParser()
    command.add_train_arguments(parser, "those")
    assert command.run_folder(parser.parse_args(["a/b.toml"])) == Path("runs/b")
    assert command.run_folder(parser.parse_args(["a/b.toml", "--out", "c"])) == Path("c")


@pytest.mark.parametrize(
    ("read", "fine", "wrong"),
    [
        (command.share, {"0": 0.0, "0.25": 0.25, "1": 1.0}, ("-0.1", "30", "nan", "half", "")),
        (command.count, {"1": 1, "120": 120}, ("0", "-1", "1.5", "all", "")),
    ],
)
def test_numbers_out_of_range_are_no_arguments(
    read: Callable[[str], float], fine: dict[str, float], wrong: tuple[str, ...]
) -> None:
    assert {text: read(text) for text in fine} == fine
    for text in wrong:
        with pytest.raises(argparse.ArgumentTypeError, match=f"got '{text}'"):
            read(text)
