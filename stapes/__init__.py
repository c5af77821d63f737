"""stapes: sound in, events out, on small devices. numpy and onnxruntime, nothing else.

import stapes

source = stapes.open_source("hello.wav")
stream = stapes.load("kws", sample_rate=source.sample_rate)
for event in stapes.run(source, stream):
    print(event.to_json())
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stapes import events, fbank, onnxfile, resample, spec
from stapes.endpoint import EndpointSpec
from stapes.events import (
    AudioLost,
    DialectGuessed,
    Event,
    FeaturesHeard,
    KeywordSpotted,
    SpeechEnded,
    SpeechStarted,
    TextChanged,
    TextFinished,
    Word,
)
from stapes.model import Model, bundled_models
from stapes.onnxfile import ModelFileError
from stapes.spec import FbankSpec, ModelSpec, SpecError, StateSpec, WindowSpec
from stapes.stream import Stream, load, run

if TYPE_CHECKING:
    from stapes import sources
    from stapes.scoring import features, judge, score
    from stapes.sources import (
        ArraySource,
        FileSource,
        Lost,
        PcmSource,
        Source,
        SourceError,
        WavSource,
        open_source,
    )

__all__ = [
    "ArraySource",
    "AudioLost",
    "DialectGuessed",
    "EndpointSpec",
    "Event",
    "FbankSpec",
    "FeaturesHeard",
    "FileSource",
    "KeywordSpotted",
    "Lost",
    "Model",
    "ModelFileError",
    "ModelSpec",
    "PcmSource",
    "Source",
    "SourceError",
    "SpecError",
    "SpeechEnded",
    "SpeechStarted",
    "StateSpec",
    "Stream",
    "TextChanged",
    "TextFinished",
    "WavSource",
    "WindowSpec",
    "Word",
    "bundled_models",
    "events",
    "fbank",
    "features",
    "judge",
    "load",
    "onnxfile",
    "open_source",
    "resample",
    "run",
    "score",
    "sources",
    "spec",
]

_LATER = ("scoring", "sources")
"""Imported when something of them is first asked for: a device that feeds a stream itself starts without."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return import_module(f"stapes.{name}")
    if name in __all__:
        for later in _LATER:
            module = import_module(f"stapes.{later}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'stapes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
