r"""The command line of scachectl: which commands there are, and their options. What they do is in the other modules."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from scache_client.client import Client
from scache_client.labels import typed
from scache_ctl import by_hand, exits, top, watching
from scache_ctl.shown import harmless
from scache_fast.admin.client import TIMEOUT_S

SOCKET_VARIABLE: Final = "SCACHE_SOCKET"
ADMIN_VARIABLE: Final = "SCACHED_ADMIN"
ADMIN_PATH: Final = "/run/scached/admin.sock"
ECHO_ADDRESS: Final = "127.0.0.1:7007"
EXPORTER_ADDRESS: Final = "127.0.0.1:9783"
TTL_S: Final = 60

_DESCRIPTION: Final = r"""
Watch and steer a shared connection cache, and park and find connections from a shell.

A try-out, with a server on ./cache.sock (scached --listen cache.sock --ttl-limit 10m --admin admin.sock):

  scachectl echo &
  scachectl park --socket cache.sock demo 127.0.0.1:7007
  scachectl list --admin admin.sock
  scachectl find-endp --socket cache.sock --send hello --again 60 demo
  scachectl find-endp --socket cache.sock --send 'hello again' demo

Each command is a process of its own, and all the lines go over one TCP connection.
"""

_EPILOG: Final = (
    r"""
