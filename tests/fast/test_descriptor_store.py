"""What is parked survives the restart of a service: LIFE-13, with a stand-in for systemd.

`make deb-check` does it with systemd itself. The death of a process at any step needs no test of its own: there is one
read that takes something out of the store, and nothing is left there while a server serves.
"""

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.support.activation import listeners, passing
from tests.support.client import Client
from tests.support.descriptors import is_hung_up, tcp_pair
from tests.support.messages import DONE, find_endp, found, save_dest
from tests.support.processes import Running, running
from tests.support.servers import Fast
from tests.support.service_manager import ServiceManager

from scache_fast.admin.client import AdminClient
from scache_fast.engine.table import Session
from scache_fast.process.descriptor_store import DescriptorStore
from scache_fast.process.logger import Logger
from scache_fast.process.main_process import STORE_NAME, Notices
from scache_fast.takeover import snapshot, volume
from scache_fast.takeover.snapshot import Kind
from scache_fast.takeover.volume import Volume

OPTIONS = ("--ttl-limit", "600", "--busy-poll", "0", "--farewell", "*=bye")

LINGER = struct.pack("ii", 1, 60)


class Service:
    """A server that is started with its listening socket and what is in the store, like a unit of systemd."""

    def __init__(self, folder: Path, listener: socket.socket, manager: ServiceManager) -> None:
        self.path = folder / "s"
        self.admin = folder / "admin"
        self.manager = manager
        self._listener = listener

    @contextmanager
    def run(self, *options: str, tells_capacity: bool = True) -> Iterator[Running]:
        """Start a process."""
        stored = [descriptor for _, descriptor in self.manager.stored]
        with socket.socket(fileno=os.dup(self._listener.fileno())) as listener:
            command, env, fds = passing(listener.fileno(), *stored)
            env |= {"NOTIFY_SOCKET": str(self.manager.path), "LISTEN_FDNAMES": f"scached.socket:{self.manager.names}"}
            if tells_capacity:
                env |= {"FDSTORE": str(self.manager.capacity)}
            options = ("--admin", str(self.admin), *OPTIONS, *options)
            with running(*options, command=command, env=env, pass_fds=fds) as server:
                yield server

    def listed(self) -> list[dict[str, object]]:
        """Return what is parked and bound, without ages, which change."""
        with AdminClient(str(self.admin)) as admin:
            rows = [row | {"age_s": 0, "ttl_s": 0} for row in admin.rows("list", properties=True)]
        return sorted(rows, key=str)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with listeners(tmp_path / "s") as (listener,), ServiceManager(tmp_path / "notify", 64) as manager:
        yield Service(tmp_path, listener, manager)


def test_LIFE_13_everything_is_back_after_a_restart(service: Service) -> None:
    near, tcp = tcp_pair()
    with service.run() as old, Client(service.path) as peer, Client(service.path) as holder:
        fars = [peer.park(b"e", b"p%d" % number) for number in range(3)]
        with near:
            assert peer.save(b"tcp", near.fileno()) == DONE
            assert peer.save(b"tcp", near.fileno(), b"twice") == DONE
        assert peer.say(save_dest(b"d", b"binding", b"e")) == DONE
        before = service.listed()
        assert holder.say(find_endp(b"e")) == found(b"p0")  # It comes back when the client is disconnected.
        said = service.manager.end(old)
        assert holder.is_closed()
    assert any("5 parked connections are left with systemd, for the next process" in line for line in said), said
    assert not any("closed, because the server ends" in line for line in said), said
    assert [name for name, _ in service.manager.stored] == [STORE_NAME]
    for far in (*fars, tcp):
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(1)  # Neither a farewell nor the end.
    fars.pop().close()  # A peer hangs up meanwhile.
    with service.run() as new, Client(service.path) as peer:
        assert service.listed() == before
        assert any("5 parked connections and 1 bindings are back from systemd" in line for line in new.lines)
        for number, far in enumerate(fars):
            with peer.pick_up(b"e", b"p%d" % number) as taken, far:
                taken.send(b"x")
                assert far.recv(1) == b"x"
        with peer.pick_up(b"e", b"p2") as taken:
            assert taken.recv(1) == b""
        for properties in (b"p", b"twice"):
            with peer.pick_up(b"tcp", properties) as taken:
                taken.send(b"x")
                tcp.setblocking(True)
                assert tcp.recv(1) == b"x"
        tcp.close()
        service.manager.work()
        assert service.manager.stored == []
        service.manager.end(new)
    assert [each for each in service.manager.stored if each[0] == STORE_NAME] != [], "the binding"


