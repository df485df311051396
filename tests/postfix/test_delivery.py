"""The main job, on real mail: Postfix delivers, and reuses the connections that the cache holds.

Each server takes its turn behind the same Postfix. The first is Postfix's own: what the others are measured against.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.postfix.private_postfix import Deliveries, PrivatePostfix, read_deliveries
from tests.support.processes import ended, standing

NEEDS_POSTFIX = pytest.mark.needs("postfix", "root")

MESSAGES = 200
REUSED_MIN = 180
"""Of 200 messages with 5 at a time: Postfix's own server reaches 190 to 195, and no reuse at all would be 0."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Stop what a test started, in the opposite order, also when it fails."""
    with ExitStack() as stack:
        yield stack


def run_postfix(stack: ExitStack, cache: str | None) -> PrivatePostfix:
    return stack.enter_context(PrivatePostfix(cache))


def check(deliveries: Deliveries) -> None:
    assert deliveries.warnings == ()
    assert deliveries.unsent == ()
    assert deliveries.sent == MESSAGES
    assert deliveries.reused >= REUSED_MIN


@NEEDS_POSTFIX
def test_mail_reuses_connections_of_the_real_scache(stack: ExitStack) -> None:
    check(run_postfix(stack, "scache").deliver(MESSAGES))


@NEEDS_POSTFIX
@pytest.mark.parametrize("module", ["scache_fast", "scache_reference"])
def test_mail_reuses_connections_of_a_server_beside_postfix(stack: ExitStack, module: str) -> None:
    postfix = run_postfix(stack, None)
    stack.enter_context(standing(module, postfix.socket_path))
    check(postfix.deliver(MESSAGES))


@NEEDS_POSTFIX
def test_no_server_is_seen_in_the_log(stack: ExitStack) -> None:
    """The tests above can fail: without a cache smtp(8) warns and opens a connection for nearly each message."""
    deliveries = run_postfix(stack, None).deliver(5)
    assert deliveries.sent == 5
    assert any("disabling connection caching" in line for line in deliveries.warnings)


@NEEDS_POSTFIX
def test_postfix_leaves_nothing_behind() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with ExitStack() as stack:
        postfix = run_postfix(stack, "scache")
        postfix.deliver(5)
        processes, folder = postfix.children(), postfix.socket_path.parents[2]
        assert len(processes) > 5
    assert [pid for pid in processes if not ended(pid, 0)] == []
    assert not folder.exists()
    assert set(os.listdir("/proc/self/fd")) == before


def test_log_is_read_as_postfix_writes_it() -> None:
    start = "Nov 22 11:03:25 private postfix/"
    to = "to=<to@sink.example>, relay=127.64.0.9[127.64.0.9]:2600,"
    lines = [
        f"smtp[7]: A1: {to} delay=0.1, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok)",
        f"smtp[7]: A2: {to} conn_use=2, delay=0.1, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok)",
        f"smtp[7]: A3: {to} conn_use=10, delay=0.1, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok)",
        f"smtp[7]: A4: {to} delay=0.1, delays=0/0/0/0, dsn=4.4.1, status=deferred (connect refused)",
        "smtp[7]: warning: problem talking to service private/scache: Connection refused",
        "smtp[7]: A5: warning: to one message",
        "scache[8]: statistics: domain lookup hits=1 miss=0 success=100%",
    ]
    found = read_deliveries("".join(f"{start}{line}\n" for line in lines))
    assert (found.sent, found.reused, len(found.unsent), len(found.warnings)) == (3, 2, 1, 2)
