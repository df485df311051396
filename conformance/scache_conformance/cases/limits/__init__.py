"""Cases: every limit, on both of its sides. A server must be told them, or tell them: see --limit and --exec."""

from scache_conformance.cases.limits import clients, lengths, room, timeouts, untaken

__all__ = ["clients", "lengths", "room", "timeouts", "untaken"]
