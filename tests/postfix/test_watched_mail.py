"""Real mail through `scache-conformance watch`: it arrives, connections are reused, wrong servers are caught."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.postfix.private_postfix import Deliveries, PrivatePostfix
from tests.support.processes import module, running
from tests.support.watching import Event, Watcher, faults, watching

pytestmark = pytest.mark.needs("postfix", "root")

MESSAGES = 200
REUSED_MIN = 180
"""As in test_delivery, without a watcher."""

MESSAGES_OF_A_WRONG_SERVER = 60

WRONG = {
    "greets-as-something-else": "CONN-1",
    "hands-out-twice": "ENDP-4",
    "hands-out-twice-by-destination": "ENDP-4",
    "miss-is-malformed": "CONN-9",
    "no-properties-on-failure": "CONN-13",
    "sends-another-byte": "FD-6",
    "save-dest-is-only-answered": "DEST-4",
    "find-dest-is-no-request": "CONN-9",
    "descriptor-without-ready": "FD-6",
    "blanks-are-trimmed": "FD-13",
    "bound-endpoint-is-dropped": "DEST-4",
    "properties-swapped": "FD-13",
}
"""Wrong servers that any mail meets, by a clause whose fault is seen. Mail sends no malformed request, waits for each
reply, and leaves in no dance."""

WRONG_WITH_EQUAL_SESSIONS = {
    "newest-first": "ENDP-3",
    "newest-by-destination": "ENDP-3",
    "find-forgets-equal-sessions": "ENDP-3",
    "equal-session-replaces": "ENDP-3",
    "one-session-per-endpoint": "ENDP-3",
    "hands-out-a-neighbours-descriptor": "FD-13",
    "find-consumes-its-binding": "DEST-4",
}
"""Wrong servers that mail meets where several sessions of one endpoint are parked, or looked for, at once."""

AT_ONCE = (5, 1, 1, 1, 1, 1, 1, 5, 5)
"""Messages that wait for the sink at once: five sessions are parked; each is found alone and parked again, which tells
in which order they are handed out; then all are looked for at once."""

TTL_OF_EQUAL_SESSIONS_S = 100
"""So long that none expires on a busy machine between its save and its find."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try one wrong server of each kind, with --full all of them."""
    for argument, names in (("wrong_name", [*WRONG]), ("equal_name", [*WRONG_WITH_EQUAL_SESSIONS])):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, names if metafunc.config.getoption("--full") else names[:1])


@contextmanager
def watched_postfix(command: tuple[str, ...], ttl_s: int = 2) -> Iterator[tuple[PrivatePostfix, Watcher]]:
    """Run a Postfix, a watcher, and a server as its connection cache."""
    with ExitStack() as stack:
        settings = f"smtp_connection_cache_time_limit = {ttl_s}\n"
        postfix = stack.enter_context(PrivatePostfix(None, settings=settings))
        path = postfix.socket_path.with_name("server")
        stack.enter_context(running("--listen", path, "--ttl-limit", f"{ttl_s}s", command=command))
        path.chmod(0o666)
        yield postfix, stack.enter_context(watching(postfix.socket_path, path, "--alone", "--ttl-limit", str(ttl_s)))


def deliver(command: tuple[str, ...], messages: int) -> tuple[Deliveries | None, list[Event]]:
    """Have messages delivered past a watcher; return what came of them, None if some were not, and what it printed."""
    with watched_postfix(command) as (postfix, watcher):
        try:
            deliveries = postfix.deliver(messages)
        except AssertionError as error:
            if not re.match("not every message was sent", str(error)):
                raise
            deliveries = None
        return deliveries, watcher.end()


def test_mail_arrives_and_reuses_connections_as_without_a_watcher() -> None:
    deliveries, events = deliver(module("scache_fast"), MESSAGES)
    assert deliveries is not None
    assert (deliveries.sent, deliveries.warnings) == (MESSAGES, ())
    assert deliveries.reused >= REUSED_MIN
    assert faults(events) == faults(events, "client") == []


@pytest.mark.generated
def test_wrong_server_is_caught_under_mail(wrong_name: str) -> None:
    _, events = deliver((*module("tests.wrong"), wrong_name), MESSAGES_OF_A_WRONG_SERVER)
    assert WRONG[wrong_name] in faults(events)


@pytest.mark.generated
def test_binding_that_wants_a_session_is_caught_when_one_message_follows_another() -> None:
    # smtp(8) saves a destination before its endpoint. A second save finds a session, and nothing is seen.
    with watched_postfix((*module("tests.wrong"), "binding-wants-a-session"), TTL_OF_EQUAL_SESSIONS_S) as (
        postfix,
        watcher,
    ):
        for _ in range(2):
            postfix.deliver_at_once(1)
        events = watcher.end()
    assert "DEST-4" in faults(events)


@pytest.mark.generated
def test_wrong_server_is_caught_once_equal_sessions_are_parked(equal_name: str) -> None:
    with watched_postfix((*module("tests.wrong"), equal_name), TTL_OF_EQUAL_SESSIONS_S) as (postfix, watcher):
        for messages in AT_ONCE:
            postfix.deliver_at_once(messages)
        events = watcher.end()
    assert WRONG_WITH_EQUAL_SESSIONS[equal_name] in faults(events)
