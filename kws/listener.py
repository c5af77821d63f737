"""A speech recogniser that hears whether a synthesiser said the word it was asked for.

Synthesisers are made for sentences: a lone short word now and then comes out with a second syllable, or as
another word. Vosk, told that only the keywords and the word in question may come, finds these for 0.04 s of
CPU a clip. It refuses some good clips too (3 in 100 of real "on" and "off"): what stays is the easier part.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from kws.clips import KEYWORDS
from training.voices import EngineError, Samples

SAMPLE_RATE = 16_000
_PEAK = 0.5
# Samples of silence: the recogniser wants some to begin and end.
_BEFORE, _AFTER = SAMPLE_RATE // 4, 3 * SAMPLE_RATE // 8


class Listener:
    """Vosk's small English model, told which words may come."""

    def __init__(self, folder: Path) -> None:
        try:
            self._vosk: Any = importlib.import_module("vosk")
        except ImportError:
            raise EngineError("listening needs the package vosk: pip install vosk") from None
        if not (folder / "am" / "final.mdl").is_file():
            raise EngineError(
                f"{folder} holds no Vosk model: run `python -m kws.synth --setup {folder.parent}`"
            )
        self._vosk.SetLogLevel(-1)
        self._model = self._vosk.Model(str(folder))
        self._keywords = self._recognizer(())

    def hear(self, clip: Samples, word: str) -> str:
        """The words heard in a clip of 16 kHz, of the keywords, `word`, and "[unk]" for everything else."""
        recognizer = self._keywords if word in KEYWORDS else self._recognizer((word,))
        recognizer.Reset()
        loud = clip * (_PEAK / max(float(np.abs(clip).max()), 1e-9))
        padded = np.pad(loud, (_BEFORE, _AFTER))
        recognizer.AcceptWaveform((padded * 32767).astype("<i2").tobytes())
        return str(json.loads(recognizer.FinalResult())["text"])

    def agrees(self, clip: Samples, word: str) -> bool:
        """Whether a keyword was heard as itself alone, or any other word as no keyword."""
        heard = self.hear(clip, word)
        return heard == word if word in KEYWORDS else not set(heard.split()) & set(KEYWORDS)

    def _recognizer(self, extra: tuple[str, ...]) -> Any:
        return self._vosk.KaldiRecognizer(self._model, SAMPLE_RATE, json.dumps([*KEYWORDS, *extra, "[unk]"]))
