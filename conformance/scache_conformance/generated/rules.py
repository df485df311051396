"""Rules of generated runs: what a client may do, in which state of its conversation.

The rules look at the state, because such rules find in hundreds of steps what blind ones miss in many thousands. Finds
ask for what is in the cache or was in it. Saves use the endpoints that bindings lead to. Time stops on either side of
an expiry. Clients stop, make mistakes and die in the middle of a conversation. The oracle, and not this module, knows
which outcome is right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from scache_conformance.generated.scenario import CLIENTS, Scenario, Turn
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DUMMY_LIST
from scache_spec.conversation import State
from scache_spec.vocabulary import NS_PER_S


class RuleSet(Enum):
    """Which rules a server can take part in."""

    ALL = "everything the specification says"
    SEQUENTIAL = "one dance at a time, one list at a time, nothing is put back"


@dataclass(frozen=True, slots=True)
class Rule:
    """Takes a step or a few with a client whose conversation is in `state`, whatever that is if None."""

    apply: Callable[[Turn], None]
    state: State | None

    def __call__(self, turn: Turn) -> None:
        """Apply it, if it fits."""
        if self.state is None or turn.scenario.is_in(turn.client, self.state):
            self.apply(turn)


RULES: Final[dict[RuleSet, list[Rule]]] = {rule_set: [] for rule_set in RuleSet}
"""The rules of each set, in the order of the source; one of weight n comes n times."""

BYTES_PER_RULE: Final = 3
"""What one application is told by: which rule, which client, and a number from which its choices are drawn."""


def follow(scenario: Scenario, rule_set: RuleSet, plan: bytes) -> None:
    """Apply the rules that a plan tells of: any bytes are one, and zeros tell of nothing."""
    rules = RULES[rule_set]
    for at in range(0, len(plan) - BYTES_PER_RULE + 1, BYTES_PER_RULE):
        which, client, number = plan[at : at + BYTES_PER_RULE]
        rules[which % len(rules)](Turn(scenario, CLIENTS[client % len(CLIENTS)], number))


Function = Callable[[Turn], None]


def _rule(
    weight: int = 1, state: State | None = State.REQUEST, *, is_sequential: bool = True
) -> Callable[[Function], Function]:
    """Register the decorated function. A sequential rule leaves its client at rest, between two requests."""

    def register(apply: Function) -> Function:
        for rule_set in RuleSet if is_sequential else (RuleSet.ALL,):
            RULES[rule_set] += [Rule(apply, state)] * weight
        return apply

    return register


@_rule(state=None)
def nothing(turn: Turn) -> None:
    """Take no step: the first of all rules, with which a run is shortened."""


# Whole dances.


@_rule(4)
def save_endp(turn: Turn) -> None:
    """Park a session anywhere."""
    turn.save_endp(turn.endpoint())


@_rule(4)
def save_dest(turn: Turn) -> None:
    """Bind any destination to any endpoint."""
    turn.save_dest(turn.destination(), turn.drawn_from(turn.scenario.names.properties[:2]), turn.endpoint())


@_rule(4)
def find_endp_that_is_there(turn: Turn) -> None:
    """Ask for an endpoint that has a session."""
    if sessions := turn.cache.sessions:
        turn.find_endp(turn.drawn_from(sessions).endpoint)


@_rule(4)
def find_dest_that_leads_somewhere(turn: Turn) -> None:
    """Ask for a destination with a session at the end."""
    endpoints = {session.endpoint for session in turn.cache.sessions}
    if leading := [binding for binding in turn.cache.bindings if binding.endpoint in endpoints]:
        turn.find_dest(turn.drawn_from(leading).destination)


@_rule(2)
def save_endp_where_a_binding_points(turn: Turn) -> None:
    """Park a session that a destination leads to."""
    if bindings := turn.cache.bindings:
        turn.save_endp(turn.drawn_from(bindings).endpoint)


@_rule(2)
def find_endp(turn: Turn) -> None:
    """Ask for any endpoint."""
    turn.find_endp(turn.endpoint())


@_rule(2)
def find_dest(turn: Turn) -> None:
    """Ask for any destination."""
    turn.find_dest(turn.destination())


@_rule(2)
def renew(turn: Turn) -> None:
    """Save a binding again that is there."""
    if bindings := turn.cache.bindings:
        binding = turn.drawn_from(bindings)
        turn.save_dest(binding.destination, binding.properties, binding.endpoint)


# Time.


@_rule(state=None)
def pass_a_second(turn: Turn) -> None:
    """Let a second pass."""
    turn.scenario.pass_time(1)


@_rule(state=None)
def pass_to_an_expiry(turn: Turn) -> None:
    """Let time pass until something expires, or until a second before that."""
    expiries_ns = {each.expiry_ns for each in turn.cache.sessions} | {each.expiry_ns for each in turn.cache.bindings}
    left_s = sorted((expiry_ns - turn.scenario.server.now_ns) // NS_PER_S for expiry_ns in expiries_ns)
    if left_s and (seconds := turn.drawn_from(left_s) - turn.drawn_from((0, 1))):
        turn.scenario.pass_time(seconds)


# Wrong lists, and dances that are broken off at once.


@_rule()
def send_what_is_malformed(turn: Turn) -> None:
    """Write a list that is not carried out; some get no reply."""
    label, saved = (
        (b"label", turn.scenario.names.endpoints[0]),
        lists.save_endp(1, turn.scenario.names.endpoints[0], b""),
    )
    ttl, properties = (b"ttl", b"5"), (b"property", b"")
    malformed = (
        b"\0",
        DUMMY_LIST,
        lists.encode(label),
        b"\0" + turn.find_of_nothing(),
        lists.request(b"flush"),
        lists.request(b"", label),
        lists.request(b"find_endp"),
        lists.request(b"find_endp", ttl, label),
        lists.request(b"find_dest", properties),
        lists.request(b"save_dest", ttl, label, properties),
        lists.request(b"save_endp", label, ttl, properties),
        *(saved.replace(b"ttl\x001", b"ttl\0" + value) for value in (b"0", b"-1", b"5x", b"", b"2147483648")),
    )
    turn.send(turn.drawn_from(malformed))


@_rule()
def send_what_looks_odd(turn: Turn) -> None:
    """Write a request that is carried out although it looks odd."""
    names, is_longer, ttl = turn.scenario.names, turn.drawn_from((False, True)), b"%d" % turn.ttl_s()
    plain = lists.save_dest(7, names.destinations[0], b"", names.endpoints[0])
    odd = plain.replace(
        b"ttl\x007\0", b"ttl\0%b\0" % turn.drawn_from((b" " + ttl, b"+" + ttl, b"00" + ttl, b"\t\n+0" + ttl))
    )
    turn.send(odd[:-1] + b"property\0more\0\0" if is_longer else odd)


@_rule()
def write_in_two(turn: Turn) -> None:
    """Write a request in two pieces."""
    turn.send_in_two(turn.find_of_nothing())
    turn.send_the_rest()


@_rule()
def carry_a_descriptor_on_a_request(turn: Turn) -> None:
    """Send a descriptor where none belongs."""
    turn.send(turn.find_of_nothing(), descriptor_count=1)


@_rule()
def send_no_descriptor(turn: Turn) -> None:
    """Ask to park a session, and send a byte that carries none."""
    turn.send(lists.save_endp(1, turn.endpoint(), b""))
    turn.send(turn.drawn_from((b"\0", b"x", b"\xff")))


@_rule()
def leave(turn: Turn) -> None:
    """Hang up between two requests; come again."""
    turn.reconnect()


@_rule()
def thank_and_ask_in_one_write(turn: Turn) -> None:
    """Fetch a session, and say "received" together with the next request, as smtp(8) does."""
    if sessions := turn.cache.sessions:
        turn.send(lists.find_endp(turn.drawn_from(sessions).endpoint))
        turn.send(DUMMY_LIST)
        turn.send(DUMMY_LIST + lists.save_dest(turn.ttl_s(), turn.destination(), b"", turn.endpoint()))


# Parts of dances: others come between. Dances end more often than they begin, or nobody would rest.


@_rule(4, State.DESCRIPTOR, is_sequential=False)
def send_descriptors(turn: Turn) -> None:
    """Follow the invitation: most often with one descriptor."""
    turn.send(turn.drawn_from((b"\0", b"\x01")), turn.drawn_from((1, 1, 1, 0, 2)))


@_rule(4, State.READY, is_sequential=False)
def fetch(turn: Turn) -> None:
    """Say "ready" and get the session that is held."""
    turn.send(turn.drawn_from((DUMMY_LIST, b"dummy\0now\0more\0\0\0")))


@_rule(4, State.RECEIVED, is_sequential=False)
def thank(turn: Turn) -> None:
    """Say "received", somehow."""
    turn.send(turn.drawn_from((DUMMY_LIST, b"\0", lists.find_endp(turn.scenario.names.endpoints[0]))))


@_rule(2, state=None, is_sequential=False)
def write_on(turn: Turn) -> None:
    """Write the rest of what was begun."""
    if turn.client in turn.scenario.unwritten:
        turn.send_the_rest()


@_rule(is_sequential=False)
def begin_save(turn: Turn) -> None:
    """Ask to park a session, up to the invitation."""
    turn.send(lists.save_endp(turn.ttl_s(), turn.endpoint(), b"begun"))


@_rule(is_sequential=False)
def begin_find(turn: Turn) -> None:
    """Have a session held that can be found."""
    if sessions := turn.cache.sessions:
        turn.send(lists.find_endp(turn.drawn_from(sessions).endpoint))


@_rule(is_sequential=False)
def begin_find_dest(turn: Turn) -> None:
    """Ask for a destination, up to the reply."""
    turn.send(lists.find_dest(turn.destination()))


@_rule(state=State.READY, is_sequential=False)
def refuse(turn: Turn) -> None:
    """Do not say "ready": the session is put back. What is asked next tells when."""
    turn.send(turn.drawn_from((b"\0", b"request\0find_endp\0\0", b"label\0\0\0")) + turn.find_of_nothing())


@_rule(state=None, is_sequential=False)
def die(turn: Turn) -> None:
    """Hang up in the middle of whatever it is; come again."""
    turn.reconnect()


@_rule(is_sequential=False)
def begin_to_write(turn: Turn) -> None:
    """Write the beginning of a request."""
    turn.send_in_two(lists.find_endp(turn.endpoint()))


@_rule(is_sequential=False)
def write_at_once(turn: Turn) -> None:
    """Write several requests at once; the last may be a save_endp with its byte, which then carries nothing."""
    ttl_s, destination, endpoint = turn.ttl_s(), turn.destination(), turn.endpoint()
    last = (lists.find_dest(destination), lists.save_endp(ttl_s, endpoint, b"") + b"\0")
    turn.send(turn.find_of_nothing() + lists.save_dest(ttl_s, destination, b"", endpoint) + turn.drawn_from(last))
