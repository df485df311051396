"""Rules besides the suite's, most of them for servers in this process: the nanosecond, deaths in mid-turn, trickles.

A rule that takes what it needs from the state is worth many that do not: time goes to where something ends, or next to
it, and a binding is looked for while its endpoint has a session.
"""

from collections.abc import Callable
from typing import Final

from tests.side_by_side.lockstep.run import Run

from scache_conformance.generated.oracle import client_id
from scache_conformance.generated.rules import RULES, Rule, RuleSet, write_in_two
from scache_conformance.generated.scenario import CLIENTS, Turn
from scache_conformance.generated.steps import SaveDest, SaveEndp
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DUMMY_LIST
from scache_spec.conversation import State
from scache_spec.events import next_tick_ns
from scache_spec.vocabulary import NS_PER_S

EVERY_RULE: Final = RULES[RuleSet.ALL] * 2
WHOLE_DANCES: Final = [rule for rule in RULES[RuleSet.SEQUENTIAL] if rule.apply is not write_in_two]
"""For a server that nobody can look at while half a list is written, because it waits for the other half."""
WHILE_SOMETHING_ENDS: Final[list[Rule]] = []
"""More of time: requests that are read in the turn in which something ends, for servers that remove it in shares."""


def _rule(
    weight: int = 1, state: State | None = None, *, is_whole: bool = False, only: list[Rule] | None = None
) -> Callable[[Callable[[Run, Turn], None]], None]:
    def register(act: Callable[[Run, Turn], None]) -> None:
        def apply(turn: Turn) -> None:
            assert isinstance(turn.scenario, Run)
            turn.scenario.tally.rules[act.__name__] += 1
            act(turn.scenario, turn)

        for rules in (EVERY_RULE, WHOLE_DANCES) if is_whole else (EVERY_RULE if only is None else only,):
            rules.extend([Rule(apply, state)] * weight)

    return register


def around(turn: Turn) -> int:
    return turn.drawn_from((-1, 0, 1))


def find_something(turn: Turn) -> bytes:
    """Draw a find of what is there, or may be."""
    endpoints = [each.endpoint for each in turn.cache.sessions] * 2 + [turn.endpoint()]
    destinations = [each.destination for each in turn.cache.bindings] * 2 + [turn.destination()]
    finds = lists.find_endp(turn.drawn_from(endpoints)), lists.find_dest(turn.drawn_from(destinations))
    return turn.drawn_from(finds)


# Time, to the nanosecond.


@_rule(3)
def pass_to_an_instant(run: Run, turn: Turn) -> None:
    """Go to where something ends, or next to it: what is parked, bound or held, a step, an interval of statistics."""
    clients = run.server.clients.values()
    instants = {each.expiry_ns for each in turn.cache.sessions} | {each.expiry_ns for each in turn.cache.bindings}
    instants |= {each.held.expiry_ns for each in clients if each.held is not None}
    timeout_ns = run.limits.ipc_timeout_s * NS_PER_S
    instants |= {each.step_since_ns + timeout_ns for each in clients if each.step_since_ns is not None}
    if turn.drawn_from(range(16)) == 0 or not instants:
        instants = {next_tick_ns(run.server)}
    run.pass_ns(turn.drawn_from(sorted(instants)[:3]) + around(turn) - run.world.now_ns)


