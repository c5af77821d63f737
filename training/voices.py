"""Speech synthesisers behind one call: a text in, an utterance in a voice drawn at random out.

Kokoro and Piper run in onnxruntime from a folder that voice_setup.py fills by package name; the others are
programs that the operating system installs. RHVoice, flite and pico are held out of keyword training: a
model that spots their words has learnt the words, not the synthesisers.

A letter in braces is said by its name: "{M} {A} {T} {T}". Without them "A" is an article to most engines.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kokoro_onnx.tokenizer import Tokenizer

Samples = NDArray[np.float32]

HELD_OUT = ("rhvoice", "flite", "pico")
PIPER_VOICE = "en_US-joe-medium.onnx"
_DIALECTS = (
    "en-us",
    "en-gb",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-us-nyc",
    "en-029",
)
_DIALECT_ODDS = (0.5, 0.18, 0.06, 0.06, 0.05, 0.05, 0.05, 0.05)
# The variants of espeak-ng 1.51 that sound like people: no robots, no whisper.
_ESPEAK_VARIANTS: tuple[str, ...] = tuple(
    """
    m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 adam Alex Alicia Andrea Andy Annie antonio aunty belinda
    benjamin boris caleb david Denis Diogo ed edward edward2 Gene Gene2 grandma grandpa gustave Henrique
    Hugo iven iven2 iven3 iven4 Jacky john kaukovalta klatt klatt2 klatt3 klatt4 Lee linda marcelo Marco
    Mario max Michael michel miguel Mike Nguyen norbert pablo paul pedro quincy rob robert sandro shelby
    steph steph2 steph3 travis victor zac
    """.split()  # noqa: SIM905
)
# Each mark has its own melody.
_PUNCTUATION, _PUNCTUATION_ODDS = (".", "", "!", "?"), (0.6, 0.15, 0.18, 0.07)
_BLENDED, _NATIVE = 0.35, 0.67
_LETTER = re.compile(r"\{(\w)\}")


class EngineError(RuntimeError):
    """A synthesiser that is not installed, or that failed."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a synthesiser said."""

    samples: Samples
    """(samples,) mono, as the engine made them."""
    sample_rate: int
    """Hertz."""
    voice: str


Speak = Callable[[str, np.random.Generator, float], Utterance]
"""Says a text; draws voice, dialect, melody and rate; the last number multiplies the rate (1.0: as drawn)."""


class Kokoro:
    """Kokoro-82M, int8: any of its voices, or a blend of two, in any English dialect of espeak-ng."""

    def __init__(self, folder: Path) -> None:
        model = folder / "kokoro.onnx"
        self._session = _session(model)
        self._voices = {
            path.stem: np.fromfile(path, np.float32).reshape(-1, 1, 256)  # (phonemes, 1, style)
            for path in sorted((folder / "voices").glob("*.bin"))
        }
        if not self._voices:
            raise EngineError(
                f"{folder / 'voices'} holds no Kokoro voices: run `python -m kws.synth --setup {folder}`"
            )
        # Names begin with language and sex; a and b are American and British.
        self._english = [name for name in self._voices if name[0] in "ab"]

    def __call__(self, word: str, rng: np.random.Generator, haste: float) -> Utterance:
        """Say `word`."""
        tokens = _tokenizer().tokenize(_phonemes(_text(word, rng), _dialect(rng)))
        if not tokens:
            raise EngineError(f"kokoro has no phonemes for {word!r}")
        voice = self._draw(rng)
        if len(tokens) > (most := len(self._voices[voice])):
            raise EngineError(f"kokoro takes {most} phonemes at most, {word[:20]!r}… has {len(tokens)}")
        style = self._voices[voice][len(tokens) - 1]
        if rng.random() < _BLENDED and (other := self._draw(rng)) != voice:
            weight = rng.uniform(0.3, 0.7)
            style = weight * style + (1 - weight) * self._voices[other][len(tokens) - 1]
            voice = "+".join(sorted((voice, other)))
        samples = self._session.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": style.astype(np.float32),
                "speed": np.array([_rate(rng, haste)], np.float32),
            },
        )[0]
        return Utterance(np.ravel(samples).astype(np.float32), 24_000, voice)

    def _draw(self, rng: np.random.Generator) -> str:
        """Mostly native voices; the others bring their accents."""
        return str(rng.choice(self._english if rng.random() < _NATIVE else list(self._voices)))


