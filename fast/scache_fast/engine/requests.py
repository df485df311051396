"""The four requests: the attributes that each wants, what each does to the table, and its reply.

Names are compared in order, directly after the request's name. What follows the last wanted one is ignored. How lists
arrive and how a descriptor passes is in conversation.py.

A request may meet more due sessions, dead connections or bindings than one turn has time for. It is then left pending,
with nothing done that has to be undone, and is carried out again from its start in the client's next turn.
"""

from typing import Final

from scache_fast.engine.attributes import encode, parse_ttl
from scache_fast.engine.client import DESCRIPTOR, READY, REQUEST, Client
from scache_fast.engine.closing import Job
from scache_fast.engine.context import Context
from scache_fast.engine.log import printable
from scache_fast.engine.table import Session, Table
from scache_spec import vocabulary as words
from scache_spec.vocabulary import Limit, Status

_WALKED_PER_PIECE: Final = 32
"""How many bindings a find_dest passes over for one piece of work: both take about 2 µs."""

_EXPIRED_AT_ONCE: Final = 8
"""How many pieces of what is due are removed before a save is tried again. Arbitrary."""

_SHOWN_ATTRIBUTES_MAX: Final = 8
"""How many attributes of a request a verbose log shows. Arbitrary: twice as many as any request needs."""

_SAVE_ENDP: Final = words.SAVE_ENDP
_FIND_ENDP: Final = words.FIND_ENDP
_SAVE_DEST: Final = words.SAVE_DEST
_FIND_DEST: Final = words.FIND_DEST
_TTL: Final = words.TTL
_LABEL: Final = words.LABEL
_PROPERTY: Final = words.PROPERTY


def _status(status: Status, *properties: bytes) -> bytes:
    fields = [field for value in properties for field in (words.PROPERTY, value)]
    return encode(words.STATUS, b"%d" % status, *fields)  # CONN-13


_INVITATION: Final = encode(words.DUMMY, b"")
_DONE: Final = _status(Status.DONE)
_FAILED: Final = _status(Status.FAILED)
_UNKNOWN: Final = _status(Status.MALFORMED)
_MISSED_ENDP: Final = _status(Status.FAILED, b"")
_MISSED_DEST: Final = _status(Status.FAILED, b"", b"")
_MALFORMED: Final = {
    request: _status(Status.MALFORMED, *[b""] * count) for request, count in words.REPLY_PROPERTIES.items()
}

_OUTCOMES: Final = {DESCRIPTOR: "invited to send the descriptor", READY: "found"}
_ANSWERS: Final = {_DONE: "done", _FAILED: "refused", _UNKNOWN: "malformed", _MISSED_ENDP: "not found",
                   _MISSED_DEST: "not found"}  # fmt: skip
"""What a verbose log says about a request, by the state it leads to and else by the end of its answer."""


def _outcome(client: Client) -> str:
    known = _OUTCOMES.get(client.state)
    if known is not None:
        return known
    return next((text for answer, text in _ANSWERS.items() if client.output.endswith(answer)), "malformed")


