"""The log of scached under master(8): where it goes, what a line looks like, and that nothing forges one."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.postfix.launcher import Starter, miss, scached, texts
from tests.support.client import PATIENCE_S, Client
from tests.support.messages import DONE, DUMMY, MALFORMED, MISSED, find_endp, save_dest

from scache_conformance.servers.postfix import MasterChild
from scache_conformance.servers.target import ServerDied

pytestmark = pytest.mark.needs("postfix", "root")

AS_MASTER = ["-l", "-t", "unix"]

CLIENT = r"client \d+ \(pid \d+, uid \d+\): "


@pytest.mark.parametrize(
    ("environment", "configuration", "options", "tag"),
    [
        (None, (), (), "postfix"),
        (None, ("syslog_name = main",), (), "main"),
        ("logtag", (), (), "logtag"),
        ("logtag", ("syslog_name = main",), (), "logtag"),
        ("logtag", ("syslog_name = main",), ("syslog_name=$syslog_facility/override",), "mail/override"),
        (None, ("multi_instance_name = second",), (), "second"),
    ],
)
def test_lines_begin_with_time_host_and_name(
    start: Starter,
    monkeypatch: pytest.MonkeyPatch,
    environment: str | None,
    configuration: tuple[str, ...],
    options: tuple[str, ...],
    tag: str,
) -> None:
    if environment is not None:
        monkeypatch.setenv("MAIL_LOGTAG", environment)
    child = start(*options, configuration=configuration)
    with Client(child.socket_path) as peer:
        assert peer.say(b"request\0bogus\0\0") == MALFORMED
    (line,) = child.log().splitlines()
    head = rf"[A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d private {tag}/scached\[{child.pid}\]"
    assert re.fullmatch(rf"{head}: warning: {CLIENT}unknown request 'bogus'", line), line


def test_lines_can_have_the_name_that_filters_look_for(start: Starter) -> None:
    child = start("scached_syslog_name=scache")
    with Client(child.socket_path) as peer:
        assert peer.say(b"request\0bogus\0\0") == MALFORMED
    line = rf" private postfix/scache\[{child.pid}\]: warning: {CLIENT}unknown request 'bogus'"
    assert re.search(line, child.log())


def test_last_line_of_a_failed_start_has_that_name_too(start: Starter) -> None:
    with pytest.raises(
        ServerDied, match=r"postfix/scache\[\d+\]: fatal: -o: liveness: 'maybe' is none of off, hup, rdhup"
    ):
        start("scached_liveness=maybe", "scached_syslog_name=scache")


def test_times_are_local_in_the_chroot_too(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    child = start()
    with Client(child.socket_path) as peer:
        assert peer.say(b"request\0bogus\0\0") == MALFORMED
    now = datetime.now(ZoneInfo("Asia/Kolkata"))
    written = datetime.strptime(f"{now.year} {child.log()[:15]}", "%Y %b %d %H:%M:%S").replace(tzinfo=now.tzinfo)
    assert abs((now - written).total_seconds()) < 1800


def test_requests_are_shown_on_demand_with_their_labels(start: Starter) -> None:
    child = start(arguments=[*AS_MASTER, "-v"])
    with Client(child.socket_path) as peer, peer.park(b"end\npoint", b"properties\n"):
        assert peer.say(save_dest(b"destination", b"", b"end\npoint")) == DONE
        peer.pick_up(b"end\npoint", b"properties\n").close()
        assert peer.say(find_endp(b"\x1b[2J\xff" + b"x" * 1000)) == MISSED
    shown = [
        found[1] for line in texts(child) if (found := re.fullmatch(rf"{CLIENT}('[a-z]+_[a-z]+' .*): [^:']+", line))
    ]
    assert shown == [
        r"'save_endp' '600' 'end\npoint' 'properties\n'",
        r"'save_dest' '600' 'destination' '' 'end\npoint'",
        r"'find_endp' 'end\npoint'",
        rf"'find_endp' '\x1b[2J\xff{'x' * 115}'... (1005 bytes)",
    ]


def test_requests_are_not_shown_otherwise(start: Starter) -> None:
    child = start()
    miss(child)
    child.poke()
    assert child.log() == ""


def postlogd_at(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    path.chmod(0o666)
    sock.settimeout(PATIENCE_S)
    return sock


@contextmanager
def child_with_postlogd(folder: Path, *options: str) -> Iterator[tuple[MasterChild, socket.socket, Path]]:
    """Start a child whose log goes to a socket of the test's own, as to a postlogd that reads when the test does."""
    options = ("postlog_service_name=mine", *options)
    child = MasterChild(scached(folder), options=options, drop_privileges=True, chroot=True)
    with ExitStack() as stack:
        stack.callback(child.stop)
        child.prepare()
        path = child.queue_directory / "public" / "mine"
        postlogd = stack.enter_context(postlogd_at(path))
        child.start()
        child.await_greeting()
        yield child, postlogd, path