class Piper:
    """One Piper voice (VITS): American, male, with random melody and timing."""

    def __init__(self, folder: Path) -> None:
        model = folder / PIPER_VOICE
        self._session = _session(model)
        config = json.loads(model.with_name(model.name + ".json").read_text(encoding="utf-8"))
        self._ids: dict[str, list[int]] = config["phoneme_id_map"]
        self._sample_rate = int(config["audio"]["sample_rate"])

    def __call__(self, word: str, rng: np.random.Generator, haste: float) -> Utterance:
        """Say `word`."""
        phonemes = _phonemes(_text(word, rng), "en-us")
        # Begin, then every phoneme followed by a pad, then end: the order that Piper trains with.
        ids = [*self._ids["^"], *self._ids["_"]]
        for phoneme in phonemes:
            ids += [*self._ids.get(phoneme, ()), *self._ids["_"]]
        ids += self._ids["$"]
        scales = [
            rng.uniform(0.5, 0.9),
            1 / _rate(rng, haste),
            rng.uniform(0.6, 1.0),
        ]  # noise, length, timing noise
        samples = self._session.run(
            None,
            {
                "input": np.array([ids], np.int64),
                "input_lengths": np.array([len(ids)], np.int64),
                "scales": np.array(scales, np.float32),
            },
        )[0]
        return Utterance(np.ravel(samples).astype(np.float32), self._sample_rate, "joe")


def espeak(word: str, rng: np.random.Generator, haste: float) -> Utterance:
    """Formant synthesis: eight dialects times about eighty voices, pitch and rate drawn."""
    dialect, variant = _dialect(rng), str(rng.choice(_ESPEAK_VARIANTS))
    rate, pitch = round(150 * _rate(rng, haste)), round(float(rng.uniform(25, 80)))
    command = ["espeak-ng", "-v", f"{dialect}+{variant}", "-s", str(rate), "-p", str(pitch)]
    return _program([*command, "-w", "{wav}", "--", _letters(_text(word, rng), "[['eI]]")], variant)


def rhvoice(word: str, rng: np.random.Generator, haste: float) -> Utterance:
    """Statistical parametric synthesis, the four English voices that are not non-commercial."""
    voice = str(rng.choice(("alan", "bdl", "clb", "slt")))
    rate, pitch = round(100 * _rate(rng, haste)), round(float(rng.uniform(85, 115)))
    command = ["RHVoice-test", "-p", voice, "-r", str(rate), "-t", str(pitch), "-o", "{wav}"]
    return _program(command, voice, stdin=_letters(_text(word, rng), "ay"))


def flite(word: str, rng: np.random.Generator, haste: float) -> Utterance:
    """Diphones and clustergen, four English voices at 16 kHz."""
    voice = str(rng.choice(("kal16", "awb", "rms", "slt")))
    command = ["flite", "-voice", voice, "--setf", f"duration_stretch={1 / _rate(rng, haste):.3f}"]
    return _program([*command, "-t", _letters(_text(word, rng), "ay"), "-o", "{wav}"], voice)


def pico(word: str, rng: np.random.Generator, haste: float) -> Utterance:
    """SVOX Pico, one American and one British voice."""
    voice = str(rng.choice(("en-US", "en-GB")))
    speed, pitch = round(95 * _rate(rng, haste)), round(float(rng.uniform(80, 125)))
    said = _letters(_text(word, rng), "A,")
    text = f'<speed level="{speed}"><pitch level="{pitch}">{said}</pitch></speed>'
    return _program(["pico2wave", "-l", voice, "-w", "{wav}", text], voice)


