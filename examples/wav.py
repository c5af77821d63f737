"""Print the keywords of a recording.

python examples/wav.py recording.wav [MODEL...]
"""

import sys

import stapes


def main(path: str, *models: str) -> None:
    """All events of one file."""
    source = stapes.open_source(path)
    stream = stapes.load(*(models or ["kws"]), sample_rate=source.sample_rate)
    for event in stapes.run(source, stream):
        print(f"{event.seconds:7.2f} s  {event}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
