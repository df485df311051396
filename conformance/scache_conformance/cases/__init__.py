"""The cases, by area. Importing this package registers them all, in the order in which they are listed and run."""

from scache_conformance.cases import (
    deaths,
    dest,
    endp,
    fd,
    greeting,
    life,
    limits,
    malformed,
    pipelining,
    requests,
    splits,
    stalls,
    stats,
    ttl,
)

__all__ = [
    "deaths",
    "dest",
    "endp",
    "fd",
    "greeting",
    "life",
    "limits",
    "malformed",
    "pipelining",
    "requests",
    "splits",
    "stalls",
    "stats",
    "ttl",
]
