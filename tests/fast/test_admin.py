"""The admin socket: who gets in, what lines do, and what the verbs that only tell say."""

import os
import select
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.client import Client
from tests.support.descriptors import is_hung_up
from tests.support.messages import MISSED, find_endp, found, save_dest
from tests.support.operator import Office, office
from tests.support.processes import Running, run, running
from tests.support.servers import Fast

from scache_fast.admin.client import AdminClient, AdminError, AdminUnavailableError
from scache_fast.admin.connections import CONNECTIONS_MAX, IDLE_S, NOT_READING_S, OUTPUT_BYTES_MAX
from scache_fast.admin.protocol import REQUEST_BYTES_MAX
from scache_fast.admin.reading import GLOB_BYTES_MAX
from scache_fast.engine.client import Client as EngineClient
from scache_spec.vocabulary import Limits


@pytest.fixture
def bureau() -> Iterator[Office]:
    with Fast(Limits(ttl_limit_s=1000)) as house, office(house) as opened:
        yield opened


ALL_BYTES = bytes(range(1, 256))


def test_version_says_which_server_this_is(bureau: Office) -> None:
    with bureau.operator() as operator:
        answer = operator.ask("version", id=5)
        assert answer["id"] == 5
        assert (answer["v"], answer["protocol"], answer["pid"]) == (1, 1, os.getpid())


@pytest.mark.parametrize("wrong", [
    b"", b"{", b"[]", b'"stats"', b"null", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b'{"verb": NaN}', b"{}",
    b'{"verb": 1}', b'{"verb": ["stats"]}', b'{"verb": "no-such"}', b'{"verb": "stats", "id": []}',
    b'{"verb": "stats", "id": 1.5}', b'{"verb": "stats", "v": 2}', b'{"verb": "list", "what": "x"}',
    b'{"verb": "list", "glob": 1}', b'{"verb": "list", "label": "\\u0100"}', b'{"verb": "list", "glob": "\\ud800"}',
    b'{"verb": "list", "glob": "*", "label": "a"}', b'{"verb": "list", "properties": 1}',
    b'{"verb": "list", "glob": "%s"}' % (b"[" * (GLOB_BYTES_MAX + 1)), b'{"verb": "stats", "id": -1e999}',
    b'{"verb": "takeover", "format": 1, "descriptors": 1%s}' % (b"0" * 400),
    b'{"verb": "list", "properties": %s%s}' % (b"[" * 900, b"]" * 900), b'{"verb": "takeover"}',
    b'{"verb": "flush", "labl": "a"}', b'{"verb": "flush", "label": null}', b'{"verb": "flush", "glob": null}',
    b'{"verb": "flush", "what": ""}', b'{"verb": "flush", "properties": true}', b'{"verb": "list", "labl": "a"}',
    b'{"verb": "loglevel", "level": "verbose", "x": 1}', b'{"verb": "stats", "v": true}',
    b'{"verb": "stats", "v": 1.0}',
    b'{"verb": "stats", "v": "%s"}' % (b"x" * 300_000), b'{"verb": "loglevel", "level": "%s"}' % (b"x" * 300_000),
    b'{"verb": "%s"}' % (b"x" * 300_000), b'{"verb": "list", "%s": 1}' % (b"x" * 300_000),
    b'{"verb": "list", "what": [%s1]}' % (b"[]," * 150_000), b'{"verb": "list", "what": [%s1]}' % (b'"",' * 150_000),
], ids=lambda wrong: repr(wrong[:30]))  # fmt: skip
def test_wrong_line_is_refused_and_the_next_one_is_served(bureau: Office, wrong: bytes) -> None:
    with bureau.operator() as operator:
        operator.send(wrong + b'\n{"verb": "version", "id": "next"}\n')
        if wrong:
            refusal = operator.line()
            assert refusal["ok"] is False
            assert 0 < len(str(refusal["error"])) < 1000
        answer = operator.line()
        assert (answer["id"], answer["ok"]) == ("next", True)


def test_longest_label_of_any_bytes_may_be_asked_for(bureau: Office) -> None:
    with bureau.operator() as operator:
        for byte in (0, 0x22, 0x2C, 0x5B, 0x5C, 0xFF):
            assert operator.rows("list", label=chr(byte) * 65_536) == []


