"""What systemd and supervisors like it pass, and what they are told."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.activation import listeners, passing
from tests.support.checkout import ROOT
from tests.support.client import PATIENCE_S, Client
from tests.support.descriptors import tcp_pair
from tests.support.messages import DONE, MISSED, find_endp, save_dest
from tests.support.processes import COMMAND, environment, run, running
from tests.support.servers import Clock, Fast, Lines
from tests.support.service_manager import ServiceManager

from scache_fast.process import systemd
from scache_fast.process.logger import Logger
from scache_fast.takeover import volume
from scache_spec.vocabulary import NS_PER_S, Limits

SO_TIMESTAMP, SO_PASSSEC, SO_PASSPIDFD, SO_PASSRIGHTS = 29, 34, 76, 83
"""<asm-generic/socket.h>; the socket module does not name them."""

UNITS = ROOT / "deploy/systemd"


def run_with(
    sock: socket.socket, *arguments: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command, variables, fds = passing(sock)
    return run(*arguments, command=command, env={**variables, **(env or {})}, pass_fds=fds)


def test_any_number_of_passed_sockets_is_listened_on_besides_ones_own(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    with listeners(*paths) as socks:
        command, env, fds = passing(*socks)
        names = {"LISTEN_FDNAMES": "one::three"}
        with running("--listen", tmp_path / "own", command=command, env={**env, **names}, pass_fds=fds) as server:
            for path in (*paths, tmp_path / "own"):
                with Client(path) as client:
                    assert client.say(find_endp(b"zz")) == MISSED
            server.process.send_signal(signal.SIGTERM)
            assert server.line("left in the environment").endswith("[]")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]  # what was passed is not ours to remove


@pytest.mark.parametrize("kind", ["file", "datagram", "TCP", "connected", "not listening"])
def test_anything_else_that_was_passed_is_said_to_be_wrong(kind: str, tmp_path: Path) -> None:
    near, far = socket.socketpair()
    stream, datagram = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    tcp = socket.create_server(("127.0.0.1", 0))
    with near, far, stream, datagram, tcp, (tmp_path / "f").open("w") as file:
        stream.bind(str(tmp_path / "s"))
        datagram.bind(str(tmp_path / "d"))
        sock = {"datagram": datagram, "TCP": tcp, "connected": near, "not listening": stream}.get(kind, stream)
        if kind == "file":
            env = {"PASSED": str(file.fileno()), "LISTEN_FDNAMES": "web"}
            ended = run(command=passing()[0], env=env, pass_fds=[file.fileno()])
        else:
            ended = run_with(sock, env={"LISTEN_FDNAMES": "web"})
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "descriptor 3 (web) was passed and is not a listening UNIX stream socket (systemd: ListenS" in ended.stderr
    assert ("Socket operation on non-socket" in ended.stderr) == (kind == "file")


def test_descriptor_that_was_announced_and_is_closed_is_said(tmp_path: Path) -> None:
    with listeners(tmp_path / "a") as (sock,):
        ended = run_with(sock, env={"LISTEN_FDS": "2"})
    assert ended.returncode == 1
    assert "descriptor 4 (unnamed) was passed and is not a listening UNIX stream socket " in ended.stderr
    assert "Bad file descriptor" in ended.stderr


@pytest.mark.parametrize("count", ["", "x", "-1", "9" * 50])
def test_count_that_is_none_is_said(count: str, tmp_path: Path) -> None:
    with listeners(tmp_path / "a") as (sock,):
        ended = run_with(sock, env={"LISTEN_FDS": count})
    assert ended.returncode == 1
    assert "is not a number; systemd sets it, do not set it by hand" in ended.stderr


def test_what_was_passed_to_another_process_is_not_taken(tmp_path: Path) -> None:
    with listeners(tmp_path / "a") as (sock,):
        ended = run_with(sock, env={"LISTEN_PID": "1"})
    assert ended.returncode == 2
    assert "nothing to listen on" in ended.stderr


def set_option(sock: socket.socket, option: int, value: int) -> bool:
    """Set an option as systemd may have done; False: this kernel has none, and so nobody can have done it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, value)
    except OSError:
        return False
    return True


