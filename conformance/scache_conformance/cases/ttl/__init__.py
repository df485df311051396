"""Cases: how long sessions and bindings live.

On a virtual clock every case tries the last second of a lifetime and the first one after it. In real time what is tried
is any instant at which every server, also one that counts whole seconds, must give the same answer.
"""

from scache_conformance.cases.ttl import bindings, long_times, put_backs, sessions

__all__ = ["bindings", "long_times", "put_backs", "sessions"]
