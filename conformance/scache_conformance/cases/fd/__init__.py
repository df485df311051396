"""Cases: how descriptors pass: what is handed over, what is closed, and what must not come through."""

from scache_conformance.cases.fd import closing, handing_over, in_flight, kinds, numbers, options, smuggling, waits

__all__ = ["closing", "handing_over", "in_flight", "kinds", "numbers", "options", "smuggling", "waits"]
