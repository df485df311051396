"""`scache-conformance watch`: between clients and a server, everything is passed on, shown and judged."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from scache_conformance.suite.verdicts import Exit
from scache_conformance.watch.cache import Judge
from scache_conformance.watch.conversation import Conversation
from scache_conformance.watch.faults import Fault
from scache_conformance.watch.log import Log
from scache_conformance.watch.relay import Relay, now_ns

HELP: Final = """\
For each client that connects to A, the watcher opens a connection to B. It passes on every byte and every
descriptor, and reads from one side only what the other side accepts. It prints each dance when it ends, each
fault when it occurs, and a summary at the end. Ctrl-C or SIGTERM ends the watch and removes A.

The watcher judges the conversation of both sides by the clauses CONN, FD and CLNT, and the server's cache as
far as it can be seen from outside. It reports a fault of the cache only if no order of the overlapping dances
explains what it saw. It does not know what was saved before it started, and never reports that as a fault.
All clients must connect through the watcher: start it before them.

The server sees the user and the process of the watcher instead of each client's. If a client ends while the
server sends it a descriptor, the watcher closes the descriptor, and the connection is lost.

exit status:
  0   no fault was seen
  1   a fault of the server or of a client was seen
  2   the command line is wrong, the watcher cannot listen at A, or the watcher itself failed

To watch a running Postfix, as root in its queue directory:
  mv private/scache private/scache.server
  scache-conformance watch --listen private/scache --connect private/scache.server
  (press Ctrl-C to end it)
  mv private/scache.server private/scache
"""

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(words: Sequence[str]) -> Exit:
    """Watch until a signal comes."""
    options = parser_of_watch().parse_args(words)
    if os.path.realpath(options.listen) == os.path.realpath(options.connect):
        print(
            "scache-conformance watch: --listen and --connect name one socket: give another --listen", file=sys.stderr
        )
        return Exit.NO_VERDICT
    begin_ns = now_ns()
    log: Log | None = None

    def follow() -> Conversation:
        assert log is not None
        return Conversation(log.connected(), judge, on_dance=log.dance, on_fault=log.fault)

    def blame(fault: Fault) -> None:
        assert log is not None
        log.fault(fault, now_ns())

    judge = Judge(blame, ttl_limit_s=options.ttl_limit, is_alone=options.alone)
    try:
        relay = Relay(options.listen, options.connect, follow)
    except OSError as error:
        print(f"scache-conformance watch: cannot listen at {options.listen}: {error}", file=sys.stderr)
        return Exit.NO_VERDICT
    log = Log(begin_ns, as_json=options.json, quiet=options.quiet)
    with relay, _ended_by_signals(relay):
        print(f"listening on {options.listen}", file=sys.stderr, flush=True)
        relay.run()
    judge.close(now_ns())
    log.end(now_ns(), judge.unknown)
    if relay.has_failed:
        print(
            "scache-conformance watch: no verdict, because the watcher itself failed; the reason is above",
            file=sys.stderr,
        )
        return Exit.NO_VERDICT
    return Exit.FAILED if log.has_faults else Exit.GOOD


def parser_of_watch() -> argparse.ArgumentParser:
    """Return the parser of `scache-conformance watch`."""
    parser = argparse.ArgumentParser(
        prog="scache-conformance watch",
        description="Pass on the traffic between clients and a server, show it, and judge both sides.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--listen",
        metavar="A",
        type=Path,
        required=True,
        help="path of the socket to which clients connect; the watcher makes it",
    )
    parser.add_argument("--connect", metavar="B", type=Path, required=True, help="path of the server's socket")
    parser.add_argument(
        "--ttl-limit",
        metavar="S",
        type=_seconds,
        help="ttl limit of the server in seconds. With it, a connection that is lost a second too early or found too "
        "late is a fault. Leave it out if an operator removes connections",
    )
    parser.add_argument(
        "--alone",
        action="store_true",
        help="the server has just been started: finding a connection that no client saved is a fault",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line, for logs")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only faults and the summary")
    return parser


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds: write a whole number of at least 1")
    return int(text)


@contextmanager
def _ended_by_signals(relay: Relay) -> Iterator[None]:
    """Have signals end the watch as it should end; those that are ignored, as nohup does, stay so."""

    def stop(number: int, frame: FrameType | None) -> None:
        relay.stop()

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
