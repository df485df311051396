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
_TTL_S_MAX: Final = 2_147_483_647
"""The longest ttl of the protocol, which is signed and has 32 bits."""

_DESCRIPTION: Final = r"""
Watch and control a shared connection cache (scached), and park and find connections from a shell.

To try it, start a server in one terminal:

  scached --listen cache.sock --admin admin.sock --ttl-limit 10m

and type in another terminal, in the same folder:

  scachectl echo &
  scachectl --socket cache.sock park demo 127.0.0.1:7007
  scachectl --admin admin.sock list
  scachectl --socket cache.sock find-endp --send hello --again 60 demo
  scachectl --socket cache.sock find-endp --send 'hello again' demo

Each command is a separate process, and all of them use one TCP connection.
'scachectl COMMAND --help' explains a command.
"""

_EPILOG: Final = (
    r"""
In labels, patterns, properties and texts, write \n \t \r \\ and \xNN for special bytes: 'smtp\n127.0.0.1\n25\n0\n'.

"""
    + exits.HELP
)

_CACHE: Final = frozenset({"save-endp", "save-dest", "find-endp", "find-dest", "park"})

_PLAIN: Final = {
    "version": ("show the version and the form of the server", ""),
    "stats": ("show gauges and counters", "Counters begin at 0 when the server starts."),
    "clients": ("show the connected clients", "Each has its user, its process, and the step in which it is."),
    "limits": ("show each limit, how much of it is used, and how often it was reached", ""),
    "pause": ("refuse saves", "Finds are served. 'scachectl resume' undoes it."),
    "resume": ("accept saves again", "It undoes 'scachectl pause' and 'scachectl drain'."),
    "drain": ("refuse saves, and end the server as soon as nothing is parked", "'scachectl resume' undoes it."),
    "reload": (
        "make the server read its settings again",
        "If any setting is wrong, none changes. The answer says which settings changed and which need a restart.",
    ),
    "takeover": ("always refused: use 'scached --takeover'", "It starts a new server in place of the running one."),
}
"""What each verb without options does, in short, and what else to know of it."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(exits.WRONG, f"{self.prog}: {harmless(message)}\n{self.format_usage()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    exits.keep_output()
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
        parser.error(f"no server is named: add --socket PATH, or set the variable {SOCKET_VARIABLE}")
    with Client(options.socket, timeout_s=options.timeout) as client:
        return _ask_cache(client, options)


def _tell_metrics(options: argparse.Namespace) -> int:
    try:
        from scache_ctl import exporter  # here, as it takes a library that nothing else needs
    except ImportError:
        raise ValueError(
            "metrics need the Python package prometheus-client: install it (pip install prometheus-client)"
        ) from None
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
            raise ValueError(f"{command} is not a command")


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
    _add_common(parser, frozenset(_COMMON))
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str, more: str = "") -> argparse.ArgumentParser:
        description = f"{text[0].upper()}{text[1:]}. {more}".strip()
        command = commands.add_parser(name, help=text, description=description)
        _add_common(command, _OF_USE.get(name, _OF_THE_CACHE if name in _CACHE else _OF_THE_ADMIN))
        return command

    for name, (text, more) in _PLAIN.items():
        add(name, text, more)
    _add_choice(add("list", "show what is parked")).add_argument(
        "--properties", action="store_true", help="show the properties too"
    )
    _add_choice(add("flush", "remove what is parked", "Without --label and --glob, all of it is removed."))
    add("loglevel", "log each request (verbose), or not (normal)").add_argument("level", choices=["normal", "verbose"])

    live = add("top", "show a live view", "q ends it.")
    live.add_argument("--interval", metavar="SECONDS", type=_timeout, default=2.0,
                      help="time between two pictures (default: %(default)g)")  # fmt: skip
    live.add_argument("--count", metavar="N", type=int, default=0, help="end after N pictures")
    add("exporter", "serve metrics to Prometheus", "Ctrl-C ends it.").add_argument(
        "--listen", metavar="HOST:PORT", type=_address, default=EXPORTER_ADDRESS,
        help="address of the HTTP server (default: %(default)s)",
    )  # fmt: skip
    add("metrics", "print metrics for Prometheus once").add_argument(
        "--output", metavar="FILE", type=Path,
        help="write them to this file instead, for node_exporter's textfile collector; the whole file is replaced",
    )  # fmt: skip

    save_endp = add("save-endp", "park the connection that is standard input",
                    "Example: 'scachectl save-endp LABEL <&3' parks descriptor 3 of the shell.")  # fmt: skip
    _add_label(save_endp, "endpoint")
    _add_ttl_and_properties(save_endp)
    save_dest = add("save-dest", "bind a destination to an endpoint",
                    "'scachectl find-dest' then finds connections parked under this endpoint.")  # fmt: skip
    _add_label(save_dest, "destination")
    _add_label(save_dest, "endpoint")
    _add_ttl_and_properties(save_dest)
    find_endp = add("find-endp", "find a connection by its endpoint, and use it", _HOW_TO_USE)
    find_endp.add_argument(
        "--again", metavar="SECONDS", type=_ttl,
        help="afterwards, park the connection again for this time. If an answer may still be due, the connection is "
        "closed instead, with exit status 1: after --talk, if the peer has closed the connection, and after --send if "
        "the answer was not exactly one line",
    )  # fmt: skip
    _add_use(find_endp, "endpoint")
    _add_use(add("find-dest", "find a connection by its destination, and use it", _HOW_TO_USE), "destination")
    park = add("park", "open a TCP connection and park it")
    _add_label(park, "endpoint")
    park.add_argument("address", metavar="HOST:PORT", type=_address, help="address to connect to")
    _add_ttl_and_properties(park)
    add("echo", "run a server that sends each line back, to try things out",
        "It also numbers its connections and the lines on each. Ctrl-C ends it.").add_argument(
        "address", metavar="HOST:PORT", nargs="?", type=_address, default=ECHO_ADDRESS,
        help="address to listen on (default: %(default)s)",
    )  # fmt: skip
    return parser


_COMMON: Final = ("admin", "socket", "timeout", "json")
"""Options that each command accepts; its help shows those that have an effect on it."""

_OF_THE_ADMIN: Final = frozenset({"admin", "timeout", "json"})
_OF_THE_CACHE: Final = frozenset({"socket", "timeout"})
_OF_USE: Final = {
    "top": frozenset({"admin", "timeout"}),
    "exporter": frozenset({"admin", "timeout"}),
    "metrics": frozenset({"admin", "timeout"}),
    "echo": frozenset[str](),
}

_HOW_TO_USE: Final = (
    "With PROGRAM, scachectl becomes PROGRAM, which has the connection as descriptor 3, its properties in "
    "SCACHE_PROPERTIES, and those of a binding in SCACHE_DESTINATION_PROPERTIES."
)


def _add_common(parser: argparse.ArgumentParser, shown: frozenset[str]) -> None:
    def add(name: str, metavar: str, text: str) -> None:
        # No default here: each option may stand before and behind the command, and the later parser would undo the
        # first.
        parser.add_argument(f"--{name}", metavar=metavar, default=argparse.SUPPRESS,
                            type=_timeout if name == "timeout" else str,
                            help=text if name in shown else argparse.SUPPRESS)  # fmt: skip

    add("admin", "PATH", f"path of the admin socket (default: ${ADMIN_VARIABLE}, or {ADMIN_PATH})")
    add("socket", "PATH", f"path of the cache's socket, for save, find and park (default: ${SOCKET_VARIABLE})")
    add("timeout", "SECONDS", f"longest wait for each answer (default: {TIMEOUT_S:g})")
    text = "print lines of JSON instead of tables" if "json" in shown else argparse.SUPPRESS
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=text)


def _add_choice(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("what", nargs="?", choices=["endpoints", "destinations", "all"], default="all",
                         help="parked connections, bindings, or both (default: all)")  # fmt: skip
    only = command.add_mutually_exclusive_group()
    only.add_argument("--label", type=_label, help="only this label")
    only.add_argument("--glob", type=_label, metavar="PATTERN", help="only labels that match this pattern: * stands "
                      "for any bytes, ? for one byte, […] for one of these bytes")  # fmt: skip
    return command


def _add_label(command: argparse.ArgumentParser, kind: str) -> None:
    command.add_argument(kind, metavar=kind.upper(), type=_label, help=f"label of the {kind}")


def _add_ttl_and_properties(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--ttl",
        metavar="SECONDS",
        type=_ttl,
        default=TTL_S,
        help="time to keep it; the server may have a lower limit (default: %(default)s)",
    )
    command.add_argument(
        "--property",
        dest="properties",
        metavar="TEXT",
        type=_label,
        default=b"",
        help="properties, which a find gets back",
    )


def _add_use(command: argparse.ArgumentParser, kind: str) -> None:
    command.add_argument("--send", metavar="TEXT", type=_label, help="send a line and print the answer")
    command.add_argument("--talk", action="store_true", help="send standard input, and print what arrives")
    _add_label(command, kind)
    command.add_argument(
        "program", metavar="PROGRAM", nargs=argparse.REMAINDER, help="program to run, and its arguments"
    )


def _label(text: str) -> bytes:
    # argparse shows the text of this exception; of a ValueError it shows only the name of the function.
    try:
        return typed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _ttl(text: str) -> int:
    # Here, and not in the client alone: what was taken up to be parked again would be lost.
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _TTL_S_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of seconds from 1 to {_TTL_S_MAX}")
    return int(text)


def _timeout(text: str) -> float:
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = 0
    if not 0 < timeout_s <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0 and up to 3600")
    return timeout_s


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT: write for example 127.0.0.1:7007 or [::1]:7007")
    return host.removeprefix("[").removesuffix("]"), int(port)


if __name__ == "__main__":
    sys.exit(main())