def test_LIFE_13_what_expired_meanwhile_expires_at_the_start(service: Service) -> None:
    with service.run() as old, Client(service.path) as peer:
        far, later = peer.park(b"e", ttl=b"1"), peer.park(b"e", ttl=b"600")
        service.manager.end(old)
    with far, later, service.run() as new, Client(service.path) as peer:
        assert far.recv(10) == b"bye"
        assert far.recv(10) == b""
        peer.pick_up(b"e").close()
        service.manager.end(new)


def test_LIFE_13_what_may_wait_in_a_close_is_closed_by_the_server(service: Service) -> None:
    """systemd would have to wait if nobody took it back."""
    near, tcp = tcp_pair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    read, write = os.pipe()
    with service.run() as old, Client(service.path) as peer:
        with near:
            assert peer.save(b"lingers", near.fileno()) == DONE
        assert peer.save(b"pipe", write) == DONE
        os.close(write)
        unread, kept = peer.park(b"unread"), peer.park(b"kept")
        unread.send(b"x")
        said = service.manager.end(old)
    assert any("1 parked connections are left" in line for line in said), said
    assert any("3 parked connections are closed, because the server ends" in line for line in said), said
    with tcp, unread, kept, open(read, "rb") as pipe:
        assert (tcp.recv(10), unread.recv(10), pipe.read()) == (b"bye", b"bye", b"")  # A pipe gets none.
        assert not is_hung_up(kept)


@pytest.mark.parametrize("tells_capacity", [True, False])
def test_store_that_keeps_nothing_is_noticed_and_everything_is_closed_as_ever(
    service: Service, tells_capacity: bool
) -> None:
    service.manager.capacity = 0
    with service.run(tells_capacity=tells_capacity) as old, Client(service.path) as peer, peer.park(b"e") as far:
        said = service.manager.end(old)
        assert far.recv(10) == b"bye"
        assert far.recv(10) == b""
    assert not any("left with systemd" in line for line in said), said
    assert any("1 parked connections are closed, because the server ends" in line for line in said), said


def test_supervisor_that_knows_no_store_gets_no_notices_about_one(service: Service) -> None:
    """NOTIFY_SOCKET alone is not systemd's: nobody may ever read there."""
    with (
        running("--listen", service.path.with_name("own"), env={"NOTIFY_SOCKET": str(service.manager.path)}) as server,
        Client(service.path.with_name("own")) as peer,
        peer.park(b"e"),
    ):
        service.manager.end(server)
    assert [notice for notice in service.manager.notices if {"FDSTORE", "BARRIER"} & {*notice}] == []


def test_store_that_is_too_small_is_said_at_the_start(service: Service) -> None:
    service.manager.capacity = 1
    with service.run("--sessions-max", "100") as server:
        assert any("set FileDescriptorStoreMax=14 instead of 1" in line for line in server.lines)
        service.manager.end(server)


# Volumes.


SESSIONS = 600
"""In three messages."""


@pytest.fixture
def volumes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Volume]]:
    """Return a snapshot in three volumes; all sessions are of one connection."""
    monkeypatch.setattr(volume, "MESSAGES_MAX", 1)
    near, far = socket.socketpair()
    with near, far:
        sessions = [
            Session(b"e%d" % (number % 7), b"%d" % number, near.fileno(), 1, 0, 1, 5, 10**12)
            for number in range(SESSIONS)
        ]
        made = list(volume.write(sessions, [], 1000))
        for each in made:
            each.writer.close()
        assert len(made) == 3
        yield made
        for each in made:
            each.reader.close()


