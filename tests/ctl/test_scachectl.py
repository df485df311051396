"""scachectl against a real server: each verb as a table and as JSON, odd labels, and what goes wrong."""

import contextlib
import fcntl
import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from tests.support.processes import environment, module, running

from scache_client import Client, Refused
from scache_client.labels import printable
from scache_ctl.__main__ import main
from scache_ctl.peers import peers
from scache_ctl.shown import harmless, line_of_json, table

CTL = module("scache_ctl")
ODD = bytes(range(1, 256))
TELLING = ("version", "stats", "list", "clients", "limits")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("ctl")
    with running("--listen", folder / "s", "--admin", folder / "a", "--ttl-limit", "10m"):
        yield folder


def ctl(house: Path, *words: str, status: int = 0) -> str:
    """Run a command in this process; return what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert main(["--socket", str(house / "s"), "--admin", str(house / "a"), *words]) == status, err.getvalue()
    return out.getvalue() if status == 0 else err.getvalue()


def is_harmless(text: str) -> bool:
    return re.fullmatch(r"[ -~\n]*", text) is not None


def test_every_byte_of_a_label_goes_out_and_comes_back_and_none_steers_the_terminal(house: Path) -> None:
    with Client(str(house / "s")) as cache, socket.socket() as parked:
        cache.save_endp(ODD, ODD, 60, parked.dup())
        cache.save_dest(ODD, ODD, ODD, 60)
        shown = ctl(house, "list", "--properties")
        assert is_harmless(shown)
        assert shown.count(printable(ODD)) == 5
        lines = ctl(house, "list", "--json", "--label", printable(ODD))
        assert is_harmless(lines)
        labels = [json.loads(line)[key] for line, key in zip(lines.splitlines(), ("endpoint", "to"), strict=True)]
        assert [label.encode("latin-1") for label in labels] == [ODD, ODD]
        found = cache.find_dest(ODD)
        assert found is not None
        found.close()


@pytest.mark.parametrize("verb", TELLING)
def test_each_verb_is_a_table_for_people_and_lines_of_json_for_scripts(house: Path, verb: str) -> None:
    assert len(ctl(house, verb).splitlines()) > 0
    for line in ctl(house, verb, "--json").splitlines():
        assert isinstance(json.loads(line), dict)


@contextmanager
def writing(house: Path, *commands: str) -> Iterator[tuple[int, list[subprocess.Popen[bytes]]]]:
    """Start commands that write into the same pipe of one page; yield its reading end and the commands."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    with ExitStack() as stack, open(write, "wb") as out:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [*CTL, "--admin", house / "a", *command.split()],
                    stdout=out, stderr=subprocess.PIPE, env=environment(),
                )
            )
            for command in commands
        ]  # fmt: skip
        out.close()
        yield read, started


def test_nobody_reads_the_output(house: Path) -> None:
    verbs = (*TELLING, "pause", "resume", "flush", "reload", "loglevel normal", "metrics", "top --count 1")
    with writing(house, *verbs) as (read, started):
        os.close(read)
        ends = {verb: (each.communicate()[1], each.returncode) for verb, each in zip(verbs, started, strict=True)}
    assert ends == dict.fromkeys(verbs, (b"", 141))
    ctl(house, "resume")


@pytest.mark.parametrize("verb", ["list", "list --json"])
def test_nobody_reads_the_output_after_its_first_line(house: Path, verb: str) -> None:
    with Client(str(house / "s")) as cache, socket.socket() as parked:
        for number in range(60):
            cache.save_endp(b"long %d " % number + b"x" * 200, b"", 60, parked.dup())
    with writing(house, verb) as (read, (started,)):
        with open(read, "rb", buffering=0) as lines:
            assert lines.readline().endswith(b"\n")
        assert (started.communicate()[1], started.returncode) == (b"", 141)
    ctl(house, "flush")


