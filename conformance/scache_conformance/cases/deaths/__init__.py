"""Cases: clients that go away, at each step, and with something unread."""

from scache_conformance.cases.deaths import gone, unread

__all__ = ["gone", "unread"]
