"""Cases: a client whose socket is full when its descriptor's turn comes, and clients that are gone when they are read.

What only shows when the server comes late is made to show by stopping its process for a moment, where that is known.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from scache_conformance.servers.target import Target
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite.lab import Lab, Lifetime, Skipped, require, require_found, require_miss
from scache_conformance.suite.registry import case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire import lists
from scache_conformance.wire.line import identity
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED, GREETING
from scache_conformance.wire.peer import Found, Peer
from scache_conformance.wire.unmet import Unmet

DANCES = 200
"""A reply and a descriptor each; Linux by default queues about 280 messages of that size for a socket."""

LONG_BYTES = 30_000
"""With two properties of this size a reply is more than Linux puts into a socket as one piece: some are split there."""

AT_ONCE_S = 0.1
"""How long to wait for what a server that stands still has sent before, or has not."""

STOPPED_WITHIN_S = 5.0
"""Arbitrary: a process stops as soon as it is on the processor."""

LONG_TTL_S = 60
"""Arbitrary: long enough for hundreds of requests on a busy machine."""

TRIES = 20
"""How often what may or may not show is tried where the server cannot be stopped. Arbitrary."""


@contextmanager
def stopped(pid: int | None) -> Iterator[None]:
    """Have a process stand still in the body. Raises Unavailable."""
    if pid is None:
        raise Unavailable("needs to know the server's process: use --exec, --postfix or --pid")
    try:
        os.kill(pid, signal.SIGSTOP)
    except (PermissionError, ProcessLookupError) as error:
        raise Unavailable(f"cannot stop process {pid}: {error}") from error
    try:
        deadline_s = time.monotonic() + STOPPED_WITHIN_S
        while not _stands_still(pid):
            if time.monotonic() >= deadline_s:
                raise Unavailable(f"process {pid} does not stop within {STOPPED_WITHIN_S} s")
            time.sleep(0.000_5)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    _, _, after_the_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")
    return after_the_name.split()[0] == b"T"


@contextmanager
def late_server(lab: Lab) -> Iterator[None]:
    """Have the server read nothing of what is sent in the body before its end, if its process can be stopped."""
    if lab.target.pid is None:
        yield
    else:
        with stopped(lab.target.pid):
            yield


def _tries(lab: Lab) -> range:
    return range(1 if lab.target.pid is not None else TRIES)


def _found_in_time(lab: Lab, find: Callable[[], Found | None]) -> Found | None:
    """Find again until something is found: in which order it serves several clients is left to the server."""
    deadline_s = time.monotonic() + lab.target.declared.deadline_s
    while (found := find()) is None and time.monotonic() < deadline_s:
        lab.sleep(0.02)
    return found


# Gone when they are read.


@case("deaths/request-sent", "CONN-11", "CONN-8")
def request_sent(lab: Lab) -> None:
    """A client that has sent a whole request and is gone when it is read is served all the same."""
    other = lab.peer("B")
    for turn in _tries(lab):
        peer, destination, endpoint = lab.peer(), lab.label(f"d{turn}"), lab.label(f"e{turn}")
        line = lab.park(other, endpoint, b"p")
        ttl, dest = (b"ttl", b"%d" % lab.ttl_s), (b"label", destination)
        with late_server(lab):
            peer.send_bytes(lists.request(b"save_dest", ttl, dest, (b"property", b"q"), (b"label", endpoint)))
            peer.hang_up()
        found = _found_in_time(lab, partial(other.find_dest, destination))
        require_found("find_dest", found, b"q", b"p", line=line)


@case("deaths/half-closed-after-a-request", "CONN-11", "CONN-9")
def half_closed_after_a_request(lab: Lab) -> None:
    """A client that shuts down sending after a request gets its reply, then the end."""
    for _ in _tries(lab):
        peer = lab.peer()
        with late_server(lab):
            peer.send_bytes(lists.request(b"find_endp", (b"label", lab.label("nothing"))))
            peer.shut_down_sending()
        require("status of find_endp", peer.receive_reply(1).status, FAILED)
        peer.insist_on_hangup()


@case("pipelining/half-closed", "CONN-3", "CONN-11", level=Level.SHOULD)
def half_closed(lab: Lab) -> None:
    """A client that shuts down sending after several requests in one write gets all replies, then the end."""
    for _ in _tries(lab):
        peer, nothing = lab.peer(), (b"label", lab.label("nothing"))
        with late_server(lab):
            peer.send_bytes(lists.request(b"find_endp", nothing) + lists.request(b"find_dest", nothing) * 3)
            peer.shut_down_sending()
        require("status of the first", peer.receive_reply(1).status, FAILED)
        for _ in range(3):
            require("status of the others", peer.receive_reply(2).status, FAILED)
        peer.insist_on_hangup()


# A full socket.


@contextmanager
def _unhurried(lab: Lab) -> Iterator[tuple[Target, int]]:
    """Yield a server and a long ttl that it grants; where none can be started, the one there is and its ttl limit."""
    try:
        server = lab.target.another(ttl_limit_s=LONG_TTL_S)
    except Unavailable:
        yield lab.target, lab.ttl_s
        return
    with server:
        yield server, LONG_TTL_S


def _park_many(lab: Lab, server: Target, ttl_s: int, endpoint: bytes) -> tuple[Lifetime, list[int]]:
    """Park so many sessions that their dances fill a socket; return when that was, and the inode of each."""
    saver = lab.peer("S", target=server)
    with lab.lifetime(ttl_s) as life:
        lines = [lab.park(saver, endpoint, b"%03d" % number, ttl_s) for number in range(DANCES)]
    return life, [line.identity.inode for line in lines]


def _dances(endpoint: bytes, count: int) -> bytes:
    return (lists.request(b"find_endp", (b"label", endpoint)) + DUMMY_LIST * 2) * count


def _receive_dance(peer: Peer, life: Lifetime, number: int) -> int:
    """Insist on this session's reply, then on a descriptor, right after one another; return the descriptor's inode."""
    reply = peer.receive_reply(1, byte_by_byte=True)
    if (reply.status, *reply.properties) != (expected := (DONE, b"%03d" % number)):
        life.insist_on_being_in_time(f"find {number}", exact=True)
        require(f"properties of find {number}", (reply.status, *reply.properties), expected)
    fd = peer.give_up(peer.receive_descriptor())
    inode = identity(fd).inode
    os.close(fd)
    return inode


@case("pipelining/dances-unread", "CONN-3", "CONN-2", "FD-6", level=Level.SHOULD)
def dances_unread(lab: Lab) -> None:
    """A client that reads nothing of 200 dances in one write keeps nobody waiting, and then gets each, in order."""
    with _unhurried(lab) as (server, ttl_s):
        for replies_before in range(2):  # so that once it is a reply that finds the socket full, and once a descriptor
            endpoint, nothing = (
                lab.label(f"e{replies_before}"),
                lists.request(b"find_endp", (b"label", lab.label("nothing"))),
            )
            life, inodes = _park_many(lab, server, ttl_s, endpoint)
            peer = lab.peer(target=server)
            peer.send_bytes(nothing * replies_before + _dances(endpoint, DANCES) + nothing)
            peer.wait_until_taken()
            with lab.peer("B", target=server) as other:
                require_miss("another client's find meanwhile", other.find_endp(lab.label("nothing")))
            for _ in range(replies_before):
                require("status of the find before", peer.receive_reply(1, byte_by_byte=True).status, FAILED)
            handed_out = [_receive_dance(peer, life, number) for number in range(DANCES)]
            require("which connections came, in order", handed_out, inodes)
            require("status of the find after them", peer.receive_reply(1).status, FAILED)


@case("pipelining/long-replies-unread", "CONN-3", "CONN-2", "FD-7", level=Level.SHOULD)
def long_replies_unread(lab: Lab) -> None:
    """So does one that reads nothing of 21 replies of up to 60 000 bytes: each of them comes whole."""
    with _unhurried(lab) as (server, ttl_s):
        peer, endpoint, long = lab.peer(target=server), lab.label("e"), b"p" * LONG_BYTES
        bindings = {lab.label(f"d{part}"): b"q" * (LONG_BYTES // part) for part in (1, 2, 3)}
        with lab.lifetime(ttl_s) as life:
            for destination, properties in bindings.items():
                lab.bind(peer, destination, endpoint, properties, ttl_s)
            line = lab.park(peer, endpoint, long, ttl_s)
        not_ready = b"\0"  # so that the session is put back, and found again
        finds = [lists.request(b"find_dest", (b"label", destination)) + not_ready for destination in bindings]
        peer.send_bytes(b"".join(finds * 7))
        peer.wait_until_taken()
        with lab.peer("B", target=server) as other:
            require_miss("another client's find meanwhile", other.find_endp(lab.label("nothing")))
        for number, properties in enumerate([*bindings.values()] * 7):
            reply = peer.receive_reply(2)
            if reply.status == FAILED:
                life.insist_on_being_in_time(f"find {number}", exact=True)
            require(f"properties of find {number}", (reply.status, *reply.properties), (DONE, properties, long))
        found = peer.find_endp(endpoint)
        life.require_alive("the find after them", found, long, exact=True)
        require("that the descriptor is the parked one", found and line.is_other_end_of(found.fd), True)


def _impatient_peer(lab: Lab, server: Target) -> Peer:
    """Connect as somebody who, once greeted, waits only a moment for what is due."""
    peer = lab.peer(target=server, greeted=False, deadline_s=AT_ONCE_S)
    deadline_s = time.monotonic() + lab.target.declared.deadline_s
    while True:
        try:
            require("the greeting", peer.receive("the greeting"), GREETING)
        except Unmet:
            if time.monotonic() >= deadline_s:
                raise
        else:
            return peer


@case("deaths/dances-unread", "FD-10", "ENDP-5", level=Level.SHOULD)
def dances_unread_at_the_end(lab: Lab) -> None:
    """When it goes away instead, what its full socket had not taken is in the cache, in order."""
    with _unhurried(lab) as (server, ttl_s):
        endpoint = lab.label("e")
        life, _ = _park_many(lab, server, ttl_s, endpoint)
        peer = _impatient_peer(lab, server)
        peer.send_bytes(_dances(endpoint, DANCES))
        peer.wait_until_taken()
        with stopped(server.pid):  # so that it sends no more while what it has sent is counted
            probe, taken = lab.peer("probe", target=server, greeted=False), 0
            with suppress(Unmet):
                while True:
                    _receive_dance(peer, life, taken)
                    taken += 1
            peer.hang_up()
            try:
                probe.insist_on_silence(0)
            except Unmet as greeted:
                raise Skipped("needs the process that serves: the one that was started or told is another") from greeted
            probe.hang_up()
        if taken == DANCES:
            raise Skipped(f"the server's socket takes {DANCES} dances: lower net.core.wmem_default")
        server.poke()
        other = lab.peer("B", target=server)
        for number in range(taken, DANCES):
            found = other.find_endp(endpoint)
            if found is None or found.properties != (b"%03d" % number,):
                life.insist_on_being_in_time(f"find {number}", exact=True)
            require_found(f"find {number}", found, b"%03d" % number)
        require_miss("one find more", other.find_endp(endpoint))