def test_passed_socket_through_which_nothing_can_be_parked_is_refused(tmp_path: Path) -> None:
    """As AcceptFileDescriptors=no makes it."""
    with listeners(tmp_path / "a") as (sock,):
        if not set_option(sock, SO_PASSRIGHTS, 0):
            return
        ended = run_with(sock, env={"LISTEN_FDNAMES": "web"})
    assert ended.returncode == 1
    assert "fatal: descriptor 3 (web) was passed with SO_PASSRIGHTS off" in ended.stderr
    assert "AcceptFileDescriptors=no" in ended.stderr


@pytest.mark.parametrize("option", [socket.SO_PASSCRED, SO_TIMESTAMP, SO_PASSSEC, SO_PASSPIDFD])
def test_options_that_add_to_what_is_received_are_switched_off(option: int, tmp_path: Path) -> None:
    with listeners(tmp_path / "a") as (sock,):
        if not set_option(sock, option, 1):
            return
        command, env, fds = passing(sock)
        with running("--ttl-limit", "1h", command=command, env=env, pass_fds=fds) as server:
            assert sock.getsockopt(socket.SOL_SOCKET, option) == 0
            with Client(tmp_path / "a") as client:
                before = server.descriptors
                for _ in range(3):
                    with client.park(b"e"), client.pick_up(b"e"):
                        pass
                assert client.say(find_endp(b"zz")) == MISSED
                server.await_descriptors(before)


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_RDWR])
@pytest.mark.parametrize("count", [1, 2])
def test_end_of_the_last_listening_socket_ends_the_server(count: int, how: int, tmp_path: Path) -> None:
    """Whoever shares a listening socket can shut it down."""
    with listeners(*(tmp_path / name for name in "ab"[:count])) as socks:
        command, env, fds = passing(*socks)
        with running(command=command, env=env, pass_fds=fds) as server:
            for sock in socks[1:]:
                sock.shutdown(how)
                server.line("warning: another process shut a listening socket down")
            with Client(tmp_path / "a") as client:
                assert client.say(find_endp(b"zz")) == MISSED
                socks[0].shutdown(how)
                assert client.is_closed()
            assert server.process.wait(PATIENCE_S) == 1
            server.line("fatal: no listening socket is left: another process has shut it down")
            server.line("statistics: address lookup hits=0 miss=1")


def test_listening_socket_that_another_makes_blocking_holds_up_nobody(tmp_path: Path) -> None:
    """Whoever shares a listening socket can switch O_NONBLOCK off."""
    with listeners(tmp_path / "s") as (sock,):
        command, env, fds = passing(sock)
        with running(command=command, env=env, pass_fds=fds) as server, Client(tmp_path / "s") as client:
            sock.setblocking(True)
            with Client(tmp_path / "s"):
                assert client.say(find_endp(b"zz")) == MISSED
            server.end()


# Notifications.


class Supervised:
    """A server in this process with a notifier around it."""

    def __init__(self, address: str, watchdog_usec: str | None = None, watchdog_pid: str | None = None) -> None:
        self.receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.bind("\0" + address[1:] if address.startswith("@") else address)
        self.receiver.setblocking(False)
        variables = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": watchdog_usec, "WATCHDOG_PID": watchdog_pid}
        self.clock = Clock()
        self.warnings = Lines()
        log = Logger(lambda priority, line: self.warnings.warning(line))
        self._notifier = systemd.Notifier(
            {name: value for name, value in variables.items() if value is not None}, None, log, self.clock
        )
        self.supervisor = self._notifier.supervisor()
        self.house = Fast(after_turn=self.supervisor.after_turn)

    def __enter__(self) -> "Supervised":
        assert self.supervisor.ready is not None
        self.supervisor.ready(self.house.server)
        return self

    def __exit__(self, *_: object) -> None:
        self.house.__exit__()
        self.receiver.close()
        assert self._notifier.notices.sock is not None
        self._notifier.notices.sock.close()

    def told(self) -> list[str]:
        """Return what came since the last call."""
        messages = []
        while True:
            try:
                messages.append(self.receiver.recv(1000).decode())
            except BlockingIOError:
                return messages

    def after(self, seconds: float) -> list[str]:
        """Let time pass and a turn be taken; return what came."""
        self.clock.now_ns += round(seconds * NS_PER_S)
        self.house.turn()
        return self.told()


