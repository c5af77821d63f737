"""Print the keywords of a recording.

python examples/wav.py recording.wav [MODEL...]
"""

import sys

import stapes


def main(path: str, *models: str) -> None:
    """All events of one file."""
    stream = stapes.load(*(models or ["kws"]))
    for event in stapes.run(stapes.open_source(path), stream):
        print(f"{event.seconds:7.2f} s  {event}")


if __name__ == "__main__":
    main(*sys.argv[1:])
