"""Send a 16 kHz mono 16-bit WAV file to `stapes serve` and print the events that come back.

stapes serve --port 8765 &
python examples/socket_client.py recording.wav 127.0.0.1 8765
"""

import json
import socket
import sys
import threading
import wave


def send(connection: socket.socket, path: str) -> None:
    """All of the file, 100 ms at a time, then the end of the sound."""
    with wave.open(path) as file:
        while block := file.readframes(1600):
            connection.sendall(block)
    connection.shutdown(socket.SHUT_WR)


def main(path: str, host: str = "127.0.0.1", port: str = "8765") -> None:
    """Send in one thread, read in the other: neither waits for the other."""
    with socket.create_connection((host, int(port))) as connection:
        threading.Thread(target=send, args=(connection, path), daemon=True).start()
        for line in connection.makefile(encoding="utf-8"):
            event = json.loads(line)
            print(f"{event['seconds']:7.2f} s  {event['event']}  {event.get('label', event.get('text', ''))}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
