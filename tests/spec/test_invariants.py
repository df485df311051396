"""What is true in every state of a specified server, whatever happens to it."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.messages import DUMMY, find_dest, find_endp, save_dest, save_endp

from scache_spec import events
from scache_spec.conversation import State
from scache_spec.effects import CloseDescriptor, Disconnect, Effects, Exit, LimitHit, Send, SendDescriptor
from scache_spec.events import Reading, next_tick_ns, reading
from scache_spec.server import Outcome, Server
from scache_spec.vocabulary import NS_PER_S, ClientId, Handle, Limits, UserId

LISTS = [
    b"\0",
    DUMMY,
    b"request\0other\0\0",
    b"request\0find_endp\0\0",
    *(find_endp(endpoint) for endpoint in (b"a", b"b")),
    *(save_endp(endpoint, ttl=ttl) for endpoint in (b"a", b"b") for ttl in (b"1", b"3", b"0")),
    save_dest(b"a", b"q", b"a"),
    save_dest(b"a", b"q", b"b", ttl=b"1"),
    find_dest(b"a"),
]

LIMITS = st.builds(
    Limits,
    ttl_limit_s=st.just(2),
    max_idle_s=st.sampled_from([None, 1, 3]),
    status_update_time_s=st.sampled_from([2, 600]),
    ipc_timeout_s=st.sampled_from([1, 4]),
    attribute_list_bytes_max=st.sampled_from([40, 65536]),
    output_bytes_max=st.sampled_from([0, 20, 65536]),
    sessions_max=st.sampled_from([1, 2, 99]),
    sessions_per_endpoint_max=st.sampled_from([1, 99]),
    bindings_max=st.sampled_from([1, 99]),
    bindings_per_destination_max=st.sampled_from([1, 99]),
    cached_bytes_max=st.sampled_from([2, 5, 99]),
    attributes_max=st.sampled_from([4, 64]),
    clients_max=st.sampled_from([2, 3]),
    clients_per_user_max=st.sampled_from([None, 1, 2]),
)


class Surroundings:
    """A random world around one server, and a ledger of its descriptors."""

    def __init__(self, limits: Limits) -> None:
        self.server = events.start(limits, now_ns=0)
        self.exited = False
        self.saved: set[Handle] = set()
        self.closed: set[Handle] = set()
        self.sending: dict[ClientId, Handle] = {}
        self.in_flight: set[ClientId] = set()
        self.clients_seen = 0

    def do(self, outcome: Outcome, newcomer: ClientId | None = None) -> Effects:
        """Take over an outcome and check it against the ledger."""
        before, (self.server, effects) = self.server, outcome
        known = {*before.clients, newcomer}
        for effect in effects:
            match effect:
                case Send(client):
                    assert client in known
                    assert client not in self.in_flight
                case SendDescriptor(client, handle):
                    assert client in known
                    assert handle in self.open()
                    assert client not in self.in_flight
                    self.sending[client] = handle
                case LimitHit(_, client):
                    assert client in known
                case Disconnect(client):
                    assert client in known
                    assert client not in self.server.clients
                    known.discard(client)
                    self.sending.pop(client, None)
                    self.in_flight.discard(client)
                case CloseDescriptor(handle):
                    assert handle in self.open(), "closed twice, or never saved"
                    self.closed.add(handle)
                case Exit():
                    self.exited = True
                case _:
                    pass
        self.check()
        return effects

    def open(self) -> set[Handle]:
        return self.saved - self.closed

    def check(self) -> None:
        server = self.server
        held = [client.held.handle for client in server.clients.values() if client.held is not None]
        cached = [session.handle for session in server.cache.sessions]
        assert sorted((*held, *cached)) == sorted(self.open()), "saved = cached + held + closed, each once"
        for client in server.clients.values():
            assert (client.held is not None) == (client.state in (State.READY, State.SENDING))
            assert (client.saving is not None) == (client.state is State.DESCRIPTOR)
            assert client.in_flight == (client.id in self.in_flight)
            assert not client.in_flight or client.state is State.RECEIVED
            at_rest = client.state is State.REQUEST and not client.unread and not client.unsent_bytes
            assert at_rest == (client.step_since_ns is None)
            assert client.unsent_bytes >= 0
            longest_reply = 200
            assert client.unsent_bytes <= server.limits.output_bytes_max + longest_reply
        assert all(0 < each.expiry_ns - server.now_ns <= 2 * NS_PER_S for each in server.cache.sessions)
        assert all(0 < each.expiry_ns - server.now_ns <= 2 * NS_PER_S for each in server.cache.bindings)

    # What can happen.

    def connect(self) -> None:
        self.clients_seen += 1
        client = ClientId(self.clients_seen)
        self.do(events.on_connect(self.server, client, UserId(self.clients_seen % 2)), newcomer=client)

    def bytes_come(self, client: ClientId, data: bytes) -> None:
        how = reading(self.server, client)
        if how is Reading.BYTES:
            self.do(events.on_unsolicited(self.server, self.new_handles(len(data) % 2)))
            self.do(events.on_bytes(self.server, client, data))
        elif how is Reading.DESCRIPTOR:
            self.descriptors_come(client, len(data) % 3)

    def descriptors_come(self, client: ClientId, count: int) -> None:
        self.do(events.on_descriptors(self.server, client, self.new_handles(count)))

    def new_handles(self, count: int) -> tuple[Handle, ...]:
        handles = tuple(Handle(len(self.saved) + number) for number in range(count))
        self.saved.update(handles)
        return handles

    def socket_takes(self, client: ClientId, byte_count: int) -> None:
        unsent = self.server.clients[client].unsent_bytes
        if unsent:
            self.do(events.on_sent(self.server, client, min(unsent, byte_count)))
        elif client in self.sending:
            del self.sending[client]
            self.in_flight.add(client)
            self.do(events.on_descriptor_sent(self.server, client))

    def client_reads(self, client: ClientId) -> None:
        """Let a client read everything that its socket took."""
        if client in self.in_flight:
            self.in_flight.discard(client)
            self.do(events.on_descriptor_taken(self.server, client))

    def tick(self, seconds: int) -> None:
        self.check_that_nothing_is_due_before_the_next_tick()
        self.do(ticked(self.server, self.server.now_ns + seconds * NS_PER_S))
        if not self.exited:
            assert next_tick_ns(self.server) > self.server.now_ns

    def check_that_nothing_is_due_before_the_next_tick(self) -> None:
        due_ns = next_tick_ns(self.server)
        if due_ns > self.server.now_ns:
            assert ticked(self.server, due_ns - 1) == (replace(self.server, now_ns=due_ns - 1), ())
            after, effects = ticked(self.server, due_ns)
            assert effects or after.cache != self.server.cache, "something is due then"


def ticked(server: Server, now_ns: int) -> Outcome:
    """Let time pass in which nothing comes."""
    server, effects = events.on_tick(server, now_ns)
    server, more = events.on_timeouts(server)
    return server, (*effects, *more)


CHOICES = st.tuples(
    st.sampled_from(["connect", "bytes", "bytes", "bytes", "took", "took", "reads", "gone", "tick", "piece"]),
    st.integers(0, 2),
    st.sampled_from(LISTS),
    st.sampled_from([1, 3, 99, 99]),
)


@given(LIMITS, st.lists(CHOICES, min_size=10, max_size=60))
@settings(max_examples=150, deadline=None)
def test_FD_1_every_descriptor_has_one_owner_in_every_state(
    limits: Limits, choices: list[tuple[str, int, bytes, int]]
) -> None:
    world = Surroundings(limits)
    world.connect()
    for what, which, data, count in choices:
        clients = sorted(world.server.clients)
        if what == "tick":
            world.tick(count % 4)
        elif what == "connect" or not clients:
            world.connect()
        else:
            client = clients[which % len(clients)]
            if what == "bytes":
                world.bytes_come(client, data)
            elif what == "piece":
                world.bytes_come(client, data[:count])
            elif what == "took":
                world.socket_takes(client, count)
            elif what == "reads":
                world.client_reads(client)
            else:
                world.do(events.on_gone(world.server, client))
        if world.exited:
            break
    if not world.exited:
        world.do(events.on_stop(world.server))
    assert world.open() == set()


@given(st.lists(st.sampled_from(LISTS) | st.binary(max_size=6), max_size=6), st.data())
@settings(max_examples=150, deadline=None)
def test_WIRE_4_any_bytes_in_any_pieces_have_the_same_effects(lists: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(lists)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[begin:end] for begin, end in pairwise([0, *cuts, len(stream)])]
    assert effects_of(pieces) == effects_of([stream])


def effects_of(pieces: list[bytes]) -> tuple[object, Effects]:
    """Feed pieces to a server that holds a session; return what it sends and does, and the state after it."""
    server, _ = events.on_connect(events.start(Limits(attribute_list_bytes_max=50), 0), ClientId(1))
    client = ClientId(1)
    server, _ = events.on_bytes(server, client, save_endp(b"a"))
    server, _ = events.on_descriptors(server, client, (Handle(1),))
    all_effects: Effects = ()
    for piece in pieces:
        if client in server.clients and piece:
            server, effects = events.on_bytes(server, client, piece)
            all_effects += effects
    return server, all_effects
