"""How sure one can be of this specification and its servers: what is proved, searched completely, and tested.

The page of SPEC.md that says so. Its figures are those that `make prove` printed last: that command fails when they
are others, and a test compares what can be counted quickly.
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

EXPLORED: Final = (106_159, 1_424_331)
"""States and transitions of the exploration, over all its scopes."""


PAGE: Final = """\
## How sure is this

Three words are used with care here, and *proved* is used for nothing but the first of them.

**Proved** means: for any number of clients, sessions, endpoints, destinations and bindings. A proof by induction has
two halves. An *invariant* is a sentence that is to be true at every moment. The first half: it is true when the server
starts. The second half: whenever all invariants are true and *one* thing happens, they are true afterwards. So they are
true for ever. The second half is asked of a program, z3: is there any step that begins where all invariants are true,
and ends where one is not? Its answer was no, for each pair of a step and an invariant. The steps are the rows of the
table above, read from the program itself, and what happens besides: a client connects, a client has read its
descriptor, time passes, statistics are printed, a flush, a reload, the exit.

* {proved.invariants} invariants, {proved.rows} rows, {proved.happenings} other steps: {proved.pairs} pairs. They say:
  * ownership: a session is in the cache, or held for one client, or closed, never two of these and never none. A client
    holds at most one. A descriptor is closed once and handed out at most once.
  * order: a find takes the session that is first in turn, by the first binding that leads to one. What is saved goes
    last, what is put back goes first, everything else keeps its place.
  * replies: each request gets exactly one status, and the true one. Nothing is said unasked. A descriptor is sent only
    to answer ready.
  * lifetime: nothing due is in the cache. A held session does not expire. Nothing lives longer than the ttl limit
    allowed when it was saved.
  * counters: hits and misses together are the finds that were answered.
  * room: a save raises no count above its limit, and is refused only at a limit.
* The takeover of all sessions by a new process (`proof/TAKEOVER.md`), for any number of sessions and with death of
  either process at any step: {proved.takeover_moves} kinds of steps, {proved.takeover_pairs} pairs. At every instant at
  most one process may hand out what is parked, and nothing is lost but what the table there says. This is a protocol;
  what is proved of it is not about any program.

What is proved is about formulas. That the formulas are the program is *tested*: the formula of each action was compared
with the program on 1000 concrete states, {proved.compared} in all, also in rows that the table does not have.
A proof that cannot fail shows nothing; so mistakes were made on purpose:

| mistakes | of which break an invariant | tried |
|---|---|---|
{caught}

Each of the others is listed by `make prove`, with the reason and, where a client could notice it, the tests that catch
it. `make prove` also prints what the proof takes for granted: above all that z3 is right, that bytes are cut into lists
as the clauses say, and that the loop does what it owes. The proof is about the specification, not the fast server.

**Searched completely** means: every state and every step, within a small scope that is named.

* The specification beside the table of the fast server: {states} states, {transitions} steps, every outcome the same.
  The scopes have at most two endpoints, three descriptors, two sessions held, and a ttl limit of 2 seconds.
* The dance of two clients and two descriptors, with death at every point (Spin, `spec/model`): {dance} states.
* The takeover of two sessions in two attempts, with death at every point (Spin): {takeover} states. It also shows that
  whoever is alive gets on.

**Tested** means: it was tried, and went well. That is all the rest: sockets, the loop, the process of the fast server,
and whatever the two kinds above leave out. The cases of the conformance suite, and how servers do in them, are in
`conformance/RESULTS.md`; the servers that are wrong on purpose, and which cases find each, in `conformance/MUTANTS.md`.
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
