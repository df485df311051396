"""What clients may do to a server, as rules for Hypothesis: well-behaved, impatient, mistaken, slow, dying, and timed.

Decides which actions are worth trying in which state, and looks for that at the specification's state alone. Refuses to
know the servers: a rule acts on the world and has it compared.

Numbers drawn are turned into choices by `pick`, which shrinks well and costs one draw. Most rules look at what is
there: labels drawn blindly would hit one time in a hundred and renew a binding almost never.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.side_by_side.lockstep import requests
from tests.side_by_side.lockstep.tally import Tally
from tests.side_by_side.lockstep.world import World

from scache_spec.conversation import State
from scache_spec.events import next_tick_ns
from scache_spec.statistics import Counters
from scache_spec.vocabulary import NS_PER_S, ClientId, Label, Limits, Properties

T = TypeVar("T")

ENDPOINTS: Final = tuple(map(Label, (b"e", b"smtp\n127.0.0.1\n2600\n0\n", b"both")))
DESTINATIONS: Final = tuple(map(Label, (b"", b"smtp\n[127.0.0.1]:2600\n\xff", b"both")))
PROPERTIES: Final = tuple(map(Properties, (b"", b"reuse_count=2\n\n")))

CLIENTS_MAX: Final = 5
"""How many clients a run has at a time, if the server's limit allows that many. Arbitrary."""

ROOMY: Final = Limits(ttl_limit_s=3, status_update_time_s=40, ipc_timeout_s=6)
TIGHT: Final = Limits(
    ttl_limit_s=2,
    status_update_time_s=7,
    ipc_timeout_s=1,
    attribute_list_bytes_max=100,
    sessions_max=3,
    sessions_per_endpoint_max=2,
    bindings_max=2,
    clients_max=3,
)
ONE_AT_A_TIME: Final = replace(TIGHT, output_bytes_max=1)
"""After each reply nothing more is served until the reply has been taken."""
LIMITS: Final = (ROOMY, TIGHT, ONE_AT_A_TIME)
"""What a run draws its server's limits from."""

number = st.integers(0, 2**16 - 1)
"""Any choice: see `pick`."""


def pick(choices: Sequence[T], n: int) -> T:
    """Return one of the choices."""
    return choices[n % len(choices)]


