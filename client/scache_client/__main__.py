r"""The command line for trying things: `python -m scache_client --help`.

Decides how the commands are written and how errors look: one line on standard error and exit status 2. Refuses to know
what the commands do.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from scache_client import commands
from scache_client.client import TIMEOUT_S, Client
from scache_client.errors import CacheError
from scache_client.labels import typed

SOCKET_VARIABLE = "SCACHE_SOCKET"
ECHO_ADDRESS = "127.0.0.1:7007"
TTL_S = 60

_DESCRIPTION = r"""
Park connections in a shared connection cache and take them up again, by hand.

A try-out, with a server on ./cache.sock (scached --listen cache.sock --ttl-limit 10m):

  python -m scache_client echo &
  python -m scache_client --socket cache.sock park demo 127.0.0.1:7007
  python -m scache_client --socket cache.sock find demo --send hello --again 60
  python -m scache_client --socket cache.sock find demo --send 'hello again'

Each command is a process of its own, and all the lines go over one TCP connection.
"""

_EPILOG = r"""
Labels, properties and text may hold \n \t \r \\ and \xNN: 'smtp\n127.0.0.1\n25\n0\n'.
Exit status: 0 done, 1 nothing is parked there or it was closed instead of parked again, 2 anything else.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.command == "echo":
            return commands.echo(options.address)
        if not options.socket:
            parser.error(f"which server? Say --socket PATH, or set {SOCKET_VARIABLE}")
        with Client(options.socket, timeout_s=options.timeout) as client:
            return _run(client, options)
    except (CacheError, OSError, ValueError) as error:
        print(f"scache_client: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0 if options.command == "echo" else 130  # 128 + SIGINT, as shells have it


def _run(client: Client, options: argparse.Namespace) -> int:
    match options.command:
        case "park":
            return commands.park(client, options.endpoint, options.address, options.ttl, options.properties)
        case "bind":
            return commands.bind(client, options.destination, options.endpoint, options.ttl, options.properties)
        case "find":
            return commands.find(client, options.endpoint, options.send, options.talk, options.again)
        case "find-dest":
            return commands.find_dest(client, options.destination, options.send, options.talk)
        case command:
            raise ValueError(f"{command} is no command")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scache_client",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--socket",
        metavar="PATH",
        default=os.environ.get(SOCKET_VARIABLE),
        help=f"the socket the server listens on (default: ${SOCKET_VARIABLE})",
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=TIMEOUT_S, help="for each request (default: %(default)g)"
    )
    add = parser.add_subparsers(dest="command", metavar="COMMAND", required=True).add_parser

    park = add("park", help="open a TCP connection and park it")
    park.add_argument("endpoint", metavar="ENDPOINT", type=_label, help="the label to park it under")
    park.add_argument("address", metavar="HOST:PORT", type=_address, help="where to connect to")
    _add_ttl_and_properties(park)

    find = add("find", help="take up a connection by its endpoint")
    find.add_argument("endpoint", metavar="ENDPOINT", type=_label, help="the label it was parked under")
    _add_use(find)
    find.add_argument(
        "--again",
        metavar="SECONDS",
        type=int,
        help="park it again for so long; it is closed instead, with exit status 1, after --talk, if its peer has "
        "closed it, and after --send unless exactly one line came back in time",
    )

    bind = add("bind", help="bind a destination to an endpoint")
    bind.add_argument("destination", metavar="DESTINATION", type=_label, help="the label to find it by")
    bind.add_argument("endpoint", metavar="ENDPOINT", type=_label, help="the label connections are parked under")
    _add_ttl_and_properties(bind)

    find_dest = add("find-dest", help="take up a connection by its destination")
    find_dest.add_argument("destination", metavar="DESTINATION", type=_label, help="a label bound to some endpoint")
    _add_use(find_dest)

    echo = add("echo", help="run a peer that numbers its connections and sends lines back")
    echo.add_argument(
        "address", metavar="HOST:PORT", nargs="?", type=_address, default=ECHO_ADDRESS, help="default: %(default)s"
    )
    return parser


def _add_ttl_and_properties(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--ttl", metavar="SECONDS", type=int, default=TTL_S, help="for how long (default: %(default)s)"
    )
    command.add_argument(
        "--properties", metavar="TEXT", type=_label, default=b"", help="what a find brings back with it"
    )


def _add_use(command: argparse.ArgumentParser) -> None:
    command.add_argument("--send", metavar="TEXT", type=_label, help="send a line over it and print what comes back")
    command.add_argument("--talk", action="store_true", help="pass standard input over it, and print what comes")


def _label(text: str) -> bytes:
    # argparse shows the text of this exception; of a ValueError it shows only the name of the function.
    try:
        return typed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT, such as 127.0.0.1:7007 or [::1]:7007")
    return host.removeprefix("[").removesuffix("]"), int(port)


if __name__ == "__main__":
    sys.exit(main())
