"""What the proof takes for granted, in plain words: what is not said here and in the invariants is not proved."""

from typing import Final

ASSUMPTIONS: Final = (
    "The formulas are the program's: each is compared with it on random concrete states, not proved to be the same.",
    "A proof is about the specification. That the fast server does the same is explored and tested, not proved.",
    "z3 is right when it says that there is no counterexample.",
    "One step at a time: the specification is a function of one event, and the loop interleaves no two events.",
    "What the loop owes is kept to. Time is told before requests are served, and never runs back.",
    "A descriptor is sent or closed when the specification says so. What comes from a client is served in its order.",
    "A list is one thing: which bytes make which list, and what is read while output waits, is not in the picture.",
    "A descriptor that comes is a new session, also if it is the same connection as one that came before.",
    "A ttl is at least one second, as WIRE-9 has it, and the ttl limit is above zero.",
    "Counts are numbers that go up and down by one. That they are the true counts is tried on concrete states.",
    "When time passes or a flush comes, the proof knows of counts only that they do not rise.",
    "Not in the picture: the properties in replies, how long a client may take, how many clients there may be.",
    "Not in the picture: output that waits, when statistics are printed, and when an idle server exits.",
)
"""One sentence or two each."""
