"""`stapes serve`: well-behaved clients, and the others."""

import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import stapes
from stapes.server import EventServer
from tests.cli.conftest import Cli
from tests.cli.sounds import LABELS, sound

Address = tuple[str, int]


@pytest.fixture
def address(model: Path) -> Iterator[Address]:
    """A server of at most two clients, in a thread."""
    with EventServer(("127.0.0.1", 0), [stapes.Model.load(model)], clients=2) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield ("127.0.0.1", server.server_address[1])
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def expected(model: Path) -> list[str]:
    stream = stapes.load(model)
    events = stream.feed(sound(16_000).astype(np.float32) / np.float32(32768)) + stream.close()
    return [event.to_json() for event in events]


def exchange(address: Address, raw: bytes, piece: int = 3_200) -> list[str]:
    """All of `raw`, in pieces, then the end of the sound; what came back until the server closed."""
    with socket.create_connection(address, timeout=30) as connection:
        for at in range(0, len(raw), piece):
            connection.sendall(raw[at : at + piece])
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile(encoding="utf-8").read().splitlines()


def served(address: Address) -> list[str]:
    """The events of the sound, as soon as there is a place: a client's is free a little after its end."""
    for _ in range(200):
        with contextlib.suppress(ConnectionError):  # sent away while still sending
            lines = exchange(address, sound(16_000).tobytes())
            if not any("error" in line for line in lines):
                return lines
        time.sleep(0.05)
    raise AssertionError("no place became free in 10 s")


@pytest.mark.parametrize("piece", [1_111, 3_200, 1 << 20])
def test_events_come_back(address: Address, expected: list[str], piece: int) -> None:
    """Odd pieces too, which cut samples in two."""
    assert exchange(address, sound(16_000).tobytes(), piece) == expected
    assert [json.loads(line)["label"] for line in expected] == list(LABELS)


def test_clients_do_not_mix(address: Address, expected: list[str]) -> None:
    with socket.create_connection(address, timeout=30) as other:
        other.sendall(np.random.default_rng(0).integers(-9000, 9000, 12_345).astype("<i2").tobytes())
        assert exchange(address, sound(16_000).tobytes()) == expected


def test_too_many_clients_are_told(address: Address, expected: list[str]) -> None:
    pair = [socket.create_connection(address, timeout=30) for _ in range(2)]
    for connection in pair:
        connection.sendall(b"\0" * 3_200)
    with socket.create_connection(address, timeout=30) as third:
        said = json.loads(third.makefile(encoding="utf-8").readline())
    assert "2 clients are being served" in said["error"]
    for connection in pair:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""  # the server closed: its place is free
        connection.close()
    assert served(address) == expected


def test_clients_that_misbehave(address: Address, expected: list[str]) -> None:
    """Nothing, half a sample, noise, a reset in mid-stream: the next client is served all the same."""
    assert exchange(address, b"") == []
    assert exchange(address, b"\x01") == []
    exchange(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    exchange(address, np.random.default_rng(1).bytes(100_001))
    with socket.create_connection(address, timeout=30) as rude:
        rude.sendall(sound(16_000).tobytes())
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends a reset
    assert served(address) == expected


def test_a_client_that_does_nothing_is_let_go(
    address: Address, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stapes.server._Client.timeout", 0.5)
    with socket.create_connection(address, timeout=30) as idle:
        idle.sendall(sound(16_000).tobytes())
        said = idle.makefile(encoding="utf-8").read().splitlines()
    assert said == expected[: len(said)]
    assert said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command(model: Path, expected: list[str], number: int) -> None:
    command = [sys.executable, "-m", "stapes.cli", "serve", str(model), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline().strip()
        assert said.startswith("stapes: serving tiny-stateful at 127.0.0.1:")
        assert exchange(("127.0.0.1", int(said.rpartition(":")[2])), sound(16_000).tobytes()) == expected
        process.send_signal(number)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_wrong_addresses(cli: Cli, model: Path, address: Address) -> None:
    taken = cli("serve", model, "--port", address[1])
    assert (taken.returncode, taken.stderr.count("\n")) == (1, 1)
    assert "in use" in taken.stderr
    wrong = cli("serve", model, "--port", 70_000)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "--port must be 0 to 65535" in wrong.stderr
