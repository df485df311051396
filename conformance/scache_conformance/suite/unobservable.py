"""Clauses that no case tries, and why not: together with the cases they are all there is.

Decides nothing; a test holds this table against the clauses and the cases, in both directions.
"""

from typing import Final

UNOBSERVABLE: Final[dict[str, str]] = {
    "CONN-14": "It leaves the order to the server: no order that is seen could be wrong.",
    "ENDP-7": "It leaves the order to the server, likewise.",
}
"""The reason for each clause that has no case."""
