"""The main job in the very place it is for: a private Postfix whose master(8) starts scached.

Each delivery must succeed whatever happens to the cache in the meantime, and reuse must come back afterwards. The
messages are small and the machine is fast: what happens "in mid-traffic" is timed by what the log shows.
"""

import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from tests.postfix.launcher import scached
from tests.postfix.private_postfix import Deliveries, PrivatePostfix, read_deliveries, service_command
from tests.support.checkout import ROOT
from tests.support.client import PATIENCE_S, Client
from tests.support.messages import MALFORMED, MISSED, find_endp
from tests.support.processes import ended

from scache_conformance.servers.postfix import postfix_parameter
from scache_ctl import exits
from scache_ctl.__main__ import main as scachectl

pytestmark = pytest.mark.needs("postfix", "root")

MESSAGES: Final = 200
REUSED_MIN: Final = 180

_TRIED_AGAIN: Final = re.compile(r": warning: problem talking to service \S+: ")

_BEING_WRITTEN: Final = re.compile(r"/postsuper\[\d+\]: warning: bogus file name: incoming/\d+\.\d+$")
"""At a reload postsuper(1) looks through the queue; a message that is just handed in has no proper name yet."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Stop what a test started, in the opposite order, also when it fails."""
    with ExitStack() as stack:
        yield stack


def run_postfix(stack: ExitStack, command: str, *, chroot: bool = True, settings: str = "") -> PrivatePostfix:
    return stack.enter_context(PrivatePostfix(command, chroot=chroot, settings=settings))


def cache_pid(postfix: PrivatePostfix) -> int:
    """Return the process that is the cache."""
    found = [pid for pid in postfix.children() if command_name(pid) == "scached"]
    assert len(found) == 1, found
    return found[0]


def command_name(pid: int) -> str:
    """Return what a process's program or script is called; nothing if the process is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    names = [os.path.basename(word) for word in words]
    return "scached" if "scached" in names[:3] else names[0]


def deliver_and_disturb(postfix: PrivatePostfix, disturb: Callable[[], None]) -> Deliveries:
    """Deliver messages, and do something when some of them are out and some will not be when it is done."""
    before = postfix.deliver(5).sent
    with postfix.handing_in(2 * MESSAGES):
        postfix.await_sent(before + MESSAGES // 8)
        disturb()
        assert read_deliveries(postfix.log()).sent < before + MESSAGES * 7 // 4, "the disturbance came too late"
    return postfix.await_sent(before + 2 * MESSAGES)


def check_reuse_goes_on(postfix: PrivatePostfix, deliveries: Deliveries) -> None:
    """Deliver some more messages; all but the first few go over a connection that was there."""
    assert postfix.deliver(MESSAGES // 4).reused - deliveries.reused >= MESSAGES // 4 - 10


@pytest.mark.parametrize("chroot", [True, False], ids=["chroot", "no chroot"])
def test_mail_reuses_connections_of_scached_started_by_master(stack: ExitStack, tmp_path: Path, chroot: bool) -> None:
    postfix = run_postfix(stack, service_command(scached(tmp_path)), chroot=chroot)
    deliveries = postfix.deliver(MESSAGES)
    assert deliveries.warnings == ()
    assert deliveries.unsent == ()
    assert deliveries.sent == MESSAGES
    assert deliveries.reused >= REUSED_MIN
    is_elsewhere = Path(f"/proc/{cache_pid(postfix)}/root").readlink() != Path("/")
    assert is_elsewhere == chroot


def test_reason_of_a_failed_start_is_in_the_mail_log(stack: ExitStack, tmp_path: Path) -> None:
    postfix = run_postfix(stack, service_command(scached(tmp_path)) + " -o scached_liveness=maybe")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(postfix.socket_path))
        postfix.await_log(lambda log: "/scached[" in log and "fatal: -o: liveness: 'maybe' is none of off" in log)


def test_reload_in_the_middle_loses_no_message(stack: ExitStack, tmp_path: Path) -> None:
    postfix = run_postfix(stack, service_command(scached(tmp_path)))
    postfix.deliver(5)
    before = cache_pid(postfix)
    deliveries = deliver_and_disturb(postfix, lambda: postfix.command("reload"))
    # Whoever is in the middle of a request when its server ends says so, and tries again: Postfix's own programs too.
    rest = [line for line in deliveries.warnings if not _TRIED_AGAIN.search(line) and not _BEING_WRITTEN.search(line)]
    assert rest == []
    assert ended(before, int(PATIENCE_S * 1000))
    assert f"/scached[{before}]: statistics: domain lookup " in postfix.log()
    check_reuse_goes_on(postfix, deliveries)
    assert cache_pid(postfix) != before


def test_death_in_the_middle_loses_no_message(stack: ExitStack, tmp_path: Path) -> None:
    postfix = run_postfix(stack, service_command(scached(tmp_path)))
    postfix.deliver(5)
    before = cache_pid(postfix)
    deliveries = deliver_and_disturb(postfix, lambda: os.kill(before, signal.SIGKILL))
    (killed,) = [line for line in deliveries.warnings if not _TRIED_AGAIN.search(line)]
    assert killed.endswith(f"/scached pid {before} killed by signal 9")
    check_reuse_goes_on(postfix, deliveries)
    assert cache_pid(postfix) != before


def test_idle_cache_ends_and_is_started_again_when_needed(stack: ExitStack, tmp_path: Path) -> None:
    # For every service, smtp(8) included: it stays connected to the cache for as long as it lives.
    postfix = run_postfix(stack, service_command(scached(tmp_path)), settings="max_idle = 1s\n")
    postfix.deliver(5)
    before = cache_pid(postfix)
    assert ended(before, int(PATIENCE_S * 1000))
    postfix.await_log(lambda log: f"/scached[{before}]: statistics: max simultaneous " in log)
    deliveries = postfix.deliver(MESSAGES)
    assert deliveries.warnings == ()
    assert deliveries.reused >= REUSED_MIN
    assert cache_pid(postfix) != before


def test_postlogd_that_dies_gets_the_later_lines(stack: ExitStack, tmp_path: Path) -> None:
    postfix = run_postfix(stack, service_command(scached(tmp_path)))
    postfix.deliver(5)
    (postlogd,) = [pid for pid in postfix.children() if command_name(pid) == "postlogd"]
    os.kill(postlogd, signal.SIGKILL)
    assert ended(postlogd, int(PATIENCE_S * 1000))
    os.kill(cache_pid(postfix), signal.SIGUSR1)
    postfix.await_log(lambda log: "/scached[" in log and "statistics: max simultaneous " in log)
    assert postfix.deliver(5).sent == 10


def test_end_of_the_service_ends_it_at_once_with_statistics(stack: ExitStack, tmp_path: Path) -> None:
    # SIGTERM is what master(8) sends it at `postfix stop`; only then postlogd gets one too, and the lines are lost.
    postfix = run_postfix(stack, service_command(scached(tmp_path)))
    with Client(postfix.socket_path) as peer:
        assert peer.say(find_endp(b"nothing")) == MISSED
        cache = cache_pid(postfix)
        os.kill(cache, signal.SIGTERM)
        assert peer.is_closed()
    postfix.await_log(lambda log: f"/scached[{cache}]: statistics: address lookup hits=0 miss=1 success=0%" in log)


def daemons_with(program: Path, folder: Path) -> str:
    """Make a daemon_directory of copies of Postfix's own programs and one more; return the line of main.cf."""
    shutil.copytree(postfix_parameter("daemon_directory"), folder / "daemons")
    shutil.copy(program, folder / "daemons")
    return f"daemon_directory = {folder / 'daemons'}\n"


