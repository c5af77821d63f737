"""Write what is said into the microphone; with --wake, only what follows a keyword. Ctrl-C ends it.

python examples/dictate.py [--wake kws] [--asr MODEL] [--hotwords "new york,stapes"]
"""

import argparse
import contextlib
import sys

import stapes
from stapes.mic import Microphone, MicrophoneError


def main() -> None:
    """Text appears while it is spoken, on a line that is written over until it is final."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--asr", default="asr", help="speech to text: a bundled name or a path")
    parser.add_argument("--wake", help="keyword model that opens the ear")
    parser.add_argument("--hotwords", default="", help="phrases to expect, with commas between")
    args = parser.parse_args()
    models = [stapes.Model.load(args.asr).fork(hotwords=[*filter(None, args.hotwords.split(","))])]
    if args.wake:
        models.append(stapes.Model.load(args.wake))
    wake = models[-1].spec.name if args.wake else ""
    with Microphone.open() as microphone:
        print("say a keyword, then speak" if wake else "speak", flush=True)
        stream = stapes.Stream(*models, sample_rate=microphone.sample_rate, wake=wake)
        for event in stapes.run(microphone, stream):
            if isinstance(event, stapes.TextChanged) and sys.stdout.isatty():
                print(f"\r\x1b[K{event.text} …", end="", flush=True)
            elif isinstance(event, stapes.TextFinished):
                print("\r\x1b[K" * sys.stdout.isatty() + event.text, flush=True)


if __name__ == "__main__":
    try:
        with contextlib.suppress(KeyboardInterrupt):
            main()
    except MicrophoneError as error:
        sys.exit(str(error))