_PROGRAMS: dict[str, tuple[str, str, Speak]] = {
    "espeak": ("espeak-ng", "espeak-ng", espeak),
    "rhvoice": ("RHVoice-test", "rhvoice and rhvoice-english (non-free)", rhvoice),
    "flite": ("flite", "flite", flite),
    "pico": ("pico2wave", "libttspico-utils (non-free)", pico),
}
ENGINES = ("kokoro", "piper", *_PROGRAMS)


@cache
def engine(name: str, folder: Path | None) -> Speak:
    """The synthesiser `name`; `folder` is the one that voice_setup.setup filled, for Kokoro and Piper.

    Raises:
        EngineError: no such engine, or it is not installed; the message says what to install.
    """
    if name in ("kokoro", "piper"):
        if folder is None:
            raise EngineError(f"{name} needs --voices DIR (made once by `python -m kws.synth --setup DIR`)")
        return Kokoro(folder) if name == "kokoro" else Piper(folder)
    if name not in _PROGRAMS:
        raise EngineError(f"no engine {name!r}: there are {', '.join(ENGINES)}")
    program, package, speak = _PROGRAMS[name]
    if shutil.which(program) is None:
        raise EngineError(f"{name} needs the program {program}: Debian package {package}")
    return speak


def _session(model: Path) -> onnxruntime.InferenceSession:
    if not model.is_file():
        raise EngineError(f"{model} is missing: run `python -m kws.synth --setup {model.parent}`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # processes are the parallel unit
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


@cache
def _phonemes(text: str, dialect: str) -> str:
    phonemes: str = _tokenizer().phonemize(_letters(text, "A,"), dialect)
    return phonemes


@cache
def _tokenizer() -> "Tokenizer":
    try:
        from kokoro_onnx.tokenizer import Tokenizer
    except ImportError:
        raise EngineError("phonemes need kokoro-onnx: install stapes[synth]") from None
    return Tokenizer()


def _text(word: str, rng: np.random.Generator) -> str:
    mark = str(rng.choice(_PUNCTUATION, p=_PUNCTUATION_ODDS))
    return word if word[-1:] in (".", "!", "?") else word + mark


def _letters(text: str, first: str) -> str:
    """Letters in braces as an engine wants them: alone it names them all but A, the article."""
    return _LETTER.sub(lambda match: first if match[1] in "aA" else match[1].upper(), text)


def _dialect(rng: np.random.Generator) -> str:
    return str(rng.choice(_DIALECTS, p=_DIALECT_ODDS))


def _rate(rng: np.random.Generator, haste: float) -> float:
    """Times the engine's own rate; even in the logarithm."""
    return float(np.exp(rng.uniform(np.log(0.8), np.log(1.4)))) * haste


def _program(command: list[str], voice: str, stdin: str = "") -> Utterance:
    """Run a synthesiser that writes the WAV file named `{wav}` in its arguments."""
    import soundfile

    with tempfile.TemporaryDirectory() as name:
        wav = Path(name) / "said.wav"
        run_program([part if part != "{wav}" else str(wav) for part in command], Path(name), stdin)
        try:
            samples, sample_rate = soundfile.read(wav, dtype="float32")
        except soundfile.LibsndfileError as error:
            raise EngineError(f"{command[0]} wrote no sound: {error}") from None
    return Utterance(samples, sample_rate, voice)


def run_program(command: list[str], folder: Path, stdin: str = "", timeout_s: float = 30.0) -> None:
    """Runs a command in a folder.

    Args:
        command: the program and its arguments.
        folder: to run it in.
        stdin: text that it reads.
        timeout_s: how long it may take, in seconds.

    Raises:
        EngineError: it cannot be started, takes too long, or fails.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, input=stdin, text=True, capture_output=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise EngineError(
            f"{' '.join(command[:4])} … failed ({done.returncode}): {done.stderr.strip()[-300:]}"
        )
