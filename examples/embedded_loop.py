"""The loop of a device: blocks from a driver, one buffer that is used again, no thread, no generator.

arecord -t raw -f S16_LE -r 16000 -c 1 | python examples/embedded_loop.py [MODEL...]
"""

import sys

import numpy as np

import stapes

BLOCK = 1600  # 100 ms at 16 kHz


def main(*models: str) -> None:
    """Standard input stands for the driver: whatever fills a buffer of int16 will do."""
    stream = stapes.load(*(models or ["kws"]))
    raw = np.empty(BLOCK, np.int16)
    samples = np.empty(BLOCK, np.float32)
    while (size := sys.stdin.buffer.readinto(raw) // 2) > 0:
        np.multiply(raw[:size], np.float32(1 / 32768), out=samples[:size])
        for event in stream.feed(samples[:size]):
            act(event)
    for event in stream.close():
        act(event)


def act(event: stapes.Event) -> None:
    """Switch a relay, say."""
    print(event.to_json(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
