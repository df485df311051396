"""Cases: every kind of file that a process can pass: the server lives, serves others, and keeps none of them open.

Each case tries all kinds on one server. Only if something goes wrong, it tries fewer and fewer on servers of their own,
to name those that it goes wrong with.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from scache_conformance.cases.fd.closing import fewest_descriptors
from scache_conformance.servers.target import ServerDied, Target
from scache_conformance.suite.client import Client
from scache_conformance.suite.files.kinds import KINDS, Made, describe
from scache_conformance.suite.files.workshop import REFUSALS, Workshop
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Schedule, add
from scache_conformance.suite.requirements import require
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DONE, FAILED
from scache_conformance.wire.unmet import Unmet

NAMED_MAX = 2
"""How many kinds are named that something goes wrong with. Arbitrary: each takes some servers to be found out."""

Way = Callable[[Lab, Target, Client, Sequence[Made]], None]
"""What is done with files of some kinds, on a server that only this case uses. Raises Unmet, ServerDied."""


def _park(lab: Lab, peer: Client, files: Sequence[Made], ttl_s: int) -> None:
    for each in files:
        peer.save_endp(ttl_s, lab.label(each.name), b"p", each.fd)  # a server may refuse a kind: not to live on
        each.close()


def _expire(lab: Lab, server: Target, peer: Client, files: Sequence[Made]) -> None:
    _park(lab, peer, files, 1)
    lab.let_pass(server, 2)
    for each in files:
        peer.misses_endp(each.name)


def _find(lab: Lab, server: Target, peer: Client, files: Sequence[Made]) -> None:
    for each in files:
        if peer.save_endp(lab.ttl_s, lab.label(each.name), b"p", each.fd) == DONE:
            found = peer.finds_endp(each.name, b"p")
            require(f"whether what comes back of {each.name} is the same", each.is_the_same_as(found.fd), True)
            os.close(peer.give_up(found.fd))
        each.close()


def _ride_along(lab: Lab, server: Target, peer: Client, files: Sequence[Made]) -> None:
    for each in files:
        with server.stopped():  # so that its copy is the last
            peer.send_bytes(lists.find_endp(lab.label("nothing")), [each.fd])
            each.close()
        peer.receives(FAILED, b"")


def _refuse(lab: Lab, server: Target, peer: Client, files: Sequence[Made]) -> None:
    for each in files:
        peer.begin_save(each.name)
        with server.stopped():
            peer.send_bytes(b"\0", [each.fd, each.fd])
            each.close()
        peer.receives(FAILED)


def _exit(lab: Lab, server: Target, peer: Client, files: Sequence[Made]) -> None:
    _park(lab, peer, files, lab.ttl_s)
    server.ask_to_exit()
    require("the exit status", server.wait_for_exit(0), 0)
    server.revive()


def _try(lab: Lab, server: Target, way: Way, names: Sequence[str]) -> list[str]:
    """Try a way with these kinds, then count descriptors; return the kinds that cannot be made here."""
    files, refused, before = list[Made](), list[str](), fewest_descriptors(lab, server, enough=0)
    with ExitStack() as opened, lab.peer(target=server) as peer:
        for name in names:
            try:
                files.append(Made(name, Workshop(opened, server.socket_path)))
            except REFUSALS as refusal:
                lab.transcript.note("", f"{name} cannot be made here: {refusal}")
                refused.append(name)
        way(lab, server, peer, files)
        with lab.peer("B", target=server) as other:
            other.misses_endp()
    left = fewest_descriptors(lab, server, enough=before)
    require("how many descriptors the server has open when all is closed", left, before)
    return refused


def _try_on_another(lab: Lab, way: Way, names: Sequence[str]) -> list[str]:
    """Try a way on a server of its own. Raises Unmet also where the server dies."""
    with lab.server() as server:
        try:
            return _try(lab, server, way, names)
        except Unmet as unmet:
            raise Unmet(unmet.expected, f"{unmet.actual}; {server.fate()}") from unmet
        except ServerDied as died:
            raise Unmet("a server that exits when it is asked to, and is there before", str(died)) from died


def _culprits(lab: Lab, way: Way, names: Sequence[str], found: list[Unmet]) -> None:
    """Find the single kinds that fail by halving, and add each with its failure."""
    if len(found) >= NAMED_MAX:
        return
    try:
        _try_on_another(lab, way, names)
    except Unmet as unmet:
        if len(names) == 1:
            found.append(Unmet(f"{names[0]}: {unmet.expected}", f"{names[0]}: {unmet.actual}"))
            return
        half = len(names) // 2
        _culprits(lab, way, names[:half], found)
        _culprits(lab, way, names[half:], found)


def _every_kind(slug: str, title: str, clauses: tuple[str, ...], way: Way) -> None:
    def function(lab: Lab) -> str:
        names = list(KINDS)
        try:
            refused = _try_on_another(lab, way, names)
        except Unmet as unmet:
            found: list[Unmet] = []
            _culprits(lab, way, names, found)
            named = found or [unmet]
            raise Unmet("; ".join(each.expected for each in named), "; ".join(each.actual for each in named)) from unmet
        made = len(names) - len(refused)
        return f"with {made} kinds of file; this machine makes none of these: {describe(refused)}"

    add(f"fd/every-kind-{slug}", title, clauses, function, schedule=Schedule.OWN_SERVERS)


_every_kind(
    "expires", "A parked file of any kind expires and is closed, and the server serves others after that.",
    ("TTL-3",), _expire,
)  # fmt: skip
_every_kind("found", "A parked file of any kind comes back as the same open file.", ("FD-13", "FD-6"), _find)
_every_kind(
    "rides-along", "A file of any kind that comes with a request is closed, and the request is served.",
    ("FD-1",), _ride_along,
)  # fmt: skip
_every_kind("at-exit", "A server with parked files of every kind exits with status 0.", ("LIFE-4",), _exit)
_every_kind(
    "refused", "Two files of any kind on one byte are refused and closed, and the server serves others after that.",
    ("FD-4",), _refuse,
)  # fmt: skip
