"""Whether a server passes a client over: it leaves a request unanswered, and answers others again and again meanwhile.

Requests on one connection follow each other, so a server that has answered several of them has been at rest between
them, and has had the occasion to answer every request that came before. A slow or a stopped server answers nobody.
"""

from collections import defaultdict, deque
from math import inf
from typing import Final

ANSWERED_IN_A_ROW: Final = 10
"""So many requests of another client are answered meanwhile, one after the other. Arbitrary: 2 are enough for a server
that takes its clients in turn."""


class Turns:
    """Hears of every request that is answered."""

    def __init__(self) -> None:
        self._begins: Final[defaultdict[int, deque[int]]] = defaultdict(lambda: deque(maxlen=ANSWERED_IN_A_ROW))
        self._latest_ns = -inf
        """The latest instant after which so many requests of one connection began and were answered."""

    def answered(self, connection: int, begin_ns: int) -> None:
        """Take note of the answer to a request that began at an instant."""
        begins = self._begins[connection]
        begins.append(begin_ns)
        if len(begins) == ANSWERED_IN_A_ROW:
            self._latest_ns = max(self._latest_ns, begins[0])

    def closed(self, connection: int) -> None:
        """Take note that a connection is over."""
        self._begins.pop(connection, None)

    def server_left(self) -> None:
        """Take note that it may be another server from now on."""
        self._begins.clear()
        self._latest_ns = -inf

    def is_passed_over(self, since_ns: int) -> bool:
        """Tell whether a request that waits since an instant is passed over."""
        return since_ns < self._latest_ns
