"""Who may connect: the peer's user and groups, as the kernel noted them, against the lists."""

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.client import PATIENCE_S, Client
from tests.support.messages import GREETING, MISSED, find_endp
from tests.support.processes import running
from tests.support.servers import Clock, Lines

from scache_fast.policy import access
from scache_fast.policy.access import Access, Doorkeeper
from scache_spec.vocabulary import NS_PER_S

NOBODY = 65534

VISITOR = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(len(s.recv(100)))"


def greeted(path: Path, *, user: int, group: int, groups: tuple[int, ...] = ()) -> bool:
    """Connect as another user; say whether there was a greeting."""
    # The interpreter itself may lie where that user cannot read: everything is imported before the change.
    change = f"import os, socket; os.setgroups({list(groups)}); os.setgid({group}); os.setuid({user})"
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{change}; {VISITOR}", str(path)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    return int(ended.stdout) == len(GREETING)


@pytest.fixture
def reachable(jail: Path) -> Path:
    """Return a path for a socket that everybody can reach."""
    return jail / "s"


@pytest.mark.needs("root")
def test_without_a_list_everybody_who_can_reach_the_socket_is_let_in(reachable: Path) -> None:
    with running("--listen", reachable, "--mode", "0666"):
        assert greeted(reachable, user=NOBODY, group=NOBODY)
    with running("--listen", reachable), pytest.raises(subprocess.CalledProcessError):
        greeted(reachable, user=NOBODY, group=NOBODY)


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("options", "user", "group", "groups", "let_in"),
    [
        (["--allow-uid", "nobody"], NOBODY, NOBODY, (), True),
        (["--allow-uid", "65534"], NOBODY, 1, (), True),
        (["--allow-uid", "1", "--allow-uid", "2"], 2, 1, (), True),
        (["--allow-uid", "1", "--allow-uid", "2"], 3, 1, (), False),
        (["--allow-uid", "1"], 0, 0, (), False),
        (["--allow-gid", "nogroup"], 1, NOBODY, (), True),
        (["--allow-gid", "nogroup"], 1, 1, (5, NOBODY, 7), True),
        (["--allow-gid", "nogroup"], 1, 1, (5, 7), False),
        (["--allow-gid", "300"], 1, 1, tuple(range(100, 301)), True),
        (["--allow-uid", "1", "--allow-gid", "nogroup"], 2, NOBODY, (), True),
        (["--allow-uid", "1", "--allow-gid", "nogroup"], 2, 2, (), False),
    ],
)
def test_whoever_is_on_a_list_is_let_in_and_nobody_else(
    options: list[str], user: int, group: int, groups: tuple[int, ...], let_in: bool, reachable: Path
) -> None:
    with running("--listen", reachable, "--mode", "0666", *options) as server:
        assert greeted(reachable, user=user, group=group, groups=groups) is let_in
        refusals = [line for line in server.end() if "client refused" in line]
    assert len(refusals) == (not let_in)
    if not let_in:
        assert f"warning: client refused: uid {user}, gid {group}, pid " in refusals[0]
        assert "is on no allow list (1 refused so far)" in refusals[0]


@pytest.mark.needs("root")
def test_refusals_are_counted_and_said_once_for_each_user(reachable: Path) -> None:
    with running("--listen", reachable, "--mode", "0666", "--allow-uid", "0") as server:
        for user in (1, 1, 2, 1, 2):
            assert not greeted(reachable, user=user, group=user)
        with Client(reachable) as client:
            assert client.say(find_endp(b"zz")) == MISSED
        refusals = [line.partition("client refused: ")[2] for line in server.end() if "client refused" in line]
    assert [refusal.split(",")[0] for refusal in refusals] == ["uid 1", "uid 2"]
    assert refusals[1].endswith("(3 refused so far)")


class Stranger:
    """A socket whose peer is whoever one likes."""

    def __init__(self, uid: int, gid: int = 1, groups: bytes | OSError = b"") -> None:
        self._answers = {socket.SO_PEERCRED: struct.pack("3i", 99, uid, gid), 59: groups}

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        answer = self._answers[option]
        if isinstance(answer, OSError):
            raise answer
        return answer


def come(keeper: Doorkeeper, uid: int, gid: int = 1, groups: bytes | OSError = b"") -> bool:
    return keeper.may_connect(Stranger(uid, gid, groups))  # type: ignore[arg-type]


def test_refusal_is_said_again_after_a_minute_and_not_before() -> None:
    clock, log = Clock(), Lines()
    keeper = Doorkeeper(Access(uids=frozenset({7})), log, clock)
    assert come(keeper, 7)
    assert not come(keeper, 8)
    clock.now_ns += 60 * NS_PER_S - 1
    assert not come(keeper, 8)
    assert len(log.warnings) == 1
    clock.now_ns += 1
    assert not come(keeper, 8)
    assert len(log.warnings) == 2
    assert "(3 refused so far)" in log.warnings[1]
    assert keeper.refused == 3


def test_users_who_were_refused_are_not_remembered_without_end() -> None:
    log = Lines()
    keeper = Doorkeeper(Access(uids=frozenset({0})), log, Clock())
    for uid in range(1, 5000):
        come(keeper, uid)
    assert len(log.warnings) == 4999
    assert len(keeper._said_ns) <= access._SAID_MAX


@pytest.mark.parametrize("number", [92, 34, 61, 22])
def test_peer_whose_groups_cannot_be_told_is_judged_by_the_rest(number: int) -> None:
    """ENOPROTOOPT, ERANGE, ENODATA, and one that nobody has foreseen."""
    keeper = Doorkeeper(Access(gids=frozenset({5})), Lines(), Clock())
    assert come(keeper, 1, 5, OSError(number, os.strerror(number)))
    assert not come(keeper, 1, 6, OSError(number, os.strerror(number)))


def test_supplementary_groups_of_this_very_process_are_seen() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert sorted(access._groups(near)) == sorted(os.getgroups())
