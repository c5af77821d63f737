"""A TCP server: raw 16-bit 16 kHz mono sound in, one JSON line an event out."""

import socketserver
import sys
from collections.abc import Sequence
from socket import AF_INET6, socket
from threading import BoundedSemaphore
from typing import Any, BinaryIO, Final, cast

from stapes.model import Model
from stapes.sources import PcmSource
from stapes.stream import Stream, run

RATE: Final = 16_000
IDLE_SECONDS: Final = 60.0
"""A client that neither sends nor reads for so long has gone without saying so."""


class EventServer(socketserver.ThreadingTCPServer):
    """One thread and one `Stream` a client, at most `clients` at once.

    A client that ends its sending side gets what is left of its events; then the connection is closed.
    There is neither a password nor encryption: bind it to 127.0.0.1 or to a network that you trust.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 16

    def __init__(
        self, address: tuple[str, int], models: Sequence[Model], clients: int = 8, wake: str = ""
    ) -> None:
        """Bind the address.

        Args:
            address: host and port; port 0 takes a free one, which `server_address` then says.
            models: one session each, shared by all clients; each client has states of its own.
            clients: more than so many at once are told so and sent away.
            wake: see `Stream`.

        Raises:
            OSError: the address is taken, or is none of this machine.
            ValueError: models that cannot be in one stream; see `Stream`.
        """
        self.models, self.wake = tuple(models), wake
        Stream(*models, sample_rate=RATE, wake=wake)
        self._places = BoundedSemaphore(clients)
        self._clients = clients
        if ":" in address[0]:
            self.address_family = AF_INET6
        super().__init__(address, _Client)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the client's thread, if there is a place."""
        if not self._places.acquire(blocking=False):
            _tell(request, f'{{"error": "{self._clients} clients are being served; come back later"}}')
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """A client's thread, from hello to goodbye."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that vanished is no news; anything else is told on stderr, and the server goes on."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Client(socketserver.StreamRequestHandler):
    timeout = IDLE_SECONDS

    def handle(self) -> None:
        """Sound in, events out, until the client ends its side."""
        server = cast("EventServer", self.server)
        stream = Stream(*server.models, sample_rate=RATE, wake=server.wake)
        for event in run(PcmSource(cast("BinaryIO", self.rfile), RATE), stream):
            _tell(self.request, event.to_json())


def _tell(client: socket, line: str) -> None:
    client.sendall(f"{line}\n".encode())
