"""What a lively crowd of clients may do next, given what the cache holds and where each client's dance stands.

Decides which steps are worth taking: rules that look at the state find in hundreds of steps what blind ones miss in
many thousands. Finds ask for what is there, or was; saves go where a binding points; time stops on either side of an
expiry; clients stop, err and die within their dances. Refuses to know what must come of it: the oracle does.

A move that a Postfix server cannot take part in, because it serves one client's dance at a time and keeps no
session that was not fetched, is not among those for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeVar

from scache_conformance.generated import oracle
from scache_conformance.generated.oracle import DUMMY_LIST
from scache_conformance.generated.steps import (
    Connect,
    FindDest,
    FindEndp,
    HangUp,
    Outcome,
    Played,
    SaveDest,
    SaveEndp,
    Send,
    Step,
    Tick,
)
from scache_spec.actions import Client, Server
from scache_spec.conversation import State
from scache_spec.vocabulary import NS_PER_S, Limits

CLIENTS: Final = ("A", "B", "C")
LAST_CLIENT: Final = "Z"


class Manners(Enum):
    """What a server can take part in."""

    SPECIFIED = "everything the specification says"
    POSTFIX = "one dance at a time, one list at a time, nothing is put back"


@dataclass(frozen=True, slots=True)
class Names:
    """The labels and properties of a run: few, so that they meet; a destination has the label of an endpoint."""

    endpoints: tuple[bytes, ...]
    destinations: tuple[bytes, ...]
    nobodys: bytes
    properties: tuple[bytes, ...] = (b"", b"x=1\n\n", b"\xff y")

    @classmethod
    def tagged(cls, tag: bytes) -> "Names":
        """Return labels that no other tag has."""
        return cls((tag + b"e", tag + b"e\n", tag + b"f"), (tag + b"e", tag + b"d"), tag + b"nobody")


@dataclass(slots=True)
class Crowd:
    """Clients, what they did so far, and what the specification makes of it."""

    names: Names
    limits: Limits
    has_clock: bool
    played: list[Played] = field(default_factory=list)
    sessions: int = 0
    unwritten: dict[str, bytes] = field(default_factory=dict)
    """The rest of a list of which a client has written the beginning."""
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        """Let everybody connect."""
        self.server = oracle.start(self.limits)
        for client in CLIENTS:
            self.take(Connect(client))

    def take(self, step: Step) -> Outcome:
        """Take a step."""
        self.server, outcome = oracle.perform(self.server, step)
        self.played.append(Played(step, outcome))
        return outcome

    def client(self, name: str) -> Client:
        """Return what the server knows of a client."""
        return self.server.clients[oracle.client_id(name)]

    def rests(self, name: str) -> bool:
        """Tell whether a client is between two requests."""
        client = self.client(name)
        return client.state is State.REQUEST and not client.unread

    def waits_in(self, name: str, state: State) -> bool:
        """Tell whether it is a client's turn in this state, with nothing half written."""
        client = self.client(name)
        return client.state is state and not client.unread

    def new_session(self) -> int:
        """Return the number of one more session."""
        self.sessions += 1
        return self.sessions

    def ttl_s(self, pick: int) -> int:
        """Return a ttl: short, exact, above the limit; one that never ends where time cannot be moved."""
        limit_s = self.limits.ttl_limit_s
        return one((1, limit_s, limit_s + 1, 2_147_483_647, max(1, limit_s - 1)), pick) if self.has_clock else limit_s

    def may_pass(self, seconds: int) -> bool:
        """Tell whether so much time may pass without a client's being thrown out for its slowness."""
        since = [each.step_since_ns for each in self.server.clients.values() if each.step_since_ns is not None]
        now_ns = self.server.now_ns + seconds * NS_PER_S
        return self.has_clock and all(each + self.limits.ipc_timeout_s * NS_PER_S > now_ns for each in since)


Move = Callable[[Crowd, str, int], None]
"""Take a step or a few with a client; do nothing where the move does not fit. `pick` chooses among equals."""

Choice = TypeVar("Choice")


def one(choices: Sequence[Choice], pick: int) -> Choice:
    """Return one of the choices, whatever the number."""
    return choices[pick % len(choices)]


def nothing(crowd: Crowd, client: str, pick: int) -> None:
    """Take no step: what a run is shortened with."""


# Whole dances.


