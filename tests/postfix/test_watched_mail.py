"""Real mail through `scache-conformance watch`: it arrives, connections are reused, wrong servers are caught."""

import re
from contextlib import ExitStack

import pytest
from tests.postfix.private_postfix import Deliveries, PrivatePostfix
from tests.support.processes import module, running
from tests.support.watching import Event, faults, watching

pytestmark = pytest.mark.needs("postfix", "root")

MESSAGES = 200
REUSED_MIN = 180
"""As in test_delivery, without a watcher."""

MESSAGES_OF_A_WRONG_SERVER = 60

WRONG = {
    "newest-first": "ENDP-3",
    "greets-as-something-else": "CONN-1",
    "hands-out-twice": "ENDP-4",
    "hands-out-twice-by-destination": "ENDP-4",
    "hands-out-a-neighbours-descriptor": "FD-13",
    "newest-by-destination": "ENDP-3",
    "miss-is-malformed": "CONN-9",
    "no-properties-on-failure": "CONN-13",
    "sends-another-byte": "FD-6",
    "save-dest-is-only-answered": "DEST-4",
    "find-dest-is-no-request": "CONN-9",
    "find-consumes-its-binding": "DEST-4",
    "find-forgets-equal-sessions": "ENDP-3",
    "descriptor-without-ready": "FD-6",
    "blanks-are-trimmed": "FD-13",
    "equal-session-replaces": "ENDP-3",
    "one-session-per-endpoint": "ENDP-3",
    "bound-endpoint-is-dropped": "DEST-4",
    "properties-swapped": "FD-13",
    "binding-wants-a-session": "DEST-4",
}
"""Wrong servers that real mail meets, by a clause whose fault is seen. Mail sends no malformed request, waits for each
reply, and leaves in no dance, so it meets no others."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try one wrong server, with --full all of them."""
    if "wrong_name" in metafunc.fixturenames:
        metafunc.parametrize("wrong_name", [*WRONG] if metafunc.config.getoption("--full") else [*WRONG][:1])


def deliver(command: tuple[str, ...], messages: int) -> tuple[Deliveries | None, list[Event]]:
    """Have messages delivered past a watcher; return what came of them, None if some were not, and what it printed."""
    with ExitStack() as stack:
        postfix = stack.enter_context(PrivatePostfix(None))
        path = postfix.socket_path.with_name("server")
        stack.enter_context(running("--listen", path, command=command))
        path.chmod(0o666)
        watcher = stack.enter_context(watching(postfix.socket_path, path, "--alone", "--ttl-limit", "2"))
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