EMPTY = "STATUS=0 clients; 0 connections of 0 endpoints; 0 bindings of 0 destinations"


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_ready_and_status_are_told(kind: str, tmp_path: Path) -> None:
    address = f"@scached-test-{os.getpid()}" if kind == "abstract" else str(tmp_path / "notify")
    with Supervised(address) as supervised:
        assert supervised.told() == [f"READY=1\n{EMPTY}"]
        peer = supervised.house.peer()
        with peer.park(b"e"):
            peer.say(save_dest(b"d", b"p", b"e"))
            peer.say(save_dest(b"d", b"p", b"f"))
            assert supervised.after(4.999) == []
            assert supervised.after(0.001) == [
                "STATUS=1 clients; 1 connections of 1 endpoints; 2 bindings of 1 destinations"
            ]
            assert supervised.after(5) == []  # nothing has changed
            peer.close()
            supervised.house.turn()
            assert supervised.after(5) == [
                "STATUS=0 clients; 1 connections of 1 endpoints; 2 bindings of 1 destinations"
            ]


def test_status_of_an_idle_server_is_told_all_the_same(tmp_path: Path) -> None:
    """A turn is taken now and then without anything to do, so that the last change does not wait for the next one."""
    with Supervised(str(tmp_path / "n")) as supervised:
        assert supervised.supervisor.turn_s_max == 5


def test_watchdog_is_patted_from_inside_the_loop_often_enough(tmp_path: Path) -> None:
    with Supervised(str(tmp_path / "n"), "4000000") as supervised:
        assert supervised.supervisor.turn_s_max == 2
        supervised.told()
        assert supervised.after(0.999) == []
        assert supervised.after(0.001) == ["WATCHDOG=1"]
        assert supervised.after(0.5) == []
        assert supervised.after(2) == ["WATCHDOG=1"]


@pytest.mark.parametrize(("pid", "patted"), [(None, True), ("own", True), ("1", False)])
def test_watchdog_of_another_process_is_left_alone(pid: str | None, patted: bool, tmp_path: Path) -> None:
    with Supervised(str(tmp_path / "n"), "4000000", str(os.getpid()) if pid == "own" else pid) as supervised:
        supervised.told()
        assert supervised.after(4) == (["WATCHDOG=1"] if patted else [])


@pytest.mark.parametrize("usec", ["", "0", "-5", "x", "9" * 5000])
def test_watchdog_time_that_is_none_is_no_watchdog(usec: str, tmp_path: Path) -> None:
    with Supervised(str(tmp_path / "n"), usec) as supervised:
        supervised.told()
        assert supervised.after(1) == []
        assert supervised.supervisor.turn_s_max == 5


def test_supervisor_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    with Supervised(str(tmp_path / "n"), "4000000") as supervised:
        peer = supervised.house.peer()
        for _ in range(1000):
            supervised.clock.now_ns += 5 * NS_PER_S
            assert peer.say(find_endp(b"zz")) == MISSED
        supervised.receiver.close()
        supervised.clock.now_ns += 5 * NS_PER_S
        assert peer.say(find_endp(b"zz")) == MISSED
        assert supervised.warnings.warnings == []