class Requests:
    """Carries out requests on one table."""

    def __init__(self, table: Table, context: Context) -> None:
        self._table = table
        self._context = context
        self._domain_of = context.calls.domain_of
        self._turn = context.turn
        self._statistics = context.statistics
        self._counters = context.counters
        self._log = context.log
        self.verbose = context.log.verbose
        self.is_alive = context.hooks.is_alive
        self._faults = context.faults
        self._last_ttl = b""
        self._last_ttl_s = 0  # what that spells

    def carry_out(self, client: Client, fields: list[bytes]) -> None:
        """Carry out a request, or leave it pending when the client's share of the turn is used up."""
        name = fields[1]  # CONN-12
        if name == _SAVE_ENDP:
            self._save_endp(client, fields)
        elif name == _FIND_ENDP:
            self._find_endp(client, fields)
        elif name == _FIND_DEST:
            self._find_dest(client, fields)
        elif name == _SAVE_DEST:
            self._save_dest(client, fields)
        else:
            self._log.warning(f"{client.name}: unknown request {printable(fields[1])}")
            self._counters.unknown += 1
            client.output += _UNKNOWN  # CONN-6
            return
        if self.verbose and client.pending is None:
            shown = " ".join(map(printable, fields[1 : 2 * _SHOWN_ATTRIBUTES_MAX : 2]))
            self._log.detail(f"{client.name}: {shown}: {_outcome(client)}")

    def _save_endp(self, client: Client, fields: list[bytes]) -> None:
        # WIRE-6, WIRE-7
        is_whole = len(fields) >= 8 and fields[2] == _TTL and fields[4] == _LABEL and fields[6] == _PROPERTY
        ttl_s = self._ttl_of(fields[3]) if is_whole else 0
        if not ttl_s:  # CONN-7
            self._malformed(client, fields)
            return
        client.saving = fields[5], fields[7], ttl_s
        client.state = DESCRIPTOR
        client.output += _INVITATION  # FD-2

    def _find_endp(self, client: Client, fields: list[bytes]) -> None:
        if len(fields) < 4 or fields[2] != _LABEL:  # WIRE-6, WIRE-7, CONN-7
            self._malformed(client, fields)
            return
        session = self._table.find_endp(fields[3])
        while session is not None and not self._is_fit(session):
            if self._turn.work_left <= 0:
                client.pending = fields
                return
            session = self._table.find_endp(fields[3])
        if session is None:
            self._statistics.endp_misses += 1  # STAT-2
            client.output += _MISSED_ENDP  # CONN-9
            return
        self._statistics.endp_hits += 1  # STAT-2, STAT-3
        client.session = session  # CONN-10
        client.state = READY
        client.output += b"status\x000\x00property\x00%b\0\0" % session.properties  # CONN-10, CONN-13

    def _save_dest(self, client: Client, fields: list[bytes]) -> None:
        # WIRE-6, WIRE-7
        is_whole = (
            len(fields) >= 10
            and fields[2] == _TTL
            and fields[4] == _LABEL
            and fields[6] == _PROPERTY
            and fields[8] == _LABEL
        )
        ttl_s = self._ttl_of(fields[3]) if is_whole else 0
        if not ttl_s:  # CONN-7
            self._malformed(client, fields)
            return
        table = self._table
        limit = table.save_dest(fields[5], fields[7], fields[9], ttl_s, self._turn.now_ns)
        while limit is not None and self._is_any_due():  # TTL-5
            if self._turn.work_left <= 0:
                client.pending = fields
                return
            self._make_room()
            limit = table.save_dest(fields[5], fields[7], fields[9], ttl_s, self._turn.now_ns)
        if limit is None:
            self._counters.bindings_saved += 1
            self._statistics.saved_dest(table.destinations, table.used)  # STAT-4
            client.output += _DONE  # CONN-8
        else:
            self._counters.dest_refused += 1
            self.refuse(client, "save_dest", fields[5], self.met(limit))
            client.output += _FAILED  # LIMIT-4

    def _find_dest(self, client: Client, fields: list[bytes]) -> None:
        if len(fields) < 4 or fields[2] != _LABEL:  # WIRE-6, WIRE-7, CONN-7
            self._malformed(client, fields)
            return
        table = self._table
        found = table.find_dest(fields[3], self._turn.now_ns)
        self._turn.work_left -= table.walked // _WALKED_PER_PIECE
        while found is not None and not self._is_fit(found[1]):
            if self._turn.work_left <= 0:
                client.pending = fields
                return
            found = table.find_dest(fields[3], self._turn.now_ns)
            self._turn.work_left -= table.walked // _WALKED_PER_PIECE
        if found is None:
            self._statistics.dest_misses += 1  # STAT-2
            client.output += _MISSED_DEST  # CONN-9
            return
        self._statistics.dest_hits += 1  # STAT-2, STAT-3
        client.session = found[1]  # CONN-10
        client.state = READY
        # CONN-13, DEST-4
        client.output += b"status\x000\x00property\x00%b\0property\x00%b\0\0" % (found[0], found[1].properties)

    def _ttl_of(self, value: bytes) -> int:
        """Return what parse_ttl returns, 0 for None; most clients send the same ttl again and again."""
        if value != self._last_ttl:
            self._last_ttl, self._last_ttl_s = value, parse_ttl(value) or 0
        return self._last_ttl_s

    def _malformed(self, client: Client, fields: list[bytes]) -> None:
        self._log.warning(
            f"{client.name}: bad or missing attribute in {printable(fields[1])}: {printable(encode(*fields[2:]))}"
        )
        self._counters.malformed[fields[1]] += 1
        client.output += _MALFORMED[fields[1]]  # CONN-7, CONN-13

    # What is due, and what is not worth handing out.

    def _is_fit(self, session: Session) -> bool:
        """Say whether a session that was found can be handed out; if not, its descriptor is closed."""
        if session.expiry_ns <= self._turn.now_ns:  # TTL-5
            self._turn.work_left -= 1
            self.note_expired(session)
            self.discard(session)
            return False
        if self.is_alive is None:
            return True
        try:
            is_alive = self.is_alive(session)
        except Exception as error:
            self._faults.contain("session closed, cannot be looked at", error)
            is_alive = False
        if not is_alive:
            self._turn.work_left -= 1
            self._counters.dead += 1
            if self.verbose:
                self._log.detail(f"{printable(session.endpoint)}: not handed out: its peer is gone")
            self._context.let_go(Job([session.descriptor], session.user))
        return is_alive

    def _is_any_due(self) -> bool:
        expiry_ns = self._table.next_expiry_ns
        return expiry_ns is not None and expiry_ns <= self._turn.now_ns

    def _make_room(self) -> None:
        """Remove what is due, as far as the share of this turn goes."""
        work = self._turn.work_left
        self._turn.work_left = 0 if work < _EXPIRED_AT_ONCE else work - _EXPIRED_AT_ONCE
        self.expire(min(work, _EXPIRED_AT_ONCE))

    def park(self, client: Client) -> None:
        """Park the descriptor that was received, or leave it where it is when the share of the turn is used up."""
        table = self._table
        endpoint, properties, ttl_s = client.saving
        descriptor, user, pid, now_ns = client.received, client.user, client.pid, self._turn.now_ns
        domain = self._domain_of(descriptor)
        limit = table.save_endp(endpoint, properties, descriptor, ttl_s, now_ns, domain=domain, user=user, pid=pid)
        while limit is not None and self._is_any_due():  # TTL-5
            if self._turn.work_left <= 0:
                return
            self._make_room()
            limit = table.save_endp(endpoint, properties, descriptor, ttl_s, now_ns, domain=domain, user=user, pid=pid)
        client.received = -1
        client.step_since_ns = now_ns
        client.state = REQUEST
        if limit is None:
            self._counters.sessions_saved += 1
            if self.verbose:
                self._log.detail(f"{client.name}: {printable(endpoint)}: parked, ttl {ttl_s} s")
            statistics = self._statistics
            if table.used > statistics.endpoints_max or table.sessions > statistics.sessions_max:
                statistics.saved_endp(table.used, table.sessions)  # STAT-4
            client.output += _DONE  # FD-3
        else:
            self.close_unwanted(client, [descriptor])  # LIMIT-2, LIMIT-3
            self._counters.endp_refused += 1
            self.refuse(client, "save_endp", endpoint, self.met(limit))
            client.output += _FAILED  # LIMIT-2, LIMIT-3

    def refuse_descriptor(self, client: Client, reason: str) -> None:
        """Answer a save whose descriptor was not parked."""
        self.refuse(client, "save_endp", client.saving[0], reason)
        self._counters.endp_refused += 1
        client.step_since_ns = self._turn.now_ns
        client.state = REQUEST
        client.output += _FAILED  # FD-4

    # What nobody is to have any more.

    def discard(self, session: Session) -> None:
        """Close the descriptor of a session that expired or is flushed, a farewell first where one is wanted."""
        self._context.let_go(Job([session.descriptor], session.user, session.endpoint))

    def close_unwanted(self, client: Client, descriptors: list[int]) -> None:
        """Close what the client passed for nothing; until that is done nothing more is read from it."""
        job = Job(descriptors, client.user, is_unwanted=True)
        self._context.let_go(job)
        if not job.is_done:
            client.surplus = job

    def expire(self, work_max: int) -> None:
        """Remove what is due, at most so many pieces of it, and close its descriptors."""
        for session in self._table.pop_expired(self._turn.now_ns, work_max):
            self.note_expired(session)
            self.discard(session)

    # What becomes of sessions, counted and logged.

    def note_expired(self, session: Session) -> None:
        """Take note that a session expired."""
        self._counters.expired += 1
        if self.verbose:
            self._log.detail(f"{printable(session.endpoint)}: expired")

    def note_put_back(self, client: Client, session: Session) -> None:
        """Take note that a session that was found was not handed over, and is parked again."""
        self._counters.put_back += 1
        if self.verbose:
            self._log.detail(f"{client.name}: {printable(session.endpoint)}: not handed over, parked again")

    def refuse(self, client: Client, request: str, label: bytes, reason: str) -> None:
        """Log that a save was answered with status 2."""
        self._log.warning(f"{client.name}: {request} {printable(label)} refused: {reason}")

    def met(self, limit: Limit) -> str:
        """Count that a limit was met; return what a line of the log says about it."""
        if self._context.refusal and limit in (Limit.SESSIONS, Limit.BINDINGS):
            return self._context.refusal
        self._statistics.limit_hits[limit] += 1
        return f"limit {limit.value}={getattr(self._context.limits, limit.value)}"


class Postponed(Requests):
    """Leaves each request pending, for the process that has taken over."""

    def carry_out(self, client: Client, fields: list[bytes]) -> None:
        """Leave a request pending, and do nothing else for the client in this turn."""
        client.pending = fields  # LIFE-11
        self._turn.work_left = 0
