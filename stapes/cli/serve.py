"""`stapes serve`: sound over TCP in, JSON lines out."""

import argparse
import signal
import sys
import threading

from stapes.cli.output import Commands, add_listening, load_models
from stapes.server import EventServer


def add_to(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "serve",
        help="events over TCP",
        description="A client sends raw 16-bit little-endian 16 kHz mono PCM and gets a JSON line an event. "
        "When it ends its sending side it gets the rest, and the connection is closed. No password, no "
        "encryption: keep to 127.0.0.1 or to a network that you trust.",
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="bundled names or paths; default: kws")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: 8765)")
    add_listening(parser)
    parser.add_argument("--clients", type=int, default=8, help="at most so many at once (default: 8)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    if not 0 <= args.port < 65_536 or args.clients < 1:
        raise ValueError(f"--port must be 0 to 65535 and --clients positive, got {args.port}, {args.clients}")
    models = load_models(args.models or ["kws"], args.hotwords)
    try:
        server = EventServer((args.host, args.port), models, args.clients, args.wake)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{args.host}:{args.port}") from None
    with server:

        def stop(*_: object) -> None:
            # shutdown waits for serve_forever, which runs in this thread: it must be called from another.
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        names = ", ".join(model.spec.name for model in models)
        port = server.server_address[1]
        print(f"stapes: serving {names} at {args.host}:{port}", file=sys.stderr, flush=True)
        server.serve_forever()
    return 0
