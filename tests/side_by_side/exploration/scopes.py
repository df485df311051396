"""How far the exploration reaches: the committed scopes and the counts they must have.

Three small scopes, each sharp at one thing, take seconds and run with every test run; the wide one is for
`python -m tests.side_by_side.exploration wide`. The counts are those of the specification beside the production table.
"""

from dataclasses import dataclass
from typing import Final

from tests.side_by_side.exploration.explorer import Scope

from scache_spec.vocabulary import Limits


@dataclass(frozen=True, slots=True)
class Committed:
    """A scope, and the expected size of the space.

    A space that shrinks unnoticed is the classic way for an exhaustive check to check nothing.
    """

    scope: Scope
    states: int
    transitions: int


BINDINGS: Final = ((b"a", b"q", b"a"), (b"a", b"r", b"a"), (b"a", b"q", b"b"))
"""From one destination: two that differ in their properties alone, two in their endpoint alone."""

ORDER: Final = Scope(
    limits=Limits(ttl_limit_s=2, sessions_max=2, sessions_per_endpoint_max=1, bindings_max=2),
    endpoints=(b"a", b"b"),
    bindings=BINDINGS,
    ttls_s=(1, 3),
    handles_max=2,
)
"""Which binding leads where, renewal, name spaces, the limits on bindings and on sessions of one endpoint."""

QUEUE: Final = Scope(
    limits=Limits(ttl_limit_s=2, sessions_max=2, sessions_per_endpoint_max=3, bindings_max=1),
    endpoints=(b"a",),
    bindings=((b"a", b"q", b"a"),),
    endpoint_properties=(b"p", b"o"),
    ttls_s=(1, 3),
    handles_max=3,
    held_max=2,
)
"""One queue: turn by turn, two sessions held at once, put back beyond the limit, equal sessions side by side."""

PEAKS: Final = Scope(
    limits=Limits(ttl_limit_s=1, sessions_max=2, sessions_per_endpoint_max=9, bindings_max=2),
    endpoints=(b"a", b"b"),
    bindings=((b"a", b"q", b"a"), (b"b", b"q", b"a"), (b"a", b"q", b"b")),
    ttls_s=(1,),
    handles_max=2,
    remember_peaks=True,
)
"""Counters that remember, and two destinations."""

LATE: Final = Scope(
    limits=Limits(ttl_limit_s=2, sessions_max=1, sessions_per_endpoint_max=1, bindings_max=2),
    endpoints=(b"a",),
    bindings=((b"a", b"q", b"a"), (b"a", b"r", b"a"), (b"b", b"q", b"a")),
    ttls_s=(1, 2),
    handles_max=1,
)
"""What is due and not removed, for LateTable: it takes room, leads somewhere, is saved again."""

WIDE: Final = Scope(
    limits=Limits(ttl_limit_s=2, sessions_max=2, sessions_per_endpoint_max=2, bindings_max=3),
    endpoints=(b"a", b"b"),
    bindings=(*BINDINGS, (b"b", b"q", b"a")),
    ttls_s=(1, 3),
    handles_max=3,
)
"""All of it together."""

SMALL: Final = {"order": ORDER, "queue": QUEUE, "peaks": PEAKS}

COMMITTED: Final = {
    "order": Committed(ORDER, states=1457, transitions=16461),
    "queue": Committed(QUEUE, states=1113, transitions=9390),
    "peaks": Committed(PEAKS, states=1077, transitions=9133),
    "late": Committed(LATE, states=349, transitions=3939),
    "wide": Committed(WIDE, states=21291, transitions=295818),
}
