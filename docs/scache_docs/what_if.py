"""What happens if a client does this in that state: every pair is tried on the specification.

A client is brought into a state by the first steps of the dance, then it does one thing; what the specification makes
of it is the answer. SENDING and CLOSED are missing: there a server serves nothing of what a client sends.

It runs in the page too, as examples to step through.
"""

import re
from typing import Final

from scache_docs.play import Happened, Play, Steps
from scache_spec.attributes import encode
from scache_spec.conversation import State
from scache_spec.dances import (
    DUMMY_LIST,
    FIND_DEST_LIST,
    FIND_ENDP_LIST,
    SAVE_DEST_LIST,
    SAVE_ENDP_LIST,
    Deed,
    Descriptors,
    Leaves,
)

PARKED: Final[Steps] = (("B", SAVE_ENDP_LIST), ("B", Descriptors(1)))
"""Another client has parked a session, so that there is something to find."""

STATES: Final[dict[State, Steps]] = {
    State.REQUEST: PARKED,
    State.DESCRIPTOR: (*PARKED, ("A", SAVE_ENDP_LIST)),
    State.READY: (*PARKED, ("A", FIND_ENDP_LIST)),
    State.RECEIVED: (*PARKED, ("A", FIND_ENDP_LIST), ("A", DUMMY_LIST)),
}
"""How client A comes to where the server waits for this."""

DEEDS: Final[dict[str, Deed]] = {
    "save_endp": SAVE_ENDP_LIST,
    "save_dest": SAVE_DEST_LIST,
    "find_endp": FIND_ENDP_LIST,
    "find_dest that finds nothing": FIND_DEST_LIST,
    "dummy": DUMMY_LIST,
    "one byte with one descriptor": Descriptors(1),
    "one byte with two descriptors": Descriptors(2),
    "one byte without a descriptor": Descriptors(0),
    "a request with a part missing": encode([(b"request", b"save_endp"), (b"ttl", b"2")]),
    "a request of another name": encode([(b"request", b"list")]),
    "a list that is no request": encode([(b"status", b"0")]),
    "an empty list": encode([]),
    "closes its end": Leaves(),
}
"""What a client may do."""


def pair(state: State, deed: str) -> str:
    """Return the name of a pair."""
    return f"{deed} in {state.name}"


def anchor(state: State, deed: str) -> str:
    """Return the pair's name in an address."""
    return re.sub("[^a-z]+", "-", f"{state.name} {deed}".lower())


WHAT_IF: Final[dict[str, Steps]] = {
    pair(state, name): (*steps, ("A", deed)) for state, steps in STATES.items() for name, deed in DEEDS.items()
}
"""Every pair, as an example."""


def answer(state: State, deed: str) -> list[Happened]:
    """Return what happens: first what the client does, then the rows that fire and what the server does."""
    play = Play()
    play.connect("A")
    for name, step in STATES[state]:
        play.do(name, step)
    before = len(play.log)
    play.do("A", DEEDS[deed])
    return play.log[before:]