@pytest.mark.parametrize("address", ["/no/such/socket", "x" * 200, "vsock:2:1234"])
def test_supervisor_that_cannot_be_told_is_a_warning(address: str, tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s", env={"NOTIFY_SOCKET": address}) as server:
        # Read together with the line that was waited for.
        assert f"warning: cannot notify NOTIFY_SOCKET={address!r}: " in server.lines[0]
        assert "None" not in server.lines[0]


def test_everything_is_told_by_a_real_process_and_it_ends_when_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(PATIENCE_S)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"}
        with running("--listen", tmp_path / "s", env=env) as server:
            assert receiver.recv(1000).decode() == f"READY=1\n{EMPTY}"
            assert receiver.recv(1000) == b"WATCHDOG=1"
            assert receiver.recv(1000) == b"WATCHDOG=1"  # though nobody comes
            server.end()
        last = b""
        while last != b"STOPPING=1":
            last = receiver.recv(1000)


def test_ready_descriptor_gets_a_newline_and_is_closed(tmp_path: Path) -> None:
    read, write = os.pipe()
    arguments = ["--ready-fd", str(write)]
    with open(read, "rb") as ready, running("--listen", tmp_path / "s", *arguments, pass_fds=[write]) as server:
        os.close(write)
        assert ready.read() == b"\n"
        assert not os.path.exists(f"/proc/{server.pid}/fd/{write}")


def test_ready_descriptor_that_nobody_reads_is_a_warning(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        with running("--listen", tmp_path / "s", "--ready-fd", str(write), pass_fds=[write]) as server:
            server.line(f"warning: cannot tell descriptor {write} about readiness: Broken pipe")
            with Client(tmp_path / "s"):
                pass
    finally:
        os.close(write)


def test_ready_descriptor_that_cannot_be_written_to_is_wrong(tmp_path: Path) -> None:
    with open("/dev/null", "rb") as file:
        fd = file.fileno()
        ended = run("--listen", tmp_path / "s", "--ready-fd", str(fd), pass_fds=[fd])
    assert ended.returncode == 1
    assert f"descriptor {fd} (readiness) is open for reading only" in ended.stderr


def test_ready_descriptor_cannot_be_a_passed_socket(tmp_path: Path) -> None:
    with listeners(tmp_path / "a") as (sock,):
        ended = run_with(sock, "--ready-fd", "3")
    assert ended.returncode == 1
    assert "descriptor 3 (readiness) is a socket that was passed to listen on" in ended.stderr


# The units.


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a folder with the units as installed: with a command that exists, without the manual page's being so."""
    for unit in ("scached.service", "scached.socket", "scached-admin.socket"):
        text = (UNITS / unit).read_text(encoding="utf-8")
        assert "ExecStart=/usr/bin/scached " in text or unit.endswith(".socket")
        (tmp_path / unit).write_text(without_commands(text), encoding="utf-8")
    return tmp_path


def without_commands(unit: str) -> str:
    unit = re.sub("/usr/bin/scache(d|ctl) ", "/bin/true ", unit)
    return re.sub("^Documentation=.*\n", "", unit, flags=re.MULTILINE)


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        env={**os.environ, "SYSTEMD_EMOJI": "0"},
    )  # fmt: skip


@pytest.mark.needs("systemd")
def test_units_are_verified(units: Path) -> None:
    verified = analyze("verify", units / "scached.service", units / "scached.socket", units / "scached-admin.socket")
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@pytest.mark.needs("systemd")
def test_template_units_are_verified_and_two_instances_share_nothing(tmp_path: Path) -> None:
    settings: list[str] = []
    for name in ("scached.service", "scached.socket", "scached-admin.socket"):
        command = ["sed", "-f", str(UNITS / "instances.sed"), str(UNITS / name)]
        made = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        (tmp_path / name.replace(".", "@.")).write_text(without_commands(made), encoding="utf-8")
        settings += [line for line in made.splitlines() if not line.startswith(("#", "Documentation="))]
    instances = ("scached@web.service", "scached@web.socket", "scached-admin@web.socket")
    verified = analyze("verify", *(tmp_path / name for name in instances))
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    named = [line for line in settings if re.search(r"/run/|\.(toml|socket|service)\b", line)]
    assert len(named) == 12
    assert [line for line in named if "%i" not in line] == []


@pytest.mark.needs("systemd")
def test_mistake_in_a_unit_is_found(units: Path) -> None:
    with (units / "scached.service").open("a", encoding="utf-8") as unit:
        unit.write("[Service]\nProtectSytem=strict\n")
    verified = analyze("verify", units / "scached.service")
    assert "ProtectSytem" in verified.stderr


def test_store_of_the_unit_has_room_for_everything_that_may_be_parked() -> None:
    text = (UNITS / "scached.service").read_text(encoding="utf-8")
    entries, descriptors = (
        int(re.findall(rf"^{key}=(\d+)$", text, re.MULTILINE)[0]) for key in ("FileDescriptorStoreMax", "LimitNOFILE")
    )
    limits = Limits()
    assert entries >= volume.volumes_max(descriptors, limits.bindings_max, limits.cached_bytes_max)


EXPOSURE_MAX = 0.7
"""Out of 10, where 9.6 is a unit without any of it. systemd calls everything below 2 "safe"."""


@pytest.mark.needs("systemd")
def test_service_is_hardly_exposed(units: Path, record_property: Callable[[str, object], None]) -> None:
    judged = analyze("security", "--offline=true", units / "scached.service")
    found = re.search(r"Overall exposure level for scached.service: ([0-9.]+)", judged.stdout)
    assert found is not None, judged
    record_property("exposure", found[1])
    assert float(found[1]) <= EXPOSURE_MAX


def syscalls_of(group: str) -> set[str]:
    """Return the system calls of a group, as systemd has it."""
    names: set[str] = set()
    for line in analyze("syscall-filter", group).stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            names |= syscalls_of(name)
        elif name and not name.startswith("#"):
            names.add(name)
    return names


def filtered_calls() -> set[str]:
    """Return the system calls that the unit allows."""
    text = (UNITS / "scached.service").read_text(encoding="utf-8")
    allowed: set[str] = set()
    for groups in re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE):
        named = set[str]().union(*(syscalls_of(group) for group in groups.lstrip("~").split()))
        allowed = allowed - named if groups.startswith("~") else allowed | named
    return allowed | syscalls_of("@default")


