"""Hundreds of dances in one write, so that a client's socket is full when its next descriptor's turn comes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from scache_conformance.servers.target import Target
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab, Lifetime
from scache_conformance.wire import lists
from scache_conformance.wire.line import identity
from scache_conformance.wire.lists import DONE, DUMMY_LIST

DANCES = 200
"""How many finds one client sends. Each has a reply and a descriptor; Linux queues about 280 of these."""

LONG_TTL_S = 60
"""Arbitrary: long enough for hundreds of requests on a busy machine."""


@contextmanager
def unhurried(lab: Lab, **limits: int) -> Iterator[tuple[Target, int]]:
    """Yield a server and a long ttl that it grants; where none can be started, the one there is and its ttl limit."""
    try:
        server = lab.target.another(ttl_limit_s=LONG_TTL_S, **limits)
    except Unavailable:
        yield lab.target, lab.ttl_s
        return
    with server:
        yield server, LONG_TTL_S


def park_many(lab: Lab, server: Target, ttl_s: int, endpoint: str) -> tuple[Lifetime, list[int]]:
    """Park as many sessions as there are dances; return when that was, and the inode of each."""
    saver = lab.peer("S", target=server)
    with lab.lifetime(ttl_s) as life:
        lines = [saver.park(endpoint, b"%03d" % number, ttl_s) for number in range(DANCES)]
    return life, [line.identity.inode for line in lines]


def dances(endpoint: bytes) -> bytes:
    """Return what a client says in so many dances."""
    return (lists.find_endp(endpoint) + DUMMY_LIST * 2) * DANCES


def receive_dance(peer: Client, life: Lifetime, number: int) -> int:
    """Insist on this session's reply, then on a descriptor, right after one another; return the descriptor's inode."""
    with life.in_time(exact=True):
        peer.receives(DONE, b"%03d" % number, byte_by_byte=True)
    fd = peer.give_up(peer.receive_descriptor())
    inode = identity(fd).inode
    os.close(fd)
    return inode