Labels, globs, properties and text may hold \n \t \r \\ and \xNN: 'smtp\n127.0.0.1\n25\n0\n'.
"""
    + exits.HELP
)

_CACHE: Final = frozenset({"save-endp", "save-dest", "find-endp", "find-dest", "park"})

_PLAIN: Final = {
    "version": "which server this is",
    "stats": "gauges and counters",
    "clients": "who is connected",
    "limits": "each limit, and how much of it is used",
    "pause": "refuse saves",
    "resume": "take saves again",
    "drain": "refuse saves, and end the server once nothing is parked",
    "reload": "have the settings read again",
    "takeover": "refused: a takeover begins with the start of scached --takeover",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(exits.WRONG, f"{self.prog}: {harmless(message)}\n{self.format_usage()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = parser_of_all()
    options = parser.parse_args(arguments)
    try:
        status = _run(parser, options)
        sys.stdout.flush()  # Here, where a reader that has gone is noticed, and not at the end of the interpreter.
        return status
    except BrokenPipeError:
        return exits.leave_output()
    except exits.MEANT as error:
        return exits.complain(error)
    except KeyboardInterrupt:
        return exits.DONE if options.command in {"echo", "exporter", "top"} else exits.INTERRUPTED


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.command == "echo":
        return by_hand.echo(options.address)
    if options.command == "top":
        return top.run(options)
    if options.command in {"exporter", "metrics"}:
        return _tell_metrics(options)
    if options.command not in _CACHE:
        return watching.run(options)
    if not options.socket:
        parser.error(f"which server? Say --socket PATH, or set {SOCKET_VARIABLE}")
    with Client(options.socket, timeout_s=options.timeout) as client:
        return _ask_cache(client, options)


def _tell_metrics(options: argparse.Namespace) -> int:
    try:
        from scache_ctl import exporter  # here, as it takes a library that nothing else needs
    except ImportError:
        raise ValueError("metrics need the library prometheus-client: pip install 'scached[metrics]'") from None
    if options.command == "exporter":
        return exporter.serve(options.listen, options.admin, options.timeout)
    return exporter.print_once(options.admin, options.timeout, options.output)


def _ask_cache(client: Client, options: argparse.Namespace) -> int:
    match options.command:
        case "save-endp":
            return by_hand.save_endp(client, options.endpoint, options.ttl, options.properties)
        case "save-dest":
            return by_hand.save_dest(client, options.destination, options.endpoint, options.ttl, options.properties)
        case "find-endp":
            return by_hand.find_endp(
                client, options.endpoint, options.program, options.send, options.talk, options.again
            )
        case "find-dest":
            return by_hand.find_dest(client, options.destination, options.program, options.send, options.talk)
        case "park":
            return by_hand.park(client, options.endpoint, options.address, options.ttl, options.properties)
        case command:
            raise ValueError(f"{command} is no command")


def parser_of_all() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="scachectl", description=_DESCRIPTION, epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(
        admin=os.environ.get(ADMIN_VARIABLE) or ADMIN_PATH,
        socket=os.environ.get(SOCKET_VARIABLE),
        timeout=TIMEOUT_S,
        json=False,
    )
    common = _common()
    _add_common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=f"{name}: {text}.", parents=[common])

    for name, text in _PLAIN.items():
        add(name, text)
    _add_choice(add("list", "what is parked")).add_argument(
        "--properties", action="store_true", help="tell the properties too"
    )
    _add_choice(add("flush", "remove what is parked; without --label and --glob all of it"))
    add("loglevel", "have each request logged, or not").add_argument("level", choices=["normal", "verbose"])

    live = add("top", "a live view; q ends it")
    live.add_argument("--interval", metavar="SECONDS", type=_timeout, default=2.0, help="default: %(default)g")
    live.add_argument("--count", metavar="N", type=int, default=0, help="end after so many pictures")
    add("exporter", "serve metrics to Prometheus").add_argument(
        "--listen", metavar="HOST:PORT", type=_address, default=EXPORTER_ADDRESS, help="default: %(default)s"
    )
    add("metrics", "print metrics once").add_argument(
        "--output", metavar="FILE", type=Path, help="replace a file instead, for node_exporter's textfile collector"
    )

    save_endp = add("save-endp", "park the connection that is standard input: save-endp LABEL <&3")
    _add_label(save_endp, "endpoint")
    _add_ttl_and_properties(save_endp)
    save_dest = add("save-dest", "bind a destination to an endpoint")
    _add_label(save_dest, "destination")
    _add_label(save_dest, "endpoint")
    _add_ttl_and_properties(save_dest)
    find_endp = add("find-endp", "take up a connection by its endpoint; PROGRAM has it as descriptor 3")
    find_endp.add_argument(
        "--again", metavar="SECONDS", type=int,
        help="park it again for so long; it is closed instead, with exit status 1, after --talk, if its peer has "
        "closed it, and after --send unless exactly one line came back in time",
    )  # fmt: skip
    _add_use(find_endp, "endpoint")
    _add_use(add("find-dest", "take up a connection by its destination; PROGRAM has it as descriptor 3"), "destination")
    park = add("park", "open a TCP connection and park it")
    _add_label(park, "endpoint")
    park.add_argument("address", metavar="HOST:PORT", type=_address, help="where to connect to")
    _add_ttl_and_properties(park)
    add("echo", "run a peer that numbers its connections and sends lines back").add_argument(
        "address", metavar="HOST:PORT", nargs="?", type=_address, default=ECHO_ADDRESS, help="default: %(default)s"
    )
    return parser


def _common() -> _Parser:
    common = _Parser(add_help=False)
    _add_common(common)
    return common


def _add_common(parser: argparse.ArgumentParser) -> None:
    # No default here: each option may stand before and behind the command, and the later parser would undo the first.
    hidden = argparse.SUPPRESS
    parser.add_argument("--admin", metavar="PATH", default=hidden,
                        help=f"the admin socket (default: ${ADMIN_VARIABLE}, or {ADMIN_PATH})")  # fmt: skip
    parser.add_argument("--socket", metavar="PATH", default=hidden,
                        help=f"the cache's socket, for save, find and park (default: ${SOCKET_VARIABLE})")  # fmt: skip
    parser.add_argument("--timeout", metavar="SECONDS", type=_timeout, default=hidden,
                        help=f"how long each answer is waited for (default: {TIMEOUT_S:g})")  # fmt: skip
    parser.add_argument("--json", action="store_true", default=hidden,
                        help="print lines of JSON instead of tables")  # fmt: skip


def _add_choice(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("what", nargs="?", choices=["endpoints", "destinations", "all"], default="all")
    only = command.add_mutually_exclusive_group()
    only.add_argument("--label", type=_label, help="only this label")
    only.add_argument("--glob", type=_label, help="only labels that match: * any bytes, ? one byte, […] one of these")
    return command


def _add_label(command: argparse.ArgumentParser, kind: str) -> None:
    command.add_argument(kind, metavar=kind.upper(), type=_label, help=f"the label of the {kind}")


def _add_ttl_and_properties(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--ttl", metavar="SECONDS", type=int, default=TTL_S, help="for how long (default: %(default)s)"
    )
    command.add_argument(
        "--property", dest="properties", metavar="TEXT", type=_label, default=b"", help="what a find brings back"
    )


def _add_use(command: argparse.ArgumentParser, kind: str) -> None:
    command.add_argument("--send", metavar="TEXT", type=_label, help="send a line over it and print what comes back")
    command.add_argument("--talk", action="store_true", help="pass standard input over it, and print what comes")
    _add_label(command, kind)
    command.add_argument("program", metavar="PROGRAM", nargs=argparse.REMAINDER, help="and its arguments")


def _label(text: str) -> bytes:
    # argparse shows the text of this exception; of a ValueError it shows only the name of the function.
    try:
        return typed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _timeout(text: str) -> float:
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = 0
    if not 0 < timeout_s <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0 and up to 3600")
    return timeout_s


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT, such as 127.0.0.1:7007 or [::1]:7007")
    return host.removeprefix("[").removesuffix("]"), int(port)


if __name__ == "__main__":
    sys.exit(main())