@pytest.mark.needs("systemd", "strace")
def test_unit_allows_every_system_call_that_is_made(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with listeners(tmp_path / "a") as (sock,), ServiceManager(tmp_path / "notify", 64) as manager:
        command, env, fds = passing(sock)
        env["NOTIFY_SOCKET"] = str(manager.path)
        traced = ["strace", "-f", "-qq", "-o", str(trace), *command]
        with running("--farewell", r"*=QUIT\r\n", "--liveness", "rdhup", "--allow-gid", "12345", "--allow-uid", "0",
                     command=traced, env=env, pass_fds=fds) as server:  # fmt: skip
            with Client(tmp_path / "a") as client:
                client.park(b"e").close()
                with client.park(b"f"), client.pick_up(b"f"):
                    pass
                with client.park(b"g", ttl=b"1") as far:
                    assert far.recv(100) == b"QUIT\r\n"
                client.park(b"left").close()
                near, far = tcp_pair()
                with near, far:
                    assert client.save(b"left", near.fileno()) == DONE
            # strace passes no signal on: end the server itself.
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii").split()
            manager.end(server, int(children[0]))
        assert manager.stored
        stored = [descriptor for _, descriptor in manager.stored]
        command, more, fds = passing(sock, *stored)
        env |= more | {"LISTEN_FDNAMES": f"scached.socket:{manager.names}"}
        again = ["strace", "-f", "-qq", "-A", "-o", str(trace), *command]
        with running(command=again, env=env, pass_fds=fds) as server:
            server.line("1 parked connections and 0 bindings are back")
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii").split()
            manager.end(server, int(children[0]))
    made = set(re.findall(r"^[0-9]+ +([a-z0-9_]+)\(", trace.read_text(errors="replace"), re.MULTILINE))
    assert {"accept4", "recvmsg", "sendmsg", "epoll_wait", "memfd_create"} <= made
    assert made - filtered_calls() == set()


@pytest.mark.needs("systemd")
def test_first_client_starts_it_by_socket_activation(tmp_path: Path) -> None:
    path = tmp_path / "s"
    process = subprocess.Popen(
        # It passes no environment on but what it is told to.
        ["systemd-socket-activate", "--listen", str(path), "-E", f"PYTHONPATH={environment()['PYTHONPATH']}", *COMMAND],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert "Listening on" in process.stderr.readline()
        with Client(path) as client:
            assert client.say(find_endp(b"zz")) == MISSED
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        assert "address lookup hits=0 miss=1" in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