def store_of(notices: socket.socket, lines: list[str], carriers: Sequence[int] = ()) -> DescriptorStore:
    """Return a store that says everything into a list."""
    notices.setblocking(False)
    log = Logger(lambda priority, line: lines.append(line))
    return DescriptorStore(Notices(notices), carriers, 64, log, is_main_process=True)


def restored(readers: Sequence[socket.socket | BinaryIO], room: int = 1000) -> tuple[list[bytes], list[str]]:
    """Start a server with these; return the properties of what is parked, in turn, and what was said."""
    notices, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with notices, _other, Fast() as house:
        lines: list[str] = []
        carriers = [os.dup(reader.fileno()) for reader in readers]
        store = store_of(notices, lines, carriers)
        store.restore(house.server, room + max(carriers, default=0), 2000)
        if carriers:
            assert _other.recv(100) == f"FDSTOREREMOVE=1\nFDNAME={STORE_NAME}".encode()
        return [each.properties for each in house.server.table.parked()], lines


def in_turn(*numbers: int) -> list[bytes]:
    """Return the properties of these sessions as a table has them."""
    return [b"%d" % number for label in range(7) for number in numbers if number % 7 == label]


def test_volumes_come_in_any_order_and_twice(volumes: list[Volume]) -> None:
    readers = [each.reader for each in reversed(volumes)]
    assert sorted(restored([*readers, readers[0]])[0]) == sorted(in_turn(*range(SESSIONS)))


def test_order_of_an_endpoint_is_that_of_the_snapshot(volumes: list[Volume]) -> None:
    properties, said = restored([each.reader for each in reversed(volumes)])
    assert properties == in_turn(*range(SESSIONS))
    assert said == ["600 parked connections and 0 bindings are back from systemd"]


def test_missing_volume_harms_no_other(volumes: list[Volume]) -> None:
    properties, said = restored([volumes[2].reader, volumes[0].reader])
    assert properties == in_turn(*range(253), *range(506, SESSIONS))
    assert "warning: 253 parked connections that were left with systemd are lost" in said[1]


def test_volume_is_taken_out_once(volumes: list[Volume]) -> None:
    readers = [each.reader for each in volumes]
    assert len(restored(readers)[0]) == SESSIONS
    assert restored(readers) == ([], [])


def test_what_has_no_room_is_lost_and_said(volumes: list[Volume]) -> None:
    properties, said = restored([each.reader for each in volumes], room=400)
    assert len(properties) in (253, 253 + SESSIONS - 506)
    assert "parked connections that were left with systemd are lost" in said[-1]


def test_snapshot_of_an_older_process_is_closed(volumes: list[Volume]) -> None:
    near, far = socket.socketpair()
    with near, far:
        (newer,) = volume.write([Session(b"e", b"new", near.fileno(), 1, 0, 1, 5, 10**12)], [], 1500)
        with newer.reader, newer.writer:
            newer.writer.close()
            assert restored([newer.reader, *(each.reader for each in volumes)])[0] == [b"new"]


def test_queue_that_is_full_is_an_error_and_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "MESSAGES_MAX", 1000)
    monkeypatch.setattr(snapshot, "cut", lambda rows, size: ([row] for row in rows))
    near, far = socket.socketpair()
    with near, far, pytest.raises(BlockingIOError):
        list(volume.write([Session(b"e", b"p", near.fileno(), 1, 0, 1, 5, 10**12)] * SESSIONS, [], 1000))


def rewritten(data: bytes, head: bytes | None = None, descriptors: int = 1) -> socket.socket:
    """Return a volume with this file."""
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with writer, open(os.memfd_create("t"), "wb") as file:
        file.write(data)
        file.flush()
        head = snapshot.encode_message(Kind.VOLUME, b"", 1) if head is None else head
        socket.send_fds(writer, [head], [file.fileno()] * descriptors)
        socket.send_fds(writer, [b"\0"], [file.fileno()])
    return reader


