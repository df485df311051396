"""Clauses that no case tries, and why not: together with the cases they are all there is.

A test holds this table against the clauses and the cases, in both directions.
"""

from typing import Final

OPERATOR: Final = (
    "It is about what an operator does. How an operator reaches a server is left to it. tests/fast/test_steering.py "
    "holds scached to it."
)

UNOBSERVABLE: Final[dict[str, str]] = {
    "CONN-14": "It leaves the order to the server: no order that is seen could be wrong.",
    "ENDP-7": "It leaves the order to the server: no order that is seen could be wrong.",
    "LIFE-5": "It is about errors that nobody foresaw: a case would have to foresee one.",
    **dict.fromkeys((f"LIFE-{number}" for number in range(6, 14)), OPERATOR),
    "TTL-7": "It leaves to the server when to remove what can no more be found.",
}
"""The reason for each clause that has no case."""