@_rule()
def pass_a_fraction(run: Run, turn: Turn) -> None:
    """Let less than a second pass, so that not everything begins at the same fraction of one."""
    run.pass_ns(NS_PER_S // 3)


@_rule(2, State.REQUEST)
def find_at_the_end_of_a_binding(run: Run, turn: Turn) -> None:
    """Renew a binding, perhaps, and look for it where it ends, with a session that outlives it."""
    if not turn.cache.bindings:
        return
    binding = turn.drawn_from(turn.cache.bindings)
    if turn.drawn_from((False, True)):
        turn.save_dest(binding.destination, binding.properties, binding.endpoint)
        same = (binding.destination, binding.properties, binding.endpoint)
        binding = next(b for b in turn.cache.bindings if (b.destination, b.properties, b.endpoint) == same)
    if turn.drawn_from((True, False)):
        run.pass_ns(binding.expiry_ns - NS_PER_S // 2 - run.world.now_ns)
        run.take(SaveEndp(turn.client, 1, binding.endpoint, b"", run.new_session()))
    run.pass_ns(binding.expiry_ns + around(turn) - run.world.now_ns)
    turn.find_dest(binding.destination)


@_rule(4, only=WHILE_SOMETHING_ENDS)
def ask_while_something_ends(run: Run, turn: Turn) -> None:
    """Write what is read in the very turn in which sessions and bindings end, or right before or after it."""
    instants = {each.expiry_ns for each in turn.cache.sessions} | {each.expiry_ns for each in turn.cache.bindings}
    if not instants:
        return
    until_ns = turn.drawn_from(sorted(instants)) + around(turn)
    if run.is_in(turn.client, State.DESCRIPTOR):
        _ask_at(run, turn, until_ns, b"!", 1)
    elif run.is_in(turn.client, State.REQUEST):
        _ask_at(run, turn, until_ns, find_something(turn))


@_rule(4, State.REQUEST, only=WHILE_SOMETHING_ENDS)
def ask_while_bindings_end(run: Run, turn: Turn) -> None:
    """Let several end at once, and then find by one of them, with a session that outlives them, or renew it."""
    destination, last = turn.destination(), turn.drawn_from((0, 1, 2))
    is_find, offset_ns, which = turn.drawn_from((True, False)), around(turn), turn.drawn_from((0, 1, 2))
    for endpoint in run.names.endpoints:
        run.take(SaveDest(turn.client, 1, destination, b"", endpoint))
    until_ns = run.world.now_ns + NS_PER_S
    run.pass_ns(NS_PER_S // 2)
    if run.has(turn.client) and run.is_in(turn.client, State.REQUEST):
        run.take(SaveEndp(turn.client, 1, run.names.endpoints[last], b"", run.new_session()))
    again = lists.save_dest(2, destination, b"", run.names.endpoints[which])
    if run.has(turn.client) and run.is_in(turn.client, State.REQUEST):
        _ask_at(run, turn, until_ns + offset_ns, lists.find_dest(destination) if is_find else again)
        turn.find_dest(destination)


def _ask_at(run: Run, turn: Turn, until_ns: int, data: bytes, descriptors: int = 0) -> None:
    """Write, and let time pass before it is read; not if a client would be too slow then: who goes first is open."""
    since = [each.step_since_ns for each in run.server.clients.values() if each.step_since_ns is not None]
    if all(each + run.limits.ipc_timeout_s * NS_PER_S > until_ns for each in since):
        run.write(turn.client, data, descriptors)
        run.pass_ns(until_ns - run.world.now_ns)


@_rule(3, State.REQUEST, is_whole=True)
def ask_for_what_has_expired(run: Run, turn: Turn) -> None:
    """Find an endpoint that lost its last session to time."""
    if expired := sorted(run.world.expired_endpoints):
        turn.find_endp(turn.drawn_from(expired))


@_rule(3, State.REQUEST, is_whole=True)
def bind_again_what_has_expired(run: Run, turn: Turn) -> None:
    """Save a binding that has gone with time."""
    if expired := sorted(run.world.expired_bindings):
        turn.save_dest(*turn.drawn_from(expired))


@_rule(2, State.REQUEST)
def renew_the_first_of_two_bindings(run: Run, turn: Turn) -> None:
    """Renew it, with a session behind each, and find: one that moved shows; or bind a second time."""
    destination = turn.destination()
    bound = [each for each in turn.cache.bindings if each.destination == destination]
    if len(bound) < 2:
        turn.save_dest(destination, turn.drawn_from(run.names.properties[:2]), turn.endpoint())
        return
    turn.save_dest(destination, bound[0].properties, bound[0].endpoint)
    for endpoint in sorted({each.endpoint for each in bound} - {each.endpoint for each in turn.cache.sessions}):
        turn.save_endp(endpoint)
    turn.find_dest(destination)


@_rule()
def trickle(run: Run, turn: Turn) -> None:
    """Send one more byte when half of the time is up: that makes the step no younger."""
    client = run.state_of(turn.client)
    if not client.unread or client.step_since_ns is None:
        return
    since_ns, timeout_ns = client.step_since_ns, run.limits.ipc_timeout_s * NS_PER_S
    run.pass_ns(since_ns + timeout_ns // 2 - run.world.now_ns)
    turn.send(b"x")
    run.pass_ns(since_ns + timeout_ns + around(turn) - run.world.now_ns)


@_rule()
def print_statistics(run: Run, turn: Turn) -> None:
    """Have statistics printed, if anything was counted: when the server ends they are printed again."""
    if run.server.counters != type(run.server.counters)():
        run.world.print_statistics()
        run.settle()


# Clients that are mistaken or in a hurry.


@_rule(2, State.REQUEST)
def pipeline(run: Run, turn: Turn) -> None:
    """Write several lists at once, or in two pieces that do not end where a list does."""
    data = b""
    for _ in range(2 + turn.drawn_from(range(5))):
        choices = (
            *(find_something(turn) for _ in range(4)),
            lists.save_dest(2, turn.destination(), b"p", turn.endpoint()),
            lists.save_endp(2, turn.endpoint(), b"p") + b"?",
            *(DUMMY_LIST, DUMMY_LIST * 2, b"\0", lists.encode((b"status", b"0"))),
            *(lists.request(b"find_endp"), lists.request(b"")),
        )
        data += turn.drawn_from(choices)
    cut = turn.drawn_from(range(len(data)))
    run.write(turn.client, data[:cut] or b"\0")
    if turn.drawn_from((False, True)):
        run.settle()
    run.write(turn.client, data[cut:])
    run.settle()


@_rule(1, State.REQUEST)
def send_a_descriptor_too_early(run: Run, turn: Turn) -> None:
    """Send a descriptor with a request, or right behind it."""
    run.write(turn.client, lists.save_endp(2, turn.endpoint(), b"p"), turn.drawn_from((0, 1)))
    if turn.drawn_from((True, False)):
        run.write(turn.client, b"!", 1)
    run.settle()


@_rule(6, State.DESCRIPTOR)
def send_any_number_of_descriptors(run: Run, turn: Turn) -> None:
    """Follow the invitation, perhaps with the next request in the same write."""
    turn.send(b"\0" + turn.drawn_from((b"", find_something(turn))), turn.drawn_from((1, 1, 0, 2, 3)))


@_rule(6, State.RECEIVED)
def say_received_and_go_on(run: Run, turn: Turn) -> None:
    """Any list will do, and the next request may come with it."""
    turn.send(turn.drawn_from((DUMMY_LIST, b"\0", b"dummy\0\0request\0find_endp\0\0")) + find_something(turn))


@_rule(6, State.READY)
def say_something_else_than_ready(run: Run, turn: Turn) -> None:
    """Whatever it is, the session is put back."""
    turn.send(turn.drawn_from((b"\0", b"ready\0\0\0", lists.find_endp(b"e"), b"x\0\0dummy\0\0\0")))


@_rule(8, State.READY)
def fill_up_before_it_is_put_back(run: Run, turn: Turn) -> None:
    """Let others take the room of the session that is held: it is put back all the same."""
    held = run.state_of(turn.client).held
    assert held is not None
    for other in CLIENTS * 2:
        if run.is_in(other, State.REQUEST):
            Turn(run, other, turn.number).save_endp(turn.drawn_from((held.endpoint, turn.endpoint())))
    if run.is_in(turn.client, State.READY):
        turn.send(b"\0")


@_rule(1, State.REQUEST)
def send_a_ttl_that_is_none(run: Run, turn: Turn) -> None:
    """Write a number as other languages do, or one that overflows in C."""
    save = lists.save_dest(7, turn.destination(), b"p", turn.endpoint())
    turn.send(save.replace(b"ttl\x007", b"ttl\0" + turn.drawn_from((b"0x10", b"4294967297", b"1_0", b"5 "))))


@_rule()
def begin_a_list(run: Run, turn: Turn) -> None:
    """Begin a list wherever one is read; others act before it goes on."""
    if not run.state_of(turn.client).unread and not run.is_in(turn.client, State.DESCRIPTOR):
        turn.send_in_two(turn.drawn_from((DUMMY_LIST, lists.find_endp(b"e"))))


@_rule()
def go_on_with_a_list(run: Run, turn: Turn) -> None:
    """Write something where a list was begun: two NULs end it, and so does one unless a value is due."""
    if unread := run.state_of(turn.client).unread:
        turn.send(turn.drawn_from((b"\0", b"\0\0", b"\0\0\0", b"x", b"label\0e\0\0", unread)))


@_rule(3)
def send_a_list_about_as_long_as_one_may_be(run: Run, turn: Turn) -> None:
    """Send it with or without its end, perhaps behind another."""
    longest = run.limits.attribute_list_bytes_max
    if longest > 1000 or run.state_of(turn.client).unread or run.is_in(turn.client, State.DESCRIPTOR):
        return
    head = b"request\0find_endp\0label\0" if run.is_in(turn.client, State.REQUEST) else b"dummy\0"
    tail = turn.drawn_from((b"", b"\0\0"))
    if turn.drawn_from((False, True)):
        turn.send(turn.drawn_from((DUMMY_LIST, find_something(turn))))
    turn.send(head + b"x" * (longest + around(turn) - len(head) - len(tail)) + tail)


# Clients that go away.


@_rule()
def die_with_last_words(run: Run, turn: Turn) -> None:
    """Go with what is next in the dance written and not read: unread, or with the sending half closed alone."""
    match run.state_of(turn.client).state:
        case State.REQUEST:
            find = find_something(turn)
            save_endp = lists.save_endp(2, turn.endpoint(), b"p")
            save_dest = lists.save_dest(2, turn.destination(), b"p", turn.endpoint())
            words = find, find + DUMMY_LIST, find + DUMMY_LIST * 2, save_endp, save_dest
            run.write(turn.client, turn.drawn_from(words))
        case State.DESCRIPTOR:
            run.write(turn.client, b"!", 1)
        case _:
            run.write(turn.client, DUMMY_LIST)
    end = turn.drawn_from((run.world.close, run.world.close, run.world.shut))
    end(client_id(turn.client))
    run.settle()


@_rule()
def die_at_the_door(run: Run, turn: Turn) -> None:
    """Come, perhaps where there is no room, and go before or after being accepted."""
    run.world.connect(visitor := client_id("D"))
    if is_accepted := turn.drawn_from((True, False)):
        run.settle()
    if not is_accepted or run.has("D"):
        run.world.close(visitor)
    run.settle()