def test_closed_output_is_no_failure(house: Path) -> None:
    command = shlex.join([*CTL, "--admin", str(house / "a"), "stats"])
    done = subprocess.run(["sh", "-c", f"exec {command} >&-"], stderr=subprocess.PIPE, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_parked_connection_is_shown_with_both_addresses(house: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Client(str(house / "s")) as cache:
        port = listener.getsockname()[1]
        connection = socket.create_connection(("127.0.0.1", port))
        cache.save_endp(b"addressed", b"", 60, connection)
        (row,) = map(json.loads, ctl(house, "list", "--json", "--label", "addressed").splitlines())
        assert row["connection"].endswith(f" -> 127.0.0.1:{port}")
        assert f"-> 127.0.0.1:{port}" in ctl(house, "list", "--glob", "addr*")


def test_addresses_of_version_6_and_of_unix_sockets(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6) as six, socket.socket(socket.AF_UNIX) as unix:
        six.bind(("::1", 0))
        six.listen()
        unix.bind(str(tmp_path / "odd\x1b"))
        known = peers()
        assert known[os.fstat(six.fileno()).st_ino] == f"[::1]:{six.getsockname()[1]} -> [::]:0"
        assert known[os.fstat(unix.fileno()).st_ino].endswith(r"odd\x1b")


def test_no_proc_no_addresses(tmp_path: Path) -> None:
    assert peers(tmp_path) == {}


def test_shell_parks_its_descriptor_and_a_program_gets_it_back(house: Path) -> None:
    """The whole round in one shell: open, save, find, talk."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        python = f"{sys.executable} -m scache_ctl --socket {house / 's'}"
        script = f"""
            exec 3<>/dev/tcp/127.0.0.1/{port}
            {python} save-endp 'sh\\n' --ttl 60 --property 'who=me\\n' <&3 &&
            {python} save-dest d 'sh\\n' --ttl 60 --property via
            exec 3>&-
            {python} find-dest d sh -c 'printf "%s\\n" "$SCACHE_PROPERTIES $SCACHE_DESTINATION_PROPERTIES" >&3; exit 7'
        """
        done = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (7, "")
        accepted, _ = listener.accept()
        with accepted, accepted.makefile("rb") as lines:
            assert lines.readline() == b"who=me\\n via\n"
            assert lines.readline() == b"", "a copy of the connection is still open"
    assert "nothing is parked" in ctl(house, "find-endp", r"sh\n", "true", status=1)


def test_program_that_cannot_be_run_takes_nothing(house: Path) -> None:
    with Client(str(house / "s")) as cache, socket.socket() as parked:
        cache.save_endp(b"kept", b"", 60, parked.dup())
        assert "no program" in ctl(house, "find-endp", "kept", "/no/such/program", status=2)
        assert "write options before" in ctl(house, "find-endp", "kept", "--again", "5", status=2)
        for ttl in ("0", "-1", "2147483648", "1.5", "9" * 5000):
            with pytest.raises(SystemExit):
                main(["--socket", str(house / "s"), "find-endp", "--again", ttl, "kept"])
        found = cache.find_endp(b"kept")
        assert found is not None
        found.close()


@pytest.mark.parametrize("verb", [*TELLING, "pause", "resume", "drain", "reload", "flush"])
def test_absent_server_is_named_with_what_to_do(tmp_path: Path, verb: str) -> None:
    said = ctl(tmp_path / "none\x1b", verb, status=4)
    assert "No such file or directory; check that scached runs with --admin" in said
    assert is_harmless(said)


def test_server_that_left_its_socket_behind(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "a"))
    assert "Connection refused" in ctl(tmp_path, "stats", status=4)


def test_refusal_of_the_server_has_a_status_of_its_own(house: Path) -> None:
    assert "start one with scached --takeover" in ctl(house, "takeover", status=3)


def test_server_that_does_not_answer_has_a_status_of_its_own(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "a"))
        silent.listen()
        assert "--timeout" in ctl(tmp_path, "--timeout", "0.05", "stats", status=5)


@pytest.mark.parametrize("answer", [
    b"", b"nonsense\x1b[2J\n", b'{"id": 1, "ok": false, "error": "\\u202e\\u009b\\u001b"}\n',
    b'{"id": 1, "ok": true, "uptime_s": 1e999}\n', b'{"id": 1, "ok": true, "uptime_s": 1%s}\n' % (b"0" * 400),
    b'{"id": 1, "ok": true, "now": %s1%s}\n' % (b'{"a":' * 900, b"}" * 900),
], ids=lambda answer: repr(answer[:40]))  # fmt: skip
def test_odd_server_ends_in_one_harmless_line(
    tmp_path: Path, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as odd:
        odd.bind(str(tmp_path / "a"))
        odd.listen()

        def serve() -> None:
            peer, _ = odd.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert main(["--admin", str(tmp_path / "a"), "stats"]) == (3 if b"false" in answer else 4)
        thread.join()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert is_harmless(said)


@pytest.mark.parametrize("line", [b'{"id": 1, "row": {}}\n', b'{"id": "of nobody"}\n'])
@pytest.mark.parametrize("verb", ["stats", "metrics"])
def test_answer_without_an_end_is_given_up(tmp_path: Path, line: bytes, verb: str) -> None:
    with socket.socket(socket.AF_UNIX) as odd:
        odd.bind(str(tmp_path / "a"))
        odd.listen()

        def serve() -> None:
            peer, _ = odd.accept()
            with peer, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                while True:
                    peer.sendall(line)

        thread = threading.Thread(target=serve)
        thread.start()
        assert main(["--admin", str(tmp_path / "a"), "--timeout", "0.2", verb]) == 5
        thread.join()


@pytest.mark.parametrize(
    "words", [["stats", "--timeout", "0"], ["stats", "--timeout", "nan"], ["no-such"], ["list", "x"]]
)
def test_wrong_words_end_with_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("scachectl")


def test_no_character_of_unicode_that_steers_is_printed() -> None:
    everything = "".join(map(chr, range(0x3000))) + "\ud800\U000e0001"
    assert is_harmless(harmless(everything).replace("\n", "\x00"))
    assert is_harmless(line_of_json({everything: everything}))
    assert all(map(is_harmless, table([{"endpoint": everything, "state": everything}], ("endpoint", "state"))))


def test_list_is_whole_under_load(house: Path) -> None:
    """Others save and find without pause; what stays parked is told once in each list."""
    stop = threading.Event()

    def save_and_find() -> None:
        with Client(str(house / "s")) as cache, socket.socket() as mine:
            while not stop.is_set():
                cache.save_endp(b"load", b"", 60, mine.dup())
                found = cache.find_endp(b"load")
                if found is not None:
                    found.close()

    with Client(str(house / "s")) as cache, socket.socket() as mine:
        for number in range(200):
            cache.save_endp(b"stays %d" % number, b"", 60, mine.dup())
        threads = [threading.Thread(target=save_and_find) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                rows = [json.loads(line) for line in ctl(house, "list", "--json", "--glob", "stays *").splitlines()]
                assert sorted(row["endpoint"] for row in rows) == sorted(f"stays {number}" for number in range(200))
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_steering_is_undone_as_its_answer_says(house: Path) -> None:
    for verb in ("pause", "drain"):
        with Client(str(house / "s")) as cache, socket.socket() as mine:
            cache.save_endp(b"keeps it running", b"", 60, mine.dup())
            assert json.loads(ctl(house, verb, "--json"))["undo"] == "resume"
            assert "status 2" in ctl(house, "save-dest", "d", "e", status=3)
            with pytest.raises(Refused):
                cache.save_endp(b"refused", b"", 60, mine)
            assert re.search(r"^state +serving$", ctl(house, "resume"), re.MULTILINE)


def test_flush_takes_typed_labels_and_globs_of_bytes(house: Path) -> None:
    with Client(str(house / "s")) as cache, socket.socket() as mine:
        for label in (ODD, b"glob\n1", b"glob\xff2", b"other"):
            cache.save_endp(label, b"", 60, mine.dup())
        assert json.loads(ctl(house, "flush", "--json", "--label", printable(ODD)))["sessions"] == 1
        assert json.loads(ctl(house, "flush", "endpoints", "--json", "--glob", r"glob[\n\xff]?"))["sessions"] == 2
        assert ctl(house, "list", "--json", "--glob", "glob*") == ""
        assert cache.find_endp(b"glob\n1") is None
        ctl(house, "flush")
        assert json.loads(ctl(house, "stats", "--json"))["now"]["sessions"] == 0


def test_reload_and_loglevel(house: Path) -> None:
    assert json.loads(ctl(house, "reload", "--json"))["changed"] == []
    assert re.search(r"^level +verbose$", ctl(house, "loglevel", "verbose"), re.MULTILINE)
    assert re.search(r"^level +normal$", ctl(house, "loglevel", "normal"), re.MULTILINE)
