"""The page of SPEC.md on what is proved, what is searched completely and what is tested, with the figures.

The figures are those that `make prove` printed last. `make prove` fails when it gets other figures, and a test compares
those that can be counted quickly.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Proved:
    """What `make prove` showed."""

    rows: int
    """Rows of the table."""

    happenings: int
    """Kinds of steps besides the rows."""

    invariants: int
    """Sentences about the table and the cache."""

    pairs: int
    """Pairs of a step and an invariant for which there is no counterexample."""

    compared: int
    """Concrete states on which a formula was compared with the program."""

    takeover_moves: int
    """Kinds of steps of the takeover."""

    takeover_pairs: int
    """Pairs of such a step and an invariant of the takeover for which there is no counterexample."""

    caught: tuple[tuple[str, int, int], ...]
    """Mistakes made on purpose: what kind, how many break an invariant, how many there are."""


PROVED: Final = Proved(
    rows=20,
    happenings=7,
    invariants=41,
    pairs=1123,
    compared=19_000,
    takeover_moves=25,
    takeover_pairs=182,
    caught=(
        ("single changes of a row", 313, 320),
        ("formulas without what they say of one part", 996, 1007),
        ("takeovers without one condition or change", 86, 111),
        ("wrong rules of table and cache", 110, 142),
    ),
)
"""The last run."""

DANCE_STATES: Final = 1_037_669
"""States of the Spin model of the dance."""

TAKEOVER_STATES: Final = 18_548
"""States of the Spin model of the takeover."""

EXPLORED: Final = (25_287, 334_741)
"""States and transitions of the exploration, over all its scopes."""


PAGE: Final = """\
## How sure is this

Three words have an exact meaning on this page: *proved*, *searched completely* and *tested*. No other page of this file
uses *proved*.

**Proved** means: for any number of clients, sessions, endpoints, destinations and bindings. The proof is by induction.
An *invariant* is a sentence that is to be true at every moment. The first half of the proof shows that every invariant
is true when the server starts. The second half shows that one step keeps them: if all invariants are true before the
step, all are true after it. The two halves together show that the invariants are always true. For the second half, a
program, z3, is asked for a step that begins where all invariants are true and ends where one of them is false. It found
none, for each pair of a step and an invariant. The steps are the rows of the table above, which are read from the
program itself, and everything else that can happen: a client connects, a client has read its descriptor, time passes,
statistics are printed, a flush, a reload, the exit.

* {proved.invariants} invariants, {proved.rows} rows and {proved.happenings} other steps make {proved.pairs} pairs.
  The invariants say:
  * ownership: a session is in the cache, or held for one client, or closed: never two of these, and never none. A
    client holds at most one session. A descriptor is closed at most once and handed out at most once.
  * order: a find takes the first session, by the first binding that leads to a session. A session or binding that is
    saved goes last. A session that is put back goes first. Everything else keeps its place.
  * replies: each request gets exactly one status, and that status is true. The server sends no reply without a request.
    It sends a descriptor only in answer to "ready".
  * lifetime: nothing due is in the cache. A held session does not expire. Nothing lives longer than the ttl limit
    allowed when it was saved.
  * counters: hits and misses together are the finds that were answered.
  * room: a save raises no count above its limit, and is refused only at a limit.
* The takeover of all sessions by a new process (`proof/TAKEOVER.md`) is proved for any number of sessions, and with the
  death of either process at any step: {proved.takeover_moves} kinds of steps, {proved.takeover_pairs} pairs. At every
  instant at most one process may hand out what is parked, and nothing is lost but what LIFE-12 names. This proof is
  about the protocol of the takeover, and not about a program.

The proof is about formulas. That the formulas say what the program does is *tested*: the formula of each action was
compared with the program on 1000 concrete states, {proved.compared} in all, also in rows that the table does not have.
A proof that cannot fail shows nothing. For this reason mistakes were made on purpose:

| mistakes | of which break an invariant | tried |
|---|---|---|
{caught}

`make prove` lists each of the other mistakes with a reason and, where a client could notice the mistake, with the tests
that find it. `make prove` also prints what the proof takes for granted: above all that z3 is right, that bytes are
divided into lists as the clauses say, and that the loop does what it owes. The proof is about the specification, and
not about the fast server.

**Searched completely** means: every state and every step was tried, within a small scope that is named.

* The specification beside the table of the fast server: {states} states, {transitions} steps, and every result is
  equal. The scopes have at most two endpoints, three descriptors, two held sessions, and a ttl limit of 2 seconds.
* The conversation of two clients with two descriptors, with death at every point (Spin, `spec/model`): {dance} states.
* The takeover of two sessions in two attempts, with death at every point (Spin): {takeover} states. This search also
  shows that a process that is alive gets on.

**Tested** means: some cases were tried, and they passed. That holds for everything else: sockets, the loop, the process
of the fast server. The cases of the conformance suite, and how servers do in them, are in `conformance/RESULTS.md`. The
servers that are wrong on purpose, and the cases that find each of them, are in `conformance/MUTANTS.md`.
"""


def page() -> str:
    """Return the page of SPEC.md."""
    states, transitions = EXPLORED
    return PAGE.format(
        proved=PROVED,
        caught="\n".join(f"| {kind} | {caught} | {tried} |" for kind, caught, tried in PROVED.caught),
        states=states,
        transitions=transitions,
        dance=DANCE_STATES,
        takeover=TAKEOVER_STATES,
    )