def save_endp(crowd: Crowd, client: str, pick: int) -> None:
    """Park a session anywhere."""
    if crowd.rests(client):
        endpoint, properties = one(crowd.names.endpoints, pick), one(crowd.names.properties, pick // 3)
        crowd.take(SaveEndp(client, crowd.ttl_s(pick // 9), endpoint, properties, crowd.new_session()))


def save_endp_where_a_binding_points(crowd: Crowd, client: str, pick: int) -> None:
    """Park a session that a destination leads to."""
    if crowd.rests(client) and (bindings := crowd.server.cache.bindings):
        endpoint, properties = one(bindings, pick).endpoint, one(crowd.names.properties, pick)
        crowd.take(SaveEndp(client, crowd.ttl_s(pick // 3), endpoint, properties, crowd.new_session()))


def save_dest(crowd: Crowd, client: str, pick: int) -> None:
    """Bind any destination to any endpoint."""
    if crowd.rests(client):
        names = crowd.names
        labels = one(names.destinations, pick), one(names.properties[:2], pick // 2), one(names.endpoints, pick // 4)
        crowd.take(SaveDest(client, crowd.ttl_s(pick // 12), *labels))


def renew(crowd: Crowd, client: str, pick: int) -> None:
    """Save a binding again that is there."""
    if crowd.rests(client) and (bindings := crowd.server.cache.bindings):
        binding = one(bindings, pick)
        labels = binding.destination, binding.properties, binding.endpoint
        crowd.take(SaveDest(client, crowd.ttl_s(pick // 5), *labels))


def find_endp(crowd: Crowd, client: str, pick: int) -> None:
    """Ask for any endpoint."""
    if crowd.rests(client):
        crowd.take(FindEndp(client, one(crowd.names.endpoints, pick)))


def find_endp_that_is_there(crowd: Crowd, client: str, pick: int) -> None:
    """Ask for an endpoint that has a session."""
    if crowd.rests(client) and (sessions := crowd.server.cache.sessions):
        crowd.take(FindEndp(client, one(sessions, pick).endpoint))


def find_dest(crowd: Crowd, client: str, pick: int) -> None:
    """Ask for any destination."""
    if crowd.rests(client):
        crowd.take(FindDest(client, one(crowd.names.destinations, pick)))


def find_dest_that_leads_somewhere(crowd: Crowd, client: str, pick: int) -> None:
    """Ask for a destination with a session at the end."""
    endpoints = {session.endpoint for session in crowd.server.cache.sessions}
    leading = [binding for binding in crowd.server.cache.bindings if binding.endpoint in endpoints]
    if crowd.rests(client) and leading:
        crowd.take(FindDest(client, one(leading, pick).destination))


# Time.


def pass_a_second(crowd: Crowd, client: str, pick: int) -> None:
    """Let a second pass."""
    if crowd.may_pass(1):
        crowd.take(Tick(1))


def pass_to_an_expiry(crowd: Crowd, client: str, pick: int) -> None:
    """Let time pass until something expires, or until a second before that."""
    cache, now_ns = crowd.server.cache, crowd.server.now_ns
    expiries_ns = {each.expiry_ns for each in cache.sessions} | {each.expiry_ns for each in cache.bindings}
    left_s = sorted((expiry_ns - now_ns) // NS_PER_S for expiry_ns in expiries_ns)
    if left_s and crowd.may_pass(seconds := one(left_s, pick // 2) - pick % 2):
        crowd.take(Tick(seconds))


# Wrong lists, and dances that are broken off at once.


def say_what_is_malformed(crowd: Crowd, client: str, pick: int) -> None:
    """Write a list that is not carried out; some get no reply."""
    if crowd.rests(client):
        label, prefix = crowd.names.endpoints[0], b"request\0"
        saved = oracle.save_endp_list(1, label, b"")
        lists = (
            b"\0",
            DUMMY_LIST,
            b"label\0%b\0\0" % label,
            b"\0\0" + prefix + b"find_endp\0label\0%b\0\0" % crowd.names.nobodys,
            prefix + b"flush\0\0",
            prefix + b"\0label\0%b\0\0" % label,
            prefix + b"find_endp\0\0",
            prefix + b"find_endp\0ttl\x005\0label\0%b\0\0" % label,
            prefix + b"find_dest\0property\0\0\0",
            prefix + b"save_dest\0ttl\x005\0label\0%b\0property\0\0\0" % label,
            prefix + b"save_endp\0label\0%b\0ttl\x005\0property\0\0\0" % label,
            saved.replace(b"ttl\x001", b"ttl\x000"),
            saved.replace(b"ttl\x001", b"ttl\0-1"),
            saved.replace(b"ttl\x001", b"ttl\x005x"),
            saved.replace(b"ttl\x001", b"ttl\0"),
            saved.replace(b"ttl\x001", b"ttl\x002147483648"),
        )
        crowd.take(Send(client, one(lists, pick)))


def say_it_unusually(crowd: Crowd, client: str, pick: int) -> None:
    """Write a request that is carried out although it looks odd."""
    if crowd.rests(client):
        ttl = b"%d" % crowd.ttl_s(pick)
        plain = oracle.save_dest_list(7, crowd.names.destinations[0], b"", crowd.names.endpoints[0])
        ttls = (b" " + ttl, b"+" + ttl, b"00" + ttl, b"\t\n+0" + ttl)
        odd = plain.replace(b"ttl\x007\0", b"ttl\0%b\0" % one(ttls, pick))
        crowd.take(Send(client, odd[:-1] + b"property\0more\0\0" if pick % 2 else odd))


def write_in_two(crowd: Crowd, client: str, pick: int) -> None:
    """Write a request in two pieces."""
    if crowd.rests(client):
        data = oracle.find_endp_list(crowd.names.nobodys)
        cut = 1 + pick % (len(data) - 1)
        crowd.take(Send(client, data[:cut]))
        crowd.take(Send(client, data[cut:]))


def carry_a_descriptor_on_a_request(crowd: Crowd, client: str, pick: int) -> None:
    """Send a descriptor where none belongs."""
    if crowd.rests(client):
        crowd.take(Send(client, oracle.find_endp_list(crowd.names.nobodys), (crowd.new_session(),)))


def send_no_descriptor(crowd: Crowd, client: str, pick: int) -> None:
    """Ask to park a session, and send a byte that carries none."""
    if crowd.rests(client):
        crowd.take(Send(client, oracle.save_endp_list(1, one(crowd.names.endpoints, pick), b"")))
        crowd.take(Send(client, one((b"\0", b"x", b"\xff"), pick)))


def leave(crowd: Crowd, client: str, pick: int) -> None:
    """Hang up between two requests; come again."""
    if crowd.rests(client):
        crowd.take(HangUp(client))
        crowd.take(Connect(client))


def thank_and_ask_in_one_write(crowd: Crowd, client: str, pick: int) -> None:
    """Fetch a session, and say "received" together with the next request, as smtp(8) does."""
    if crowd.rests(client) and (sessions := crowd.server.cache.sessions):
        crowd.take(Send(client, oracle.find_endp_list(one(sessions, pick).endpoint)))
        crowd.take(Send(client, DUMMY_LIST))
        destination, endpoint = one(crowd.names.destinations, pick), one(crowd.names.endpoints, pick // 2)
        crowd.take(Send(client, DUMMY_LIST + oracle.save_dest_list(crowd.ttl_s(pick), destination, b"", endpoint)))


# Parts of dances: others come between.


def begin_save(crowd: Crowd, client: str, pick: int) -> None:
    """Ask to park a session, up to the invitation."""
    if crowd.rests(client):
        ttl_s = crowd.ttl_s(pick // 3)
        crowd.take(Send(client, oracle.save_endp_list(ttl_s, one(crowd.names.endpoints, pick), b"begun")))


def send_descriptors(crowd: Crowd, client: str, pick: int) -> None:
    """Follow the invitation: most often with one descriptor."""
    if crowd.waits_in(client, State.DESCRIPTOR):
        number = one((1, 1, 1, 0, 2), pick)
        crowd.take(Send(client, one((b"\0", b"\x01"), pick), tuple(crowd.new_session() for _ in range(number))))


def begin_find(crowd: Crowd, client: str, pick: int) -> None:
    """Have a session held that can be found."""
    if crowd.rests(client) and (sessions := crowd.server.cache.sessions):
        crowd.take(Send(client, oracle.find_endp_list(one(sessions, pick).endpoint)))


def begin_find_dest(crowd: Crowd, client: str, pick: int) -> None:
    """Ask for a destination, up to the reply."""
    if crowd.rests(client):
        crowd.take(Send(client, oracle.find_dest_list(one(crowd.names.destinations, pick))))


def fetch(crowd: Crowd, client: str, pick: int) -> None:
    """Say "ready" and get the session that is held."""
    if crowd.waits_in(client, State.READY):
        crowd.take(Send(client, one((DUMMY_LIST, b"dummy\0now\0more\0\0\0"), pick)))


def refuse(crowd: Crowd, client: str, pick: int) -> None:
    """Do not say "ready": the session is put back. What is asked next tells when."""
    if crowd.waits_in(client, State.READY):
        refusal = one((b"\0", b"request\0find_endp\0\0", b"label\0\0\0"), pick)
        crowd.take(Send(client, refusal + oracle.find_endp_list(crowd.names.nobodys)))


def thank(crowd: Crowd, client: str, pick: int) -> None:
    """Say "received", somehow."""
    if crowd.waits_in(client, State.RECEIVED):
        crowd.take(Send(client, one((DUMMY_LIST, b"\0", oracle.find_endp_list(crowd.names.endpoints[0])), pick)))


def die(crowd: Crowd, client: str, pick: int) -> None:
    """Hang up in the middle of whatever it is; come again."""
    crowd.unwritten.pop(client, None)
    crowd.take(HangUp(client))
    crowd.take(Connect(client))


def begin_to_write(crowd: Crowd, client: str, pick: int) -> None:
    """Write the beginning of a request."""
    if crowd.rests(client):
        data = oracle.find_endp_list(one(crowd.names.endpoints, pick))
        cut = 1 + pick % (len(data) - 1)
        crowd.unwritten[client] = data[cut:]
        crowd.take(Send(client, data[:cut]))


def write_on(crowd: Crowd, client: str, pick: int) -> None:
    """Write the rest of it."""
    if client in crowd.unwritten:
        crowd.take(Send(client, crowd.unwritten.pop(client)))


def write_at_once(crowd: Crowd, client: str, pick: int) -> None:
    """Write several requests at once; the last may be a save_endp with its byte, which then carries nothing."""
    if crowd.rests(client):
        names, ttl_s = crowd.names, crowd.ttl_s(pick)
        destination, endpoint = one(names.destinations, pick), one(names.endpoints, pick // 2)
        data = oracle.find_endp_list(names.nobodys) + oracle.save_dest_list(ttl_s, destination, b"", endpoint)
        last = (oracle.find_dest_list(destination), oracle.save_endp_list(ttl_s, endpoint, b"") + b"\0")
        crowd.take(Send(client, data + one(last, pick // 3)))


WHOLE: Final[tuple[Move, ...]] = (
    nothing,
    *(save_endp, save_dest, find_endp_that_is_there, find_dest_that_leads_somewhere) * 4,
    *(save_endp_where_a_binding_points, find_endp, find_dest, renew) * 2,
    *(pass_a_second, pass_to_an_expiry),
    *(say_what_is_malformed, say_it_unusually, write_in_two, carry_a_descriptor_on_a_request, send_no_descriptor),
    *(leave, thank_and_ask_in_one_write),
)
"""What every server can take part in. The first is the simplest, and twice named is twice as frequent."""

PARTS: Final[tuple[Move, ...]] = (
    *(send_descriptors, fetch, thank) * 4,
    *(write_on,) * 2,
    *(begin_save, begin_find, begin_find_dest, refuse, die, begin_to_write, write_at_once),
)
"""What a server must be able to keep apart besides. Dances end more often than they begin, or nobody would rest."""

MOVES: Final = {Manners.SPECIFIED: WHOLE + PARTS, Manners.POSTFIX: WHOLE}


MOVE_BYTES: Final = 3
"""What one move is told by: which move, which client, which choice."""


def make(crowd: Crowd, manners: Manners, plan: bytes) -> None:
    """Make the moves that a plan tells of: any bytes are one, and zeros tell of nothing."""
    choices = MOVES[manners]
    for at in range(0, len(plan) - MOVE_BYTES + 1, MOVE_BYTES):
        number, client, pick = plan[at : at + MOVE_BYTES]
        one(choices, number)(crowd, one(CLIENTS, client), pick)


def end(crowd: Crowd) -> None:
    """Let everybody hang up, take out what is left, and let all else expire."""
    for client in CLIENTS:
        crowd.take(HangUp(client))
    crowd.take(Connect(LAST_CLIENT))
    while crowd.server.cache.sessions:
        crowd.take(FindEndp(LAST_CLIENT, crowd.server.cache.sessions[0].endpoint))
    crowd.take(Tick(crowd.limits.ttl_limit_s))
