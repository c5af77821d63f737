"""Do something whenever a keyword is spoken into the microphone. Ctrl-C ends it.

python examples/mic.py [MODEL...]
"""

import contextlib
import sys

import stapes
from stapes.mic import Microphone, MicrophoneError


def main(*models: str) -> None:
    """Listen to the default microphone, at whatever rate it opens."""
    with Microphone.open() as microphone:
        print(f"listening to {microphone.name} at {microphone.sample_rate} Hz", flush=True)
        stream = stapes.load(*(models or ["kws"]), sample_rate=microphone.sample_rate)
        for event in stapes.run(microphone, stream):
            if isinstance(event, stapes.KeywordSpotted) and event.label == "stop":
                print("stopping", flush=True)
                return
            print(event.to_json(), flush=True)


if __name__ == "__main__":
    try:
        with contextlib.suppress(KeyboardInterrupt):
            main(*sys.argv[1:])
    except MicrophoneError as error:
        sys.exit(str(error))