ABOUT = snapshot.encode_message(Kind.COUNTS, snapshot.encode_counts({"number": 0, "left_ns": 1000, "total": 1}))
ONE = snapshot.encode_message(
    Kind.SESSIONS, snapshot.encode_sessions([Session(b"e", b"p", 0, 1, 0, 1, 5, 10**12)]), 1
)  # fmt: skip
END = snapshot.encode_message(Kind.END)
LATER = snapshot.encode_message(Kind.COUNTS, snapshot.encode_counts({"number": 0, "left_ns": 2001, "total": 1}))

STRANGE = {
    "nothing": lambda: rewritten(b""),
    "no end": lambda: rewritten(ABOUT + ONE),
    "cut": lambda: rewritten((ABOUT + ONE + END)[:-1]),
    "a bit": lambda: rewritten(ABOUT + ONE[:60] + bytes([ONE[60] ^ 1]) + ONE[61:] + END),
    "another format": lambda: rewritten(ABOUT[:5] + b"\xff" + ABOUT[6:] + ONE + END),
    "too few descriptors": lambda: rewritten(ABOUT + ONE + ONE + END),
    "a kind out of turn": lambda: rewritten(ABOUT + ONE + snapshot.encode_message(Kind.READY) + END),
    "another boot": lambda: rewritten(LATER + ONE + END),
    "a strange head": lambda: rewritten(ABOUT + ONE + END, head=b"x"),
    "a head of another kind": lambda: rewritten(ABOUT + ONE + END, head=snapshot.encode_message(Kind.COUNTS, b"", 1)),
    "a head with two files": lambda: rewritten(ABOUT + ONE + END, descriptors=2),
}


def test_volume_that_is_not_strange_is_read() -> None:
    with rewritten(ABOUT + ONE + END) as reader:
        assert restored([reader])[0] == [b"p"]


@pytest.mark.parametrize("name", STRANGE)
def test_snapshot_that_is_not_understood_is_closed_and_said_in_one_line(name: str) -> None:
    with STRANGE[name]() as reader:
        properties, said = restored([reader])
    assert properties == []
    assert len(said) == 1
    assert "warning: what the process before this one left with systemd is not understood and is closed: " in said[0]


@pytest.mark.parametrize("kind", ["file", "listening", "stream", "unfinished"])
def test_other_things_under_the_name_are_closed_and_said(kind: str, tmp_path: Path) -> None:
    stream, writer = socket.socketpair()
    unfinished, still_open = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with (
        stream, writer, unfinished, still_open, listeners(tmp_path / "l") as (listening,),
        (tmp_path / "file").open("wb") as file,
    ):  # fmt: skip
        things: dict[str, socket.socket | BinaryIO] = {
            "file": file, "listening": listening, "stream": stream, "unfinished": unfinished,
        }  # fmt: skip
        properties, said = restored([things[kind]])
    assert properties == []
    assert len(said) == 1
    assert "is not understood and is closed: " in said[0]


def test_notices_that_nobody_reads_do_not_hold_up_the_end_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether systemd will read them yet: nothing is said to the peer, and nothing is closed but here."""
    monkeypatch.setattr("scache_fast.process.descriptor_store.PATIENCE_S", 0.0)
    notices, manager = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    lines: list[str] = []
    with notices, Fast() as house, house.peer() as peer, peer.park(b"e") as far:
        store = store_of(notices, lines)
        with manager:
            store.leave(house.server, 1000)
            assert not is_hung_up(far)
        assert is_hung_up(far)
    assert lines == [
        "warning: systemd may not keep what is parked: it has not answered for 0 s",
        "1 parked connections are left with systemd, for the next process",
    ]


def test_notices_that_have_no_reader_any_more_leave_everything_here() -> None:
    notices, manager = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.close()
    lines: list[str] = []
    with notices, Fast() as house, house.peer() as peer, peer.park(b"e") as far:
        store_of(notices, lines).leave(house.server, 1000)
        assert not is_hung_up(far)
        assert house.server.table.sessions == 1
    assert len(lines) == 2