def test_lines_of_the_instructions_work_as_they_stand(stack: ExitStack, tmp_path: Path) -> None:
    instructions = (ROOT / "deploy" / "postfix" / "README.md").read_text()
    lines = re.findall(
        r"^ +scache +unix  -       -       y       -       1       (scached.*(?:\n +-o.*)*)", instructions, re.M
    )
    assert [line.partition("\n")[0] for line in lines] == ["scached", "scached"]
    postfix = run_postfix(stack, lines[1], settings=daemons_with(scached(tmp_path), tmp_path))
    with (
        Client(postfix.socket_path) as peer,
        peer.park(b"smtp\nexpiring") as expiring,
        peer.park(b"smtp\ndead") as dead,
    ):
        dead.shutdown(socket.SHUT_WR)
        assert peer.say(find_endp(b"smtp\ndead")) == MISSED
        assert expiring.recv(100) == b"QUIT\r\n"
        assert peer.say(b"request\0bogus\0\0") == MALFORMED
    log = postfix.await_log(lambda log: "bogus" in log)
    assert re.search(
        rf" private postfix/scached\[{cache_pid(postfix)}\]: "
        r"warning: client \d+ \(pid \d+, uid \d+\): unknown request 'bogus'$",
        log,
        re.M,
    )


def test_way_from_one_server_to_the_other_and_back_is_one_word_and_a_reload(stack: ExitStack, tmp_path: Path) -> None:
    postfix = run_postfix(stack, "scache", settings=daemons_with(scached(tmp_path), tmp_path))
    master_cf = postfix.socket_path.parents[2] / "etc" / "master.cf"
    deliveries = postfix.deliver(MESSAGES // 4)
    for old, new in (("scache", "scached"), ("scached", "scache")):
        master_cf.write_text(master_cf.read_text().replace(f" 1 {old}\n", f" 1 {new}\n"))
        postfix.command("reload")
        before = deliveries
        deliveries = postfix.deliver(MESSAGES // 4)
        assert deliveries.reused - before.reused >= MESSAGES // 4 - 10
        running = {command_name(pid) for pid in postfix.children()}
        assert running & {"scache", "scached"} == {new}
    assert [line for line in deliveries.warnings if not _TRIED_AGAIN.search(line)] == []


def test_operator_lists_flushes_and_is_refused_a_reload(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "admin.sock"
    command = f"{service_command(scached(tmp_path))} -o scached_admin={path}"
    postfix = run_postfix(stack, command, settings="connection_cache_ttl_limit = 600s\n")
    with Client(postfix.socket_path) as peer, peer.park(b"smtp\none") as parked, peer.park(b"lmtp\ntwo"):
        assert scachectl(["--admin", str(path), "--json", "list", "endpoints"]) == exits.DONE
        listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(row["endpoint"], row["uid"]) for row in listed] == [("smtp\none", 0), ("lmtp\ntwo", 0)]
        assert scachectl(["--admin", str(path), "flush", "endpoints", "--glob", "smtp*"]) == exits.DONE
        assert parked.recv(1) == b""
        assert scachectl(["--admin", str(path), "reload"]) == exits.REFUSED
        assert "run 'postfix reload'" in capsys.readouterr().err
        assert scachectl(["--admin", str(path), "takeover"]) == exits.REFUSED
        assert "master(8) knows one child" in capsys.readouterr().err
        before = postfix.log()
        os.kill(cache_pid(postfix), signal.SIGHUP)
        kept = ": warning: the settings stay as they are: under master(8) settings are read at the start only"
        log = postfix.await_log(lambda log: kept in log[len(before) :])
        peer.pick_up(b"lmtp\ntwo").close()
    assert log[len(before) :].count(kept) == 1