def test_flush_that_is_refused_removes_nothing(bureau: Office) -> None:
    with bureau.house.peer().park(b"a"), bureau.operator() as operator:
        for wrong in ({"labl": "b"}, {"label": None}, {"glob": None, "what": "all"}, {"what": ""}):
            assert operator.ask("flush", **wrong)["ok"] is False
        assert [row["endpoint"] for row in operator.rows("list")] == ["a"]


def test_one_turn_answers_no_more_operators_than_its_share_allows(
    bureau: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scache_fast.admin.connections.SHARE_NS", 0)
    with ExitStack() as stack:
        operators = [stack.enter_context(bureau.operator()) for _ in range(4)]
        for _ in operators:
            bureau.turn()
        assert len(bureau.socket) == len(operators)
        for operator in operators:
            operator.send(b'{"verb": "version"}\n')
        answered = []
        for _ in operators:
            bureau.turn()
            answered.append(len(select.select([operator.sock for operator in operators], [], [], 0)[0]))
        assert answered == [1, 2, 3, 4]


def test_request_may_come_byte_by_byte_and_several_at_once(bureau: Office) -> None:
    with bureau.operator() as operator:
        for byte in b'{"verb": "version", "id": 1}\n':
            operator.send(bytes([byte]))
            bureau.turn()
        assert operator.line()["id"] == 1
        operator.send(b"".join(b'{"verb": "version", "id": %d}\n' % number for number in range(500)))
        assert [operator.line()["id"] for _ in range(500)] == list(range(500))


def test_last_line_needs_no_newline(bureau: Office) -> None:
    with bureau.operator() as operator:
        operator.send(b'{"verb": "version", "id": 1}')
        operator.sock.shutdown(socket.SHUT_WR)
        assert operator.line()["id"] == 1
        with pytest.raises(EOFError):
            operator.line()
        assert len(bureau.socket) == 0


@pytest.mark.parametrize("length", [REQUEST_BYTES_MAX - 1, REQUEST_BYTES_MAX, REQUEST_BYTES_MAX + 1, 8 * 2**20])
def test_request_has_a_bound(bureau: Office, length: int) -> None:
    with bureau.operator() as operator:
        frame = b'{"verb": "version", "pad": "%b"}'
        operator.send(frame % (b"x" * (length - len(frame) + 2)))
        operator.send(b'\n{"verb": "version", "id": 1}\n')
        first = operator.line()
        assert first["ok"] is (length <= REQUEST_BYTES_MAX)
        assert operator.line()["id"] == 1


def test_label_of_every_byte_goes_through_unchanged(bureau: Office) -> None:
    peer = bureau.house.peer()
    with peer.park(ALL_BYTES, ALL_BYTES), bureau.operator() as operator:
        (row,) = operator.rows("list", properties=True, label=ALL_BYTES.decode("latin-1"))
        assert row["endpoint"] == row["properties"] == ALL_BYTES.decode("latin-1")
        assert operator.rows("list", glob="*\u00ff")
        assert not operator.rows("list", glob="*\u00fe")
        operator.send(b'{"verb": "list", "properties": true}\n')
        line = b""
        while b"\n" not in line:
            bureau.turn()
            line += operator.sock.recv(100_000)
        assert line.partition(b"\n")[0].decode("ascii").isprintable()


@pytest.mark.parametrize("glob", ["[" * GLOB_BYTES_MAX, "*a" * (GLOB_BYTES_MAX // 2), "?" * GLOB_BYTES_MAX])
def test_longest_glob_is_taken(bureau: Office, glob: str) -> None:
    peer = bureau.house.peer()
    with peer.park(b"a" * GLOB_BYTES_MAX), bureau.operator() as operator:
        assert len(operator.rows("list", glob=glob)) == (not glob.startswith("["))


def test_list_tells_who_parked_what_and_how_long_it_stays(bureau: Office) -> None:
    peer = bureau.house.peer()
    near, far = socket.socketpair()
    with near, far, bureau.operator() as operator:
        peer.save(b"e", near.fileno(), b"props", b"600")
        peer.say(save_dest(b"d", b"binding", b"e", b"60"))
        bureau.house.clock.now_ns += 10_500_000_000
        session, binding = sorted(operator.rows("list"), key=lambda row: "destination" in row)  # in no order
        assert session == {
            "endpoint": "e", "age_s": 10.5, "ttl_s": 589.5, "uid": os.getuid(), "pid": os.getpid(), "domain": "unix",
            "inode": os.fstat(near.fileno()).st_ino,
        }  # fmt: skip
        assert binding == {"destination": "d", "to": "e", "age_s": 10.5, "ttl_s": 49.5}
        assert operator.rows("list", what="endpoints") == [session]
        assert operator.rows("list", what="destinations") == [binding]
        assert operator.rows("list", glob="[a-d]", properties=True) == [{**binding, "properties": "binding"}]


def test_file_that_is_no_socket_has_no_inode(bureau: Office) -> None:
    peer = bureau.house.peer()
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        peer.save(b"e", descriptor)
    finally:
        os.close(descriptor)
    with bureau.operator() as operator:
        (row,) = operator.rows("list")
        assert (row["domain"], row["inode"]) == (None, None)


def test_what_is_parked_all_the_time_is_listed_once(bureau: Office) -> None:
    """Around it others come and go, bindings are renewed, and a session is found and put back."""
    house = bureau.house
    peer, finder = house.peer(), house.peer()
    stay = [peer.park(b"stay %d" % number) for number in range(1000)]
    for number in range(1000):
        peer.say(save_dest(b"bound %d" % number, b"", b"stay 0"))
    others = []
    with bureau.operator() as operator:
        operator.send(b'{"verb": "list"}\n')
        seen: list[object] = []
        for turn, line in enumerate(operator.lines()):
            if isinstance(row := line.get("row"), dict):
                seen.append(row.get("endpoint", row.get("destination")))
            if turn % 100 == 0:
                peer.say(save_dest(b"bound %d" % turn, b"", b"stay 0"))
                others.append(peer.park(b"new"))
                finder.say(find_endp(b"stay %d" % turn))
                finder.say(find_endp(b"put back, as this is not the list that says ready"))
    wanted = {f"stay {number}" for number in range(1000)} | {f"bound {number}" for number in range(1000)}
    assert [each for each in seen if each in wanted and seen.count(each) > 1] == []
    assert wanted <= set(seen)
    for sock in [*stay, *others]:
        sock.close()


def test_long_list_is_made_in_shares(bureau: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is made, another client is served in every turn; and a list that nobody reads is not made."""
    monkeypatch.setattr("scache_fast.admin.connections.SHARE_NS", 0)
    peer, other = bureau.house.peer(), bureau.house.peer()
    stay = [peer.park(b"e" * 1000) for _ in range(300)]
    with bureau.operator() as operator:
        operator.send(b'{"verb": "list"}\n')
        turns = 0
        for _ in range(50):
            other.send(find_endp(b"zz"))
            bureau.turn()
            turns += other.read() == MISSED
        assert turns == 50
        rows = sum("row" in line for line in operator.lines())
        assert rows == 300
    for sock in stay:
        sock.close()


def test_one_who_does_not_read_costs_little_and_is_cut(bureau: Office) -> None:
    peer = bureau.house.peer()
    stay = [peer.park(b"e" * 15_000) for _ in range(50)]
    with bureau.operator() as lazy, bureau.operator() as operator:
        lazy.send(b'{"verb": "list"}\n' * 3)
        for _ in range(100):
            bureau.turn()
        (connection,) = [each for each in bureau.socket._connections.values() if each.output]
        assert len(connection.output) <= OUTPUT_BYTES_MAX + 2 * 15_000
        assert operator.ask("stats")["ok"]
        bureau.house.clock.now_ns += NOT_READING_S * 1_000_000_000
        operator.ask("stats")
        bureau.turn()
        assert len(bureau.socket) == 1
    for sock in stay:
        sock.close()


def test_silent_connection_is_cut_later(bureau: Office) -> None:
    with bureau.operator() as operator, bureau.operator() as unfinished:
        operator.ask("version")
        unfinished.send(b'{"verb"')
        bureau.turn()
        bureau.house.clock.now_ns += NOT_READING_S * 1_000_000_000
        bureau.turn()
        assert is_hung_up(unfinished.sock)
        assert not is_hung_up(operator.sock)
        bureau.house.clock.now_ns += IDLE_S * 1_000_000_000
        bureau.turn()
        assert is_hung_up(operator.sock)


def test_one_more_gets_in_and_the_most_silent_one_goes(bureau: Office) -> None:
    operators = [bureau.operator() for _ in range(CONNECTIONS_MAX)]
    for operator in operators:
        bureau.house.clock.now_ns += 1
        operator.ask("version")
    with bureau.operator() as late:
        assert late.ask("version")["ok"]
        assert is_hung_up(operators[0].sock)
        assert all(operator.ask("version")["ok"] for operator in operators[1:])
    for operator in operators:
        operator.sock.close()


def test_operators_who_leave_or_stop_reading_leave_nothing(bureau: Office) -> None:
    peer = bureau.house.peer()
    stay = [peer.park(b"e" * 15_000) for _ in range(20)]
    with ExitStack() as unread:
        for number in range(1000):
            operator = bureau.operator()
            operator.send(b'{"verb": "list", "properties": true}\n' * 2)
            bureau.turn()
            assert len(bureau.socket) <= CONNECTIONS_MAX
            if number % 10:
                operator.sock.close()
            else:
                unread.enter_context(operator)
    with bureau.operator() as operator:
        assert operator.ask("version")["ok"]
        bureau.turn()
        assert len(bureau.socket) == 1
    for sock in stay:
        sock.close()


def test_operators_count_in_no_limit_of_clients() -> None:
    with Fast(Limits(clients_max=1)) as house, office(house) as bureau:
        house.peer()
        with bureau.operator() as operator:
            rows = operator.rows("clients")
            assert [(row["uid"], row["pid"], row["state"]) for row in rows] == [(os.getuid(), os.getpid(), "request")]
            assert not house.peer(greeted=False).read()


@pytest.mark.plain
def test_mistake_in_a_verb_ends_its_connection_alone(bureau: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: EngineClient) -> bool:
        raise ZeroDivisionError("by a test")

    with bureau.operator() as operator:
        with monkeypatch.context() as patch:
            patch.setattr("scache_fast.admin.reading._client_row", wrong)
            bureau.house.peer()
            with pytest.raises(EOFError):
                operator.ask("clients")
        assert bureau.house.server.faults.contained == 1
    with bureau.operator() as operator:
        assert operator.ask("clients")["ok"]


def test_counters_never_fall_when_an_interval_ends(bureau: Office) -> None:
    peer = bureau.house.peer()
    with bureau.operator() as operator:
        with peer.park(b"e"), peer.park(b"e"):
            bureau.house.clock.now_ns += 3_000_000_000
            peer.pick_up(b"e").close()
        peer.say(find_endp(b"zz"))
        peer.say(b"request\0no_such\0\0")
        before = operator.ask("stats")
        bureau.house.print_statistics()
        after = operator.ask("stats")
    assert before["requests"] == after["requests"] == {
        "save_endp": {"0": 2, "1": 0, "2": 0}, "find_endp": {"0": 1, "1": 0, "2": 1},
        "save_dest": {"0": 0, "1": 0, "2": 0}, "find_dest": {"0": 0, "1": 0, "2": 0}, "unknown": {"1": 1},
    }  # fmt: skip
    assert before["sessions"] == after["sessions"]
    assert before["reuse_age_s"] == after["reuse_age_s"]
    ages = after["reuse_age_s"]
    assert isinstance(ages, dict)
    assert (ages["count"], ages["sum"]) == (1, 3.0)
    assert dict(ages["buckets"])[2.0] == 0
    assert dict(ages["buckets"])[5.0] == 1


def test_ends_of_sessions_are_counted_by_reason() -> None:
    with Fast(Limits(ttl_limit_s=10, sessions_max=2)) as house, office(house) as bureau:
        peer, finder = house.peer(), house.peer()
        with bureau.operator() as operator, peer.park(b"e"), peer.park(b"e"):
            near, far = socket.socketpair()
            with near, far:
                peer.save(b"e", near.fileno())
            assert finder.say(find_endp(b"e")) == found(b"p")
            assert finder.say(find_endp(b"e")) == b""
            peer.pick_up(b"e").close()
            house.advance(10)
            sessions = operator.ask("stats")["sessions"]
            assert sessions == {
                "saved": 2, "refused": 1, "found": 1, "put_back": 1, "expired": 1, "flushed": 0, "dead": 0,
            }  # fmt: skip


# As processes.


def admin_of(tmp_path: Path) -> Path:
    return tmp_path / "admin.sock"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running("--listen", tmp_path / "s", "--admin", admin_of(tmp_path)) as started:
        yield started


def test_client_asks_and_gets_rows_and_errors(server: Running, tmp_path: Path) -> None:
    assert stat.S_IMODE(admin_of(tmp_path).stat().st_mode) == 0o600
    with AdminClient(str(admin_of(tmp_path))) as admin, Client(tmp_path / "s") as peer, peer.park(b"e"):
        assert admin.ask("version")["pid"] == server.pid
        assert [row["endpoint"] for row in admin.rows("list")] == ["e"]
        with pytest.raises(AdminError, match="unknown verb 'nothing'"):
            admin.ask("nothing")
        next(admin.rows("clients"))
        assert admin.ask("stats")["ok"], "an answer that was given up is passed over"
        server.end()
        with pytest.raises(AdminUnavailableError):
            admin.ask("version")
    assert not admin_of(tmp_path).exists()
    with pytest.raises(AdminUnavailableError, match="cannot connect"):
        AdminClient(str(admin_of(tmp_path)))


def test_descriptors_above_one_that_is_free_are_counted(tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s", "--admin", tmp_path / "a") as server, Client(tmp_path / "s") as later:
        with (
            Client(tmp_path / "s") as early,
            Client(tmp_path / "s") as other,
        ):  # The operator gets one of their numbers.
            early.say(find_endp(b"none"))
            other.say(find_endp(b"none"))
            fars = [later.park(b"e") for _ in range(40)]
        later.say(find_endp(b"none"))  # When that is answered, the end of the others was noticed.
        with AdminClient(str(tmp_path / "a")) as admin:
            used = admin.ask("stats")["descriptors"]
            assert isinstance(used, dict)
            assert 40 < used["used"] <= server.descriptors
        for far in fars:
            far.close()
        server.end()


@pytest.mark.needs("root", "setpriv")
def test_admin_socket_belongs_to_the_user_that_the_server_becomes(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    with running("--listen", folder / "s", "--admin", folder / "a", "--user", "nobody", "--chroot", folder) as server:
        status = (folder / "a").stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (65534, 0o600)
        with AdminClient(str(folder / "a")) as admin:
            assert admin.ask("version")["pid"] == server.pid
            assert admin.ask("stats")["ok"]
        (folder / "a").chmod(0o666)
        for parent in [folder, *folder.parents[:-2]]:
            parent.chmod(0o755)
        question = "import socket; s = socket.socket(1); s.connect('a'); print(s.recv(1))"
        as_daemon = ["setpriv", "--clear-groups", "--regid=1", "--reuid=1"]
        run("-c", f"import os; os.chdir({str(folder)!r}); {question}", command=[*as_daemon, "/usr/bin/python3"])
        server.line("admin socket: refused: uid 1, pid")


def test_admin_socket_is_not_the_socket_for_clients(tmp_path: Path) -> None:
    ended = run("--listen", tmp_path / "s", "--admin", tmp_path / "s")
    assert ended.returncode == 1
    assert "are both" in ended.stderr


def test_admin_socket_may_be_passed_by_systemd(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as clients, socket.socket(socket.AF_UNIX) as admins:
        for sock, name in ((clients, "s"), (admins, "a")):
            sock.bind(str(tmp_path / name))
            sock.listen()
        script = (
            "import os, sys; a, b = map(int, sys.argv[1:3]); os.dup2(a, 100); os.dup2(b, 101); os.dup2(100, 3);"
            "os.dup2(101, 4); os.environ['LISTEN_PID'] = str(os.getpid());"
            "os.execv(sys.executable, [sys.executable, '-m', 'scache_fast'])"
        )
        command = [sys.executable, "-c", script, str(clients.fileno()), str(admins.fileno())]
        fds = clients.fileno(), admins.fileno()
        environment = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "scached.socket:admin"}
        with running(command=command, pass_fds=fds, env=environment) as server:
            with AdminClient(str(tmp_path / "a")) as admin:
                assert admin.ask("version")["pid"] == server.pid
            with Client(tmp_path / "s") as peer:
                assert peer.say(find_endp(b"zz")) == MISSED


def test_every_key_and_verb_is_documented(server: Running, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/admin.md").read_text(encoding="utf-8")
    with AdminClient(str(admin_of(tmp_path))) as admin, Client(tmp_path / "s") as peer, peer.park(b"e"):
        names = {*admin.ask("stats"), *admin.ask("version")}
        for verb in ("list", "clients", "limits"):
            names |= {key for row in admin.rows(verb) for key in row}
        with pytest.raises(AdminError) as refused:
            admin.ask("no such verb")
    verbs = str(refused.value).partition("there are ")[2].split(", ")
    assert [verb for verb in verbs if f"### {verb}\n" not in page] == []
    assert [name for name in names if f"`{name}`" not in page] == []
