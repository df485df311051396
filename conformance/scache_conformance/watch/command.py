"""`scache-conformance watch`: between clients and a server, everything is passed on, shown and judged."""

import argparse
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
Each client that connects to A gets a connection to B of its own. Everything is passed on, byte for byte,
with its descriptors; what one side does not take yet is left in the other side's socket. Each dance is
printed when it is over, each fault when it shows, and a summary at the end, which SIGTERM or SIGINT brings
about. A is removed then.

Judged is what both sides say, by the clauses CONN, FD and CLNT, and what the server makes of the cache, as
far as it can be seen from here. A fault of the cache is told only if no order of the dances that overlapped
explains what was seen. What was saved before the watch began is unknown, and never a fault. All clients must
come this way: start the watcher before them.

The server sees the user and the process of the watcher in place of each client's. A descriptor that the
server has sent to a client which is gone by then is lost: it is closed unread.

exit status:
  0   no fault was seen
  1   a fault was seen, of the server or of a client
  2   the command line is wrong, or nobody can listen at A, or the watcher itself failed

To watch a Postfix that runs, as root in its queue directory:
  mv private/scache private/scache.server
  scache-conformance watch --listen private/scache --connect private/scache.server
  (SIGINT ends it)
  mv private/scache.server private/scache
"""

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(words: Sequence[str]) -> Exit:
    """Watch until a signal comes."""
    options = parser_of_watch().parse_args(words)
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
        print("scache-conformance watch: no verdict: it failed itself, as told above", file=sys.stderr)
        return Exit.NO_VERDICT
    return Exit.FAILED if log.has_faults else Exit.GOOD


def parser_of_watch() -> argparse.ArgumentParser:
    """Return the parser of `scache-conformance watch`."""
    parser = argparse.ArgumentParser(
        prog="scache-conformance watch",
        description="Stand between clients and a server: pass everything on, show it, and judge both sides.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--listen", metavar="A", type=Path, required=True, help="where clients connect: a path")
    parser.add_argument("--connect", metavar="B", type=Path, required=True, help="where the server listens: a path")
    parser.add_argument(
        "--ttl-limit",
        metavar="S",
        type=_seconds,
        help="the server's ttl limit: what is lost a second before its end, or later found, is a fault then, too; "
        "not where an operator removes what is parked",
    )
    parser.add_argument(
        "--alone",
        action="store_true",
        help="the server was started just now: what nobody was seen to save is a fault then, too",
    )
    parser.add_argument("--json", action="store_true", help="print an object in JSON a line, for logs")
    parser.add_argument("-q", "--quiet", action="store_true", help="print faults and the summary alone")
    return parser


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: not a number of seconds, 1 or more")
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