def next_text(postlogd: socket.socket) -> str:
    return postlogd.recv(1000).decode().partition("]: ")[2]


@pytest.mark.usefixtures("start")
def test_lines_go_to_a_postlogd_that_came_back(tmp_path: Path) -> None:
    """Found again in the chroot, without privileges: by the same name, relative to the queue."""
    with child_with_postlogd(tmp_path) as (child, first, path), Client(child.socket_path) as peer:
        first.close()
        path.unlink()
        assert peer.say(b"request\0between\0\0") == MALFORMED
        with postlogd_at(path) as second:
            assert peer.say(b"request\0after\0\0") == MALFORMED
            miss(child)
            child.signal(signal.SIGTERM)
            assert child.wait() == 0
            lines = [next_text(second) for _ in range(4)]
    wanted = [rf"warning: {CLIENT}unknown request '{name}'" for name in ("between", "after")]
    assert all(map(re.fullmatch, wanted, lines[:2])), lines
    assert lines[2].startswith("statistics: start interval ")
    assert lines[3] == "statistics: address lookup hits=0 miss=1 success=0%"


@pytest.mark.usefixtures("start")
def test_lines_for_a_slow_postlogd_arrive_with_later_turns(tmp_path: Path) -> None:
    queued = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 1
    with (
        child_with_postlogd(tmp_path, "scached_verbose=true") as (child, postlogd, _),
        Client(child.socket_path) as peer,
    ):
        for number in range(queued + 20):
            assert peer.say(find_endp(b"%d" % number)) == MISSED
        labels = [int(next_text(postlogd).split("'")[3]) for _ in range(queued)]
        while len(labels) < queued + 20:
            child.poke()
            labels.append(int(next_text(postlogd).split("'")[3]))
    assert labels == list(range(queued + 20))


def test_mistake_in_the_program_is_logged(start: Starter) -> None:
    prelude = "from scache_fast.engine.server import Server; Server.print_statistics = lambda self: 1 / 0"
    child = start(prelude=prelude)
    child.signal(signal.SIGTERM)
    assert child.wait() == 1
    (line,) = texts(child)
    assert re.fullmatch(r"panic: ZeroDivisionError: division by zero at \S+/scached:\d+", line)


def test_mistake_at_the_start_is_logged_too(start: Starter) -> None:
    prelude = "import scache_fast.process.child as child; child.merge = lambda layers: 1 / 0"
    with pytest.raises(ServerDied, match=r"exit status 1\b.*panic: ZeroDivisionError: division by zero at \S+:\d+"):
        start(prelude=prelude)


@pytest.mark.needs("mounts")
@pytest.mark.needs("mounts")
@pytest.mark.parametrize("facility", ["mail", "local3"])
def test_lines_go_to_syslogd_without_a_maillog_file(start: Starter, tmp_path: Path, facility: str) -> None:
    """With a /dev of the child's own, in a mount namespace of its own: this machine's syslogd hears nothing."""
    devices = tmp_path / "dev"
    devices.mkdir()
    os.mknod(devices / "null", 0o20666, os.stat("/dev/null").st_rdev)
    inner = tmp_path / "inner"
    inner.mkdir()
    script = 'mount --bind "$0" /dev && exec "$@"'
    command = ["/usr/bin/unshare", "-m", "/bin/sh", "-c", script, str(devices), str(scached(inner))]
    prelude = f"""
del os.environ['POSTLOG_SERVICE']
os.environ['PATH'] = '/usr/bin:/bin'
os.execv({command[0]!r}, [*{command!r}, *sys.argv[1:]])
"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslogd:
        syslogd.bind(str(devices / "log"))
        (devices / "log").chmod(0o666)
        syslogd.settimeout(PATIENCE_S)
        child = start("maillog_file=", f"syslog_facility={facility}", prelude=prelude)
        with Client(child.socket_path) as peer:
            assert peer.say(b"request\0bogus\0\0") == MALFORMED
        level = {"mail": 2 * 8 + 4, "local3": 19 * 8 + 4}[facility]
        line = syslogd.recv(1000).decode()
    assert re.fullmatch(
        rf"<{level}>\w+ [ \d]\d [\d:]{{8}} postfix/scached\[{child.pid}\]: warning: {CLIENT}unknown request 'bogus'",
        line,
    )
    assert child.log() == ""


def test_dance_that_is_cut_off_is_no_line(start: Starter) -> None:
    child = start()
    with Client(child.socket_path) as peer:
        peer.send(DUMMY)
    child.poke()
    assert child.log() == ""
