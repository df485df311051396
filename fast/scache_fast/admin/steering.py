"""The verbs that change something: flush, pause, resume, drain, loglevel, reload. docs/admin.md has every key."""

from collections.abc import Callable, Iterator

from scache_fast.admin.protocol import VERSION, Request, RequestError, only, shown, text_in
from scache_fast.admin.reading import STEPS_PER_LINE, Chosen, Line
from scache_fast.engine.log import Log
from scache_fast.engine.server import Server
from scache_fast.engine.steering import DRAINING, PAUSED
from scache_fast.engine.table import Session

LEVELS = {"normal": False, "verbose": True}
"""What `loglevel` takes, and whether each request then gets a line."""

_STATES = {"": "serving", PAUSED: "paused", DRAINING: "draining"}


def state_of(server: Server) -> str:
    """Return whether saves are taken, and if not, why."""
    return _STATES[server.steering.refusal]


class Steering:
    """Carries out commands on a server. `reload` reads the settings again: empty lines, then what became of it."""

    def __init__(
        self,
        server: Server,
        log: Log,
        set_verbose: Callable[[bool], None],
        reload: Callable[[], Iterator[Line]],
    ) -> None:
        self._server = server
        self._log = log
        self._set_verbose = set_verbose
        self._reload = reload

    def flush(self, request: Request) -> Iterator[Line]:
        """Remove what the request is about, in shares. What is saved after the first share stays."""
        chosen = Chosen(request)
        steering = self._server.steering
        sessions = bindings = 0
        for session in steering.held:
            if chosen.has(session):
                steering.flush(session)  # It is not in the table: this keeps it from coming back.
        self._server.exchange.flush_returns(chosen.has)
        for step, item in enumerate(self._server.table.items()):
            if step % STEPS_PER_LINE == 0:
                yield {}
            if chosen.has(item) and steering.flush(item):
                if isinstance(item, Session):
                    sessions += 1
                else:
                    bindings += 1
        self._log.info(f"flushed by the operator: {sessions} connections, {bindings} bindings")
        yield {"v": VERSION, "ok": True, "sessions": sessions, "bindings": bindings}

    def pause(self, request: Request) -> Iterator[Line]:
        """Refuse saves."""
        yield self._refuse_saves(PAUSED)

    def resume(self, request: Request) -> Iterator[Line]:
        """Take saves again, after a pause or while the server drains."""
        yield self._refuse_saves("")

    def drain(self, request: Request) -> Iterator[Line]:
        """Refuse saves, and end once nothing is parked or held."""
        yield self._refuse_saves(DRAINING)

    def _refuse_saves(self, reason: str) -> Line:
        server = self._server
        if server.steering.refusal != reason:
            server.steering.refuse_saves(reason)
            self._log.info(f"saves are refused: {reason}" if reason else "saves are accepted again")
        answer: Line = {"v": VERSION, "ok": True, "state": state_of(server), "sessions": server.table.sessions,
                        "held": len(server.steering.held)}  # fmt: skip
        return {**answer, "undo": "resume"} if reason else answer

    def end_if_drained(self) -> None:
        """End the server if it drains and nothing is left."""
        if self._server.is_running and self._server.steering.is_drained:
            self._log.info("drained: nothing is parked any more, the server ends")
            self._server.stop()  # LIFE-9

    def loglevel(self, request: Request) -> Iterator[Line]:
        """Have each request logged, or no more."""
        only(request, "level")
        level = text_in(request, "level")
        if level not in LEVELS:
            raise RequestError(f"level is {shown(level)!r}: there are {', '.join(LEVELS)}")
        self._set_verbose(LEVELS[level])
        yield {"v": VERSION, "ok": True, "level": level}

    def reload(self, request: Request) -> Iterator[Line]:
        """Read the settings again."""
        for line in self._reload():
            yield {"v": VERSION, "ok": True, **line} if line else {}