class Machine(RuleBasedStateMachine):
    """Clients of servers that must all do as the specification does.

    A subclass says which servers, and what becomes of them after a run.
    """

    tally: ClassVar[Tally]
    world: World

    @staticmethod
    @abstractmethod
    def open_world(limits: Limits) -> World:
        """Return a world in which nothing has happened."""

    @staticmethod
    def leave_world(world: World) -> None:
        """End the world, or keep it for another run."""
        world.discard()

    @initialize(n=number)
    def begin(self, n: int) -> None:
        self.world = self.open_world(pick(LIMITS, n))
        self._never_alone()

    def teardown(self) -> None:
        """Nothing is compared here: it would hide what was found in the run."""
        if hasattr(self, "world"):
            self.leave_world(self.world)

    # What there is.

    def clients(self, *states: State) -> list[ClientId]:
        return self.world.oracle.clients_in(*states)

    def has(self, *states: State) -> bool:
        return bool(self.world.oracle.clients_in(*states))

    def one_of(self, states: State | tuple[State, ...], n: int) -> ClientId:
        return pick(self.clients(*(states if isinstance(states, tuple) else (states,))), n)

    def likely_endpoints(self) -> list[Label]:
        """Return endpoints that something is known of, most of them such as have a session."""
        cache = self.world.oracle.cache
        full = sorted({each.endpoint for each in cache.sessions})
        bound = {each.endpoint for each in cache.bindings}
        return full * 4 + sorted(bound | self.world.expired_endpoints) or [ENDPOINTS[0]]

    def likely_destinations(self) -> list[Label]:
        """Return destinations that something is known of, most of them such as lead to a session."""
        cache = self.world.oracle.cache
        full = {each.endpoint for each in cache.sessions}
        leading = sorted({each.destination for each in cache.bindings if each.endpoint in full})
        known = {each.destination for each in cache.bindings} | {each[0] for each in self.world.expired_bindings}
        return leading * 4 + sorted(known) or [DESTINATIONS[0]]

    def do(self, rule_name: str, client: ClientId, *writes: bytes) -> None:
        self.tally.step(rule_name)
        for data in writes:
            self.world.write(client, data)
        self.world.settle()
        self._never_alone()

    # Well-behaved clients.

    @precondition(lambda self: len(self.world.oracle.server.clients) < CLIENTS_MAX)
    @rule()
    def connect(self) -> None:
        self.tally.step("connect")
        self.world.connect()
        self.world.settle()

    @precondition(lambda self: self.has(State.REQUEST))
    @rule(n=number, m=number, ttl=number, count=st.integers(1, 4))
    def park(self, n: int, m: int, ttl: int, count: int) -> None:
        """Save some sessions under one label, from the first step to the last."""
        for each in range(count):
            self._park(n + each // 2, ttl + each, pick((*self.likely_endpoints(), *ENDPOINTS), m))

    @precondition(lambda self: self.has(State.REQUEST) and self.world.oracle.cache.sessions)
    @rule(n=number, m=number, glued=st.booleans())
    def take(self, n: int, m: int, glued: bool) -> None:
        self._take(n, pick(self.world.oracle.cache.sessions, m).endpoint, None, glued)

    @precondition(lambda self: self.has(State.REQUEST))
    @rule(n=number, m=number, ttl=number, glued=st.booleans())
    def bind_and_take(self, n: int, m: int, ttl: int, glued: bool) -> None:
        """Find by destination, after saving whatever is missing on the way there."""
        cache = self.world.oracle.cache
        if not cache.sessions:
            self._park(n, ttl, pick(ENDPOINTS, m))
        elif self.likely_destinations().count(destination := pick(self.likely_destinations(), m)) == 1:
            self._save_dest(n, ttl, destination, pick(PROPERTIES, m), pick(cache.sessions, m).endpoint)
        else:
            self._take(n, Label(b""), destination, glued)

    @precondition(lambda self: self.has(State.REQUEST))
    @rule(n=number, m=number, ttl=number, likely=st.booleans())
    def save_endp(self, n: int, m: int, ttl: int, likely: bool) -> None:
        client = self.one_of(State.REQUEST, n)
        endpoint = pick(self.likely_endpoints() if likely else ENDPOINTS, m)
        self.tally.save_endp(self.world, endpoint)
        self.do("save_endp", client, requests.save_endp(pick(requests.TTLS, ttl), endpoint, pick(PROPERTIES, n)))

    @precondition(lambda self: self.has(State.DESCRIPTOR))
    @rule(n=number, count=st.sampled_from((1, 1, 1, 0, 2, 3)), tail=st.booleans())
    def pass_descriptor(self, n: int, count: int, tail: bool) -> None:
        client = self.one_of(State.DESCRIPTOR, n)
        self.tally.step(f"pass_{count}_descriptors")
        more = requests.find_endp(pick(ENDPOINTS, n)) if tail else b""
        self.world.write(client, b"\0" + more, descriptors=count)
        self.world.settle()

    @precondition(lambda self: self.has(State.REQUEST))
    @rule(n=number, m=number, likely=st.booleans(), is_ready=st.booleans())
    def find_endp(self, n: int, m: int, likely: bool, is_ready: bool) -> None:
        client = self.one_of(State.REQUEST, n)
        endpoint = pick(self.likely_endpoints() if likely else ENDPOINTS, m)
        self._find_endp(client, endpoint)
        if is_ready and client in self.clients(State.READY):
            self.do("say_ready", client, requests.DUMMY_LIST)

    @precondition(lambda self: self.has(State.REQUEST))
    @rule(n=number, m=number, likely=st.booleans(), is_ready=st.booleans())
    def find_dest(self, n: int, m: int, likely: bool, is_ready: bool) -> None:
        client = self.one_of(State.REQUEST, n)
        destination = pick(self.likely_destinations() if likely else DESTINATIONS, m)
        self._find_dest(client, destination)
        if is_ready and client in self.clients(State.READY):
            self.do("say_ready", client, requests.DUMMY_LIST)

    @precondition(lambda self: self.has(State.REQUEST) and self.world.expired_endpoints)
    @rule(n=number, m=number)
    def find_expired(self, n: int, m: int) -> None:
        self._find_endp(self.one_of(State.REQUEST, n), pick(sorted(self.world.expired_endpoints), m))

    @precondition(lambda self: self.has(State.REQUEST))
    @rule(n=number, m=number, ttl=number)
    def save_dest(self, n: int, m: int, ttl: int) -> None:
        """Bind anything to anything, or a destination to an endpoint that is known."""
        destination = pick(DESTINATIONS, m)
        endpoint = pick((*self.likely_endpoints(), *ENDPOINTS), n)
        self._save_dest(n, ttl, destination, pick(PROPERTIES, m // 7), endpoint)

    @precondition(lambda self: self.has(State.REQUEST))
    @rule(n=number, m=number, ttl=number)
    def renew_one_of_two(self, n: int, m: int, ttl: int) -> None:
        """Renew the first of two bindings of a destination, with a session behind each, and find."""
        destination = pick(self.likely_destinations(), m)
        bindings = [each for each in self.world.oracle.cache.bindings if each.destination == destination]
        if len(bindings) < 2:
            self._save_dest(n, ttl, destination, pick(PROPERTIES, len(bindings)), pick(ENDPOINTS, m // 3))
            return
        self._save_dest(n, ttl, destination, bindings[0].properties, bindings[0].endpoint)
        full = {each.endpoint for each in self.world.oracle.cache.sessions}
        for endpoint in sorted({each.endpoint for each in bindings} - full):
            self._park(n, ttl, endpoint)
        self._find_dest(self.one_of(State.REQUEST, n), destination)

    @precondition(lambda self: self.has(State.REQUEST) and self.world.oracle.cache.bindings)
    @rule(n=number, m=number, ttl=number, probes=st.booleans())
    def save_dest_again(self, n: int, m: int, ttl: int, probes: bool) -> None:
        """Renew a binding; perhaps look for it when the new ttl is over, with a session that outlives it."""
        kept = pick(self.world.oracle.cache.bindings, m)
        self._save_dest(n, ttl, kept.destination, kept.properties, kept.endpoint)
        renewed = [each for each in self.world.oracle.cache.bindings if replace(each, expiry_ns=kept.expiry_ns) == kept]
        if probes and renewed:
            self._advance("save_dest_again", renewed[0].expiry_ns - NS_PER_S // 2 - self.world.now_ns)
            if self.has(State.REQUEST):
                self._park(n, 1, kept.endpoint)
            self._advance("save_dest_again", renewed[0].expiry_ns - self.world.now_ns)
            if self.has(State.REQUEST):
                self._find_dest(self.one_of(State.REQUEST, n), kept.destination)

    @precondition(lambda self: self.has(State.REQUEST) and self.world.expired_bindings)
    @rule(n=number, m=number, ttl=number)
    def save_dest_expired(self, n: int, m: int, ttl: int) -> None:
        destination, properties, endpoint = pick(sorted(self.world.expired_bindings), m)
        self._save_dest(n, ttl, destination, Properties(properties), endpoint)

    @precondition(lambda self: self.has(State.READY))
    @rule(n=number, m=number)
    def say_ready(self, n: int, m: int) -> None:
        self.do("say_ready", self.one_of(State.READY, n), pick(requests.READY, m))

    @precondition(lambda self: self.has(State.RECEIVED))
    @rule(n=number, m=number, more=st.booleans())
    def say_received(self, n: int, m: int, more: bool) -> None:
        """Any list will do, and the next request may come with it."""
        received = pick((*requests.READY, *requests.NOT_READY), n)
        request = requests.find_endp(pick(self.likely_endpoints(), m)) if more else b""
        self.do("say_received", self.one_of(State.RECEIVED, n), received + request)

    # Time.

    @rule(n=number, delta_ns=st.sampled_from((-1, 0, 1)))
    def advance(self, n: int, delta_ns: int) -> None:
        """Go to where something ends, or next to it; to what ends soon rather than to what ends late; or just on."""
        server = self.world.oracle.server
        instants = {each.expiry_ns for each in server.cache.sessions} | {
            each.expiry_ns for each in server.cache.bindings
        }
        instants |= {each.held.expiry_ns for each in server.clients.values() if each.held is not None}
        instants |= {
            each.step_since_ns + server.limits.ipc_timeout_s * NS_PER_S
            for each in server.clients.values()
            if each.step_since_ns is not None
        }
        if n % 16 == 0 or not instants:
            instants = {next_tick_ns(server)}
        target_ns = pick(sorted(instants)[:3], n) if n % 5 else self.world.now_ns + NS_PER_S // 3
        self._advance("advance", target_ns + delta_ns - self.world.now_ns)

    @precondition(lambda self: self.has(State.REQUEST) and self.world.oracle.cache.sessions)
    @rule(n=number, m=number, delta_ns=st.sampled_from((-1, 0, 1)))
    def find_at_boundary(self, n: int, m: int, delta_ns: int) -> None:
        session = pick(self.world.oracle.cache.sessions, m)
        self._advance("find_at_boundary", session.expiry_ns + delta_ns - self.world.now_ns)
        if self.has(State.REQUEST):
            self._find_endp(self.one_of(State.REQUEST, n), session.endpoint)
        for binding in self.world.oracle.cache.bindings:
            if binding.endpoint == session.endpoint and self.has(State.REQUEST):
                self._park(n, m, binding.endpoint)
                self._find_dest(self.one_of(State.REQUEST, n), binding.destination)
                return

    @precondition(lambda self: self.has(State.REQUEST) and self.world.oracle.cache.bindings)
    @rule(n=number, m=number, delta_ns=st.sampled_from((-1, 0, 1)))
    def find_at_boundary_of_binding(self, n: int, m: int, delta_ns: int) -> None:
        binding = pick(self.world.oracle.cache.bindings, m)
        if pick((True, False), n):  # A binding shows while its endpoint has a session, so give it one that outlives it.
            self._advance("find_at_boundary_of_binding", binding.expiry_ns - NS_PER_S // 2 - self.world.now_ns)
            if self.has(State.REQUEST):
                self._park(n, 1, binding.endpoint)
        self._advance("find_at_boundary_of_binding", binding.expiry_ns + delta_ns - self.world.now_ns)
        if self.has(State.REQUEST):
            self._find_dest(self.one_of(State.REQUEST, n), binding.destination)

    @precondition(lambda self: self.world.oracle.server.counters != Counters())
    @rule()
    def print_statistics(self) -> None:
        self.tally.step("print_statistics")
        self.world.print_statistics()
        self.world.settle()

    # Clients that are mistaken, impatient or slow.

    @precondition(lambda self: self.has(State.REQUEST))
    @rule(n=number, m=number)
    def send_malformed(self, n: int, m: int) -> None:
        self.do("malformed", self.one_of(State.REQUEST, n), pick((*requests.MALFORMED, *requests.SWALLOWED), m))

    @precondition(lambda self: self.has(State.REQUEST))
    @rule(n=number, m=number)
    def send_extras(self, n: int, m: int) -> None:
        request = pick((requests.find_endp(pick(ENDPOINTS, n)), requests.save_dest(b"1", b"d", b"", b"e")), m)
        self.do("extras", self.one_of(State.REQUEST, n), request[:-1] + pick(requests.WITH_EXTRAS, n))

    @precondition(lambda self: self.has(State.READY))
    @rule(n=number, m=number)
    def say_something_else_than_ready(self, n: int, m: int) -> None:
        self.do("not_ready", self.one_of(State.READY, n), pick(requests.NOT_READY, m))

    @precondition(lambda self: self.has(State.REQUEST))
    @rule(n=number, picks=st.lists(number, min_size=2, max_size=6), cut=number, waits=st.booleans())
    def pipeline(self, n: int, picks: list[int], cut: int, waits: bool) -> None:
        """Write several lists at once, or in two pieces that do not end where a list does."""
        choices = (
            *(requests.find_endp(each) for each in self.likely_endpoints()),
            *(requests.find_dest(each) for each in self.likely_destinations()),
            requests.save_dest(b"2", pick(DESTINATIONS, n), b"p", pick(self.likely_endpoints(), n)),
            requests.save_endp(b"2", pick(ENDPOINTS, n), b"p") + b"?",
            requests.DUMMY_LIST,
            requests.DUMMY_LIST * 2,
            *requests.SWALLOWED,
            *requests.MALFORMED[:2],
        )
        data = b"".join(pick(choices, each) for each in picks)
        client, at = self.one_of(State.REQUEST, n), cut % len(data)
        self.tally.step("pipeline")
        self.world.write(client, data[:at] or b"\0")
        if waits:
            self.world.settle()
        if client in self.world.oracle.server.clients:
            self.world.write(client, data[at:])
            self.world.settle()

    @precondition(lambda self: self.has(State.REQUEST))
    @rule(n=number, m=number)
    def send_descriptor_too_early(self, n: int, m: int) -> None:
        """Send a descriptor with a request, or right behind it: nobody can receive it."""
        client = self.one_of(State.REQUEST, n)
        save = requests.save_endp(b"2", pick(ENDPOINTS, m), b"p")
        self.tally.step("descriptor_too_early")
        self.world.write(client, save, descriptors=m % 2)
        if not m % 3:
            self.world.write(client, b"!", descriptors=1)
        self.world.settle()

    @precondition(lambda self: self.has(State.REQUEST, State.READY, State.RECEIVED))
    @rule(n=number, m=number)
    def send_half(self, n: int, m: int) -> None:
        """Begin a list; some other rule may act before it goes on."""
        data = pick((requests.DUMMY_LIST, requests.find_endp(b"e"), requests.save_dest(b"1", b"d", b"p", b"e")), m)
        client = self.one_of((State.REQUEST, State.READY, State.RECEIVED), n)
        self.do("send_half", client, data[: 1 + m % (len(data) - 1)])

    @precondition(lambda self: self._unfinished())
    @rule(n=number, delta_ns=st.sampled_from((-1, 0, 1)))
    def dawdle(self, n: int, delta_ns: int) -> None:
        """Send one more byte when half of the time is up: that makes the step no younger."""
        client = pick(self._unfinished(), n)
        since_ns = self.world.oracle.client(client).step_since_ns
        assert since_ns is not None
        timeout_ns = self.world.limits.ipc_timeout_s * NS_PER_S
        self._advance("dawdle", since_ns + timeout_ns // 2 - self.world.now_ns)
        if client in self._unfinished():
            self.do("dawdle", client, b"x")
            self._advance("dawdle", since_ns + timeout_ns + delta_ns - self.world.now_ns)

    @precondition(lambda self: self._unfinished())
    @rule(n=number, m=number)
    def send_more(self, n: int, m: int) -> None:
        """Go on with a list that was begun, with more of it or with all."""
        client = pick(self._unfinished(), n)
        unread = self.world.oracle.client(client).unread
        # Two NULs end whatever there is; so does one, unless the list is between a name and its value.
        self.do("send_more", client, pick((b"\0", b"\0\0", b"\0\0\0", b"x", b"label\0e\0\0", unread), m))

    @precondition(lambda self: self.world.limits is not ROOMY and self.has(State.REQUEST, State.READY, State.RECEIVED))
    @rule(n=number, over=st.sampled_from((-1, 0, 1)), ends=st.booleans(), first=st.booleans())
    def send_long_list(self, n: int, over: int, ends: bool, first: bool) -> None:
        """Send a list about as long as one may be, with or without its end, perhaps behind another list."""
        length = self.world.limits.attribute_list_bytes_max + over
        head, tail = b"request\0find_endp\0label\0", b"\0\0" if ends else b""
        client = self.one_of((State.REQUEST, State.READY, State.RECEIVED), n)
        before = (pick((requests.DUMMY_LIST, requests.find_endp(pick(ENDPOINTS, n))), n // 3),) if first else ()
        self.do("long_list", client, *before, head + b"x" * (length - len(head) - len(tail)) + tail)

    # Clients that go away.

    @precondition(lambda self: self.has(*State))
    @rule(n=number, how=st.sampled_from(("at the door", "silently", "half-closed", "unread", "unread")), m=number)
    def die(self, n: int, how: str, m: int) -> None:
        """Go: before being accepted; in any state; or with what is next in the dance written and not read yet."""
        self.tally.step(f"die {how}")
        if how == "at the door":
            self.world.close(self.world.connect())
            self.world.settle()
            return
        client = pick((*self.clients(State.DESCRIPTOR, State.READY, State.RECEIVED) * 3, *self.clients(*State)), n)
        if how != "silently":
            words, descriptors = self._last_words(client, m)
            self.world.write(client, words, descriptors)
        if how == "half-closed":
            self.world.shut(client)
        else:
            self.world.close(client)
        self.world.settle()
        self._never_alone()

    @precondition(lambda self: self.has(State.READY))
    @rule(n=number)
    def die_before_it_is_sent(self, n: int) -> None:
        client = self.one_of(State.READY, n)
        self.tally.step("die before it is sent")
        self.world.write(client, requests.DUMMY_LIST)
        self.world.close(client)
        self.world.settle()
        self._never_alone()

    # Parts of rules.

    def _last_words(self, client: ClientId, m: int) -> tuple[bytes, int]:
        """Return what is next in the client's dance, and how many descriptors go with it."""
        endpoint, destination = pick(self.likely_endpoints(), m), pick(self.likely_destinations(), m)
        match self.world.oracle.client(client).state:
            case State.REQUEST:
                find = pick((requests.find_endp(endpoint), requests.find_dest(destination)), m // 7)
                choices = (
                    find,
                    find + requests.DUMMY_LIST,
                    find + requests.DUMMY_LIST * 2,
                    requests.save_dest(b"2", destination, b"p", endpoint),
                    requests.save_endp(b"2", endpoint, b"p"),
                )
                return pick(choices, m), 0
            case State.DESCRIPTOR:
                return b"!", 1
            case _:
                return requests.DUMMY_LIST, 0

    def _never_alone(self) -> None:
        """See to it that there is somebody to act."""
        while len(self.world.oracle.server.clients) < 2:
            self.world.connect()
            self.world.settle()

    def _park(self, n: int, ttl: int, endpoint: Label) -> None:
        self.tally.save_endp(self.world, endpoint)
        client = self.one_of(State.REQUEST, n)
        self.do("park", client, requests.save_endp(pick(requests.TTLS, ttl), endpoint, pick(PROPERTIES, n)))
        self.world.write(client, b"!", descriptors=1)
        self.world.settle()

    def _take(self, n: int, endpoint: Label, destination: Label | None, glued: bool) -> None:
        """Find from the first step to the last, the last perhaps with the next request."""
        client = self.one_of(State.REQUEST, n)
        if destination is None:
            self._find_endp(client, endpoint)
        else:
            self._find_dest(client, destination)
        if client in self.clients(State.READY):
            self.do("take", client, requests.DUMMY_LIST)
            self.do("take", client, requests.DUMMY_LIST + (requests.find_endp(endpoint) if glued else b""))

    def _unfinished(self) -> list[ClientId]:
        return [each.id for each in self.world.oracle.server.clients.values() if each.unread]

    def _find_endp(self, client: ClientId, endpoint: Label) -> None:
        self.tally.find_endp(self.world, endpoint)
        self.do("find_endp", client, requests.find_endp(endpoint))

    def _find_dest(self, client: ClientId, destination: Label) -> None:
        self.tally.find_dest(self.world, destination)
        self.do("find_dest", client, requests.find_dest(destination))

    def _save_dest(self, n: int, ttl: int, destination: Label, properties: Properties, endpoint: Label) -> None:
        self.tally.save_dest(self.world, destination, properties, endpoint)
        save = requests.save_dest(pick(requests.TTLS, ttl), destination, properties, endpoint)
        self.do("save_dest", self.one_of(State.REQUEST, n), save)

    def _advance(self, rule_name: str, by_ns: int) -> None:
        self.tally.step(rule_name)
        self._spread_timeouts(self.world.now_ns + by_ns)
        self.world.advance(max(0, by_ns))
        self.world.settle()
        self._never_alone()

    def _spread_timeouts(self, until_ns: int) -> None:
        """Let no two clients that hold sessions of one endpoint time out together.

        Each puts its session back at the front; in which order they do so in one turn is left to the server (CONN-14).
        """
        held: set[Label] = set()
        for each in self.world.oracle.server.clients.values():
            if each.held is None or each.step_since_ns is None:
                continue
            if (
                each.step_since_ns + self.world.limits.ipc_timeout_s * NS_PER_S <= until_ns
                and each.held.endpoint in held
            ):
                self.world.close(each.id)
                self.world.settle()
            held.add(each.held.endpoint)
