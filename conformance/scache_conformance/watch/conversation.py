"""One connection as the watcher follows it: its requests and replies, and whether both sides keep to the conversation.

What a request means for the cache is not judged here: a `Judge` is told of it. If a side speaks out of turn, the
connection cannot be followed any more and is given up. Its bytes still pass, nothing more is said of them, and the
judge is told that it does not see everything.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from scache_conformance.watch.cache import Judge
from scache_conformance.watch.faults import Fault
from scache_conformance.watch.relay import Side
from scache_conformance.watch.seen import Find, SavedBinding, SavedSession
from scache_conformance.wire.lists import DONE, DUMMY, FAILED, GREETING, MALFORMED, Attributes, decode, describe
from scache_conformance.wire.transcript import show
from scache_spec.conversation import FindDest, FindEndp, Input, Request, SaveDest, SaveEndp, State, classify_list
from scache_spec.conversation import request_name as name_of
from scache_spec.vocabulary import REPLY_PROPERTIES

UNFINISHED_BYTES_MAX: Final = 1 << 20
"""A connection whose list is longer is given up. Arbitrary: servers take far less."""


class Turn(Enum):
    """What comes next, and from whom."""

    GREETING = auto()
    REQUEST = auto()
    REPLY = auto()
    DESCRIPTOR = auto()
    READY = auto()
    HAND_OVER = auto()
    RECEIVED = auto()


OF_CLIENT: Final = {Turn.REQUEST, Turn.DESCRIPTOR, Turn.READY, Turn.RECEIVED}


@dataclass(slots=True)
class Dance:
    """One request and its outcome."""

    connection: int
    name: bytes
    request: Request | None
    begin_ns: int
    status: int | None = None
    """None: it was not answered, or is not yet."""
    properties: tuple[bytes, ...] = ()
    file: str = ""
    """What passed: `socket:[1234]`, for example."""
    outcome: str = ""
    """What became of it if it was broken off."""


class _Stream:
    """Bytes that a side has sent and that are not decoded yet, with the files that came with them."""

    def __init__(self) -> None:
        self.data = b""
        self.since_ns = 0
        """When the first of these bytes came."""
        self._taken = 0
        self._files: deque[tuple[int, tuple[str, ...]]] = deque()

    def add(self, data: bytes, files: Sequence[str], at_ns: int) -> None:
        """Append what came."""
        if not self.data:
            self.since_ns = at_ns
        if files:
            self._files.append((self._taken + len(self.data), tuple(files)))
        self.data += data

    def take(self, byte_count: int) -> tuple[bytes, tuple[str, ...]]:
        """Take bytes from the front, and the files that came with them."""
        data, self.data = self.data[:byte_count], self.data[byte_count:]
        self._taken += byte_count
        files: tuple[str, ...] = ()
        while self._files and self._files[0][0] < self._taken:
            files += self._files.popleft()[1]
        return data, files


class Conversation:
    """What passes on one connection."""

    def __init__(
        self,
        number: int,
        judge: Judge,
        *,
        on_dance: Callable[[Dance, int], None],
        on_fault: Callable[[Fault, int], None],
    ) -> None:
        """Begin where the client has connected. `on_dance` and `on_fault` are told of each, and when it was."""
        self._number: Final = number
        self._judge: Final = judge
        self._on_dance: Final = on_dance
        self._on_fault: Final = on_fault
        self._streams: Final = {Side.CLIENT: _Stream(), Side.SERVER: _Stream()}
        self._turn = Turn.GREETING
        self._dance: Dance | None = None
        self._find: Find | None = None
        self._save: SavedSession | SavedBinding | None = None
        self._invited = False
        self._has_ended = False
        self._asked_ns = 0
        """Since when an answer is due, if one is."""
        self._is_passed_over: Callable[[], bool] = lambda: self._judge.turns.is_passed_over(self._asked_ns)
        """Whether the server answered others meanwhile; as it was when one side left."""
        self._is_followed = True

    # What the relay tells.

    def passed(self, side: Side, data: bytes, files: Sequence[str], at_ns: int) -> None:
        """Take note of what a side sent and the other has got."""
        if not self._is_followed:
            return
        self._streams[side].add(data, files, at_ns)
        while self._take_turn(at_ns):
            pass
        self._insist_on_turns(at_ns)

    def _insist_on_turns(self, at_ns: int) -> None:
        """Give up if a side that is not to speak has spoken."""
        client, server = self._streams[Side.CLIENT].data, self._streams[Side.SERVER].data
        if not self._is_followed:
            return
        if client and self._turn not in OF_CLIENT:
            self._out_of_turn(Side.CLIENT, client, at_ns)
        elif server and self._turn in OF_CLIENT:
            self._out_of_turn(Side.SERVER, server, at_ns)
        elif max(len(client), len(server)) > UNFINISHED_BYTES_MAX:
            self._give_up()

    def ended(self, side: Side, at_ns: int) -> None:
        """Take note that a side sends nothing more, or is gone."""
        if not self._is_followed or self._has_ended:
            return
        self._has_ended = True
        was_passed_over = side is Side.CLIENT and self._is_passed_over()
        self._is_passed_over = lambda: was_passed_over  # what comes later is not seen, or is no silence
        if side is Side.SERVER:
            self._judge.server_left()
        elif self._find is not None:
            self._find.abandoned()

    def closed(self, at_ns: int) -> None:
        """Take note that the connection is over."""
        self._judge.turns.closed(self._number)
        if not self._is_followed:
            self._judge.seen_again()
            return
        if self._find is not None:
            self._find.abandoned()
        if self._dance is not None:
            if self._turn in (Turn.REPLY, Turn.HAND_OVER) and self._is_passed_over():
                told = f"{_NOT_COME[self._turn]} of {show(self._dance.name)}, and others were answered again and again"
                self._fault(Side.SERVER, self._clauses_of_an_answer(self._dance), told, at_ns)
            self._dance.outcome = f"broken off: {_NOT_COME[self._turn]}"
            self._done(at_ns)

    def _clauses_of_an_answer(self, dance: Dance) -> tuple[str, ...]:
        """Return which clauses say that the answer which is due now comes."""
        if self._turn is Turn.HAND_OVER:
            return ("FD-6",)
        match dance.request:
            case FindEndp() | FindDest():
                return ("CONN-9", "CONN-10")
            case SaveDest():
                return ("CONN-8",)
            case SaveEndp():
                return ("FD-3",) if self._invited else ("FD-2",)
            case None:
                return ("CONN-7",) if dance.name in REPLY_PROPERTIES else ("CONN-6",)

    # What is made of it.

    def _take_turn(self, at_ns: int) -> bool:
        """Take what is next from the side whose turn it is; tell whether it was there."""
        match self._turn:
            case Turn.GREETING:
                return self._take_greeting(at_ns)
            case Turn.REQUEST:
                return self._take_request(at_ns)
            case Turn.REPLY:
                return self._take_reply(at_ns)
            case Turn.DESCRIPTOR:
                return self._take_descriptor(at_ns)
            case Turn.READY:
                return self._take_ready(at_ns)
            case Turn.HAND_OVER:
                return self._take_hand_over(at_ns)
            case Turn.RECEIVED:
                return self._take_received(at_ns)

    def _take_greeting(self, at_ns: int) -> bool:
        attributes = self._list_of(Side.SERVER, at_ns)
        if attributes is None:
            return False
        if attributes != GREETING:
            self._fault(Side.SERVER, ("CONN-1",), f"it greets with {describe(attributes)}", at_ns)
        self._turn = Turn.REQUEST
        return True

    def _take_request(self, at_ns: int) -> bool:
        stream = self._streams[Side.CLIENT]
        begin_ns = stream.since_ns
        attributes = self._list_of(Side.CLIENT, at_ns)
        if attributes is None:
            return False
        kind = classify_list(State.REQUEST, attributes)
        request = None if isinstance(kind, Input) else kind
        if isinstance(kind, Input):
            self._fault(Side.CLIENT, ("CLNT-2",), f"{kind.value}: {describe(attributes)}", at_ns)
            if kind in (Input.EMPTY_LIST, Input.NO_REQUEST):
                return True  # which no server answers
        self._dance = Dance(self._number, name_of(attributes) or b"", request, begin_ns)
        self._turn, self._invited, self._asked_ns = Turn.REPLY, False, at_ns
        match request:
            case FindEndp(label):
                self._find = self._judge.find(label, None, self._number, begin_ns)
            case FindDest(label):
                self._find = self._judge.find(None, label, self._number, begin_ns)
            case SaveDest(ttl_s, destination, properties, endpoint):
                self._save = self._judge.save_dest(destination, properties, endpoint, ttl_s, begin_ns)
            case SaveEndp() | None:
                pass
        return True

    def _take_reply(self, at_ns: int) -> bool:
        attributes = self._list_of(Side.SERVER, at_ns)
        if attributes is None:
            return False
        dance = self._dance
        assert dance is not None
        if attributes == DUMMY and isinstance(dance.request, SaveEndp) and not self._invited:
            self._turn, self._invited = Turn.DESCRIPTOR, True
            return True
        status = self._checked_reply(dance, attributes, at_ns)
        if status is None:
            self._give_up()
            return False
        dance.status, dance.properties = status, tuple(value for _, value in attributes[1:])
        is_hit = status == DONE and isinstance(dance.request, FindEndp | FindDest)
        if self._save is not None:
            self._save.ended(at_ns, done=status == DONE)
        if self._find is not None and is_hit:
            self._find.hit(at_ns, dance.properties)
            self._turn = Turn.READY
            return True
        if self._find is not None:
            self._find.missed(at_ns, certain=status == FAILED)
        self._done(at_ns)
        return True

    def _checked_reply(self, dance: Dance, attributes: Attributes, at_ns: int) -> int | None:
        """Return the status of a reply, after the faults that it has; None if nobody can tell what it is."""
        request, asked = dance.request, show(dance.name)
        names = [name for name, _ in attributes]
        count = REPLY_PROPERTIES.get(dance.name, 0)
        status = attributes[0][1] if attributes else b""
        if isinstance(request, SaveEndp) and not self._invited:
            self._fault(Side.SERVER, ("FD-2",), f"no invitation after {asked}, but {describe(attributes)}", at_ns)
            return None
        if names != [b"status"] + [b"property"] * count or status not in (b"0", b"1", b"2"):
            self._fault(Side.SERVER, ("CONN-13",), f"the reply to {asked} is {describe(attributes)}", at_ns)
            return None
        number = int(status)
        if number != DONE and any(value for _, value in attributes[1:]):
            self._fault(Side.SERVER, ("CONN-13",), f"status {number} of {asked} comes with properties", at_ns)
        if request is None and number != MALFORMED:
            clause = "CONN-7" if dance.name in REPLY_PROPERTIES else "CONN-6"
            self._fault(Side.SERVER, (clause,), f"status {number} for a request that is none: {asked}", at_ns)
            return None if number == DONE and dance.name.startswith(b"find") else number
        if request is not None and number == MALFORMED:
            clause = "CONN-9" if self._find is not None else "CONN-12"
            self._fault(Side.SERVER, (clause,), f"status 1 for a well-formed {asked}", at_ns)
        if number == DONE and isinstance(request, SaveEndp) and self._save is None:
            self._fault(Side.SERVER, ("FD-4",), "status 0 where not exactly one descriptor was passed", at_ns)
        return number

    def _take_descriptor(self, at_ns: int) -> bool:
        stream = self._streams[Side.CLIENT]
        if not stream.data:
            return False
        begin_ns = stream.since_ns
        _, files = stream.take(1)
        dance = self._dance
        assert dance is not None
        assert isinstance(dance.request, SaveEndp)
        self._turn, self._asked_ns = Turn.REPLY, at_ns
        if len(files) != 1:
            self._fault(Side.CLIENT, ("CLNT-3",), f"{len(files)} descriptors where one is awaited", at_ns)
            return True
        (dance.file,) = files
        ttl_s, endpoint, properties = dance.request.ttl_s, dance.request.endpoint, dance.request.properties
        self._save = self._judge.save_endp(endpoint, properties, ttl_s, dance.file, begin_ns)
        return True

    def _take_ready(self, at_ns: int) -> bool:
        attributes = self._list_of(Side.CLIENT, at_ns)
        if attributes is None:
            return False
        if classify_list(State.READY, attributes) is Input.DUMMY_LIST:
            self._turn, self._asked_ns = Turn.HAND_OVER, at_ns
            return True
        self._fault(Side.CLIENT, ("CLNT-5",), f"{describe(attributes)} where `dummy`, ready, is awaited", at_ns)
        assert self._find is not None
        assert self._dance is not None
        self._find.abandoned()
        self._dance.outcome = "not fetched"
        self._done(at_ns)
        return True

    def _take_hand_over(self, at_ns: int) -> bool:
        stream = self._streams[Side.SERVER]
        if not stream.data:
            return False
        byte, files = stream.take(1)
        assert self._find is not None
        assert self._dance is not None
        if byte != b"\0" or len(files) != 1:
            told = f"the byte {show(byte)} with {len(files)} descriptors, not NUL with one"
            self._fault(Side.SERVER, ("FD-6",), told, at_ns)
        if len(files) == 1:
            (self._dance.file,) = files
            self._find.identified(self._dance.file, at_ns)
        else:
            self._find.abandoned()
        self._done(at_ns)
        self._turn = Turn.RECEIVED
        return True

    def _take_received(self, at_ns: int) -> bool:
        attributes = self._list_of(Side.CLIENT, at_ns)
        if attributes is None:
            return False
        if classify_list(State.RECEIVED, attributes) is not Input.DUMMY_LIST:
            self._fault(Side.CLIENT, ("CLNT-5",), f"{describe(attributes)} where `dummy`, received, is awaited", at_ns)
        self._turn = Turn.REQUEST
        return True

    def _list_of(self, side: Side, at_ns: int) -> Attributes | None:
        """Take the list that a side has sent, None while its end is missing."""
        stream = self._streams[side]
        decoded = decode(stream.data)
        if decoded is None:
            return None
        _, files = stream.take(decoded[1])
        if files:
            told = f"{len(files)} descriptors ride on a list: {describe(decoded[0])}"
            self._fault(side, ("FD-1",) if side is Side.SERVER else ("CLNT-3",), told, at_ns)
        return decoded[0]

    def _done(self, at_ns: int) -> None:
        assert self._dance is not None
        if self._dance.status is not None:
            self._judge.turns.answered(self._number, self._dance.begin_ns)
        self._on_dance(self._dance, at_ns)
        self._dance = self._find = self._save = None
        self._turn = Turn.REQUEST

    def _out_of_turn(self, side: Side, data: bytes, at_ns: int) -> None:
        if side is Side.CLIENT:
            clause = {Turn.GREETING: "CLNT-1", Turn.HAND_OVER: "CLNT-5"}.get(self._turn, "CLNT-2")
        else:
            clause = {Turn.READY: "FD-6", Turn.DESCRIPTOR: "FD-2"}.get(self._turn, "CONN-13")
        self._fault(side, (clause,), f"{_NOT_COME[self._turn]}, but the {side.value} sends {show(data)}", at_ns)
        self._give_up()

    def _give_up(self) -> None:
        self._is_followed = False
        self._judge.not_seen()

    def _fault(self, side: Side, clauses: tuple[str, ...], text: str, at_ns: int) -> None:
        self._on_fault(Fault(side, clauses, text, self._number), at_ns)


_NOT_COME: Final = {
    Turn.GREETING: "the greeting has not come",
    Turn.REQUEST: "a request is awaited",
    Turn.REPLY: "the reply has not come",
    Turn.DESCRIPTOR: "the descriptor to park is awaited",
    Turn.READY: "`dummy`, ready, is awaited",
    Turn.HAND_OVER: "the descriptor has not come",
    Turn.RECEIVED: "`dummy`, received, is awaited",
}
