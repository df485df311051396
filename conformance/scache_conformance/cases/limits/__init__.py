"""Cases: every limit, on both of its sides. A server must be told them, or tell them: see --limit and --exec."""

from scache_conformance.cases.limits import clients, full_table, lengths, room, timeouts, untaken

__all__ = ["clients", "full_table", "lengths", "room", "timeouts", "untaken"]
