"""Starting with whatever is wrong around: one line that says what, never a traceback; and standard descriptors."""

import fcntl
import os
import pty
import re
import resource
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.client import PATIENCE_S, Client
from tests.support.messages import MISSED, find_endp
from tests.support.processes import COMMAND, environment, run, running, with_descriptors

from scache_fast.__main__ import main


def started_by_nobody(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user without privileges, who cannot read the folders of the sources: they are open first."""
    program = (
        "import os, sys; from scache_fast.engine import plain; from scache_fast.process import standalone;"
        "from scache_fast.settings import command_line; from scache_fast.__main__ import main;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(main())"
    )
    return run(*arguments, command=[COMMAND[0], "-c", program])


def says(ended: subprocess.CompletedProcess[str], status: int, complaint: str) -> None:
    assert "Traceback" not in ended.stderr
    assert complaint in ended.stderr
    assert ended.returncode == status


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["--listen", "{}/no/s"], 1, "there is no folder '{}/no'; make it first"),
        (["--listen", "{}/file/s"], 1, "there is no folder '{}/file'"),
        (["--listen", "{}/file"], 1, "it exists and is not a socket"),
        (["--listen", "{}/" + "x" * 108], 1, "a socket's may have 1 to 107; choose a shorter one"),
        (["--listen", ""], 2, "command line: --listen: the path is empty"),
        (["--listen", "/proc/s"], 1, "cannot listen on '/proc/s': "),
        (["--listen", "{}/s", "--listen", "{}/s"], 1, "another process listens there"),
        (["--listen", "{}/s", "--chroot", "{}/no"], 2, "'{}/no' is not a folder"),
        (["--listen", "{}/s", "--chroot", "{}/file"], 2, "'{}/file' is not a folder"),
        (["--listen", "{}/s", "--user", "no-such"], 2, "there is no user 'no-such'"),
        (["--listen", "{}/s", "--user", "12345678"], 2, "there is no user with the number 12345678"),
        (["--listen", "{}/s", "--group", "no-such"], 2, "there is no group 'no-such'"),
        (["--listen", "{}/s", "--group", "9" * 900], 2, "there is no group 99999999999999999999: numbers end at"),
        (["--listen", "{}/s", "--group", "9" * 1001], 2, "it has 1001 characters, and 1000 at most are read"),
        (["--listen", "{}/s", "--allow-uid", "-1"], 2, "there is no user '-1'"),
        (["--listen", "{}/s", "--ready-fd", "77"], 1, "descriptor 77 (readiness): Bad file descriptor"),
        (["--listen", "{}/s", "--ready-fd", "1"], 2, "1 is a standard descriptor"),
        (["--listen", "{}/s", "--config", "{}/no"], 2, "cannot read '{}/no': No such file"),
        (["--listen", "{}/s", "--config", "{}"], 2, "cannot read '{}': Is a directory"),
        (["--listen", "{}/s", "--farewell", "="], 2, "'=' is not a farewell: write PATTERN=BYTES"),
        (["--listen"], 2, "expected one argument"),
        (["--lis", "s"], 2, "unrecognized arguments: --lis s"),
        (["operand"], 2, "unrecognized arguments: operand"),
        ([], 2, "nothing to listen on: give --listen PATH, or pass a socket as systemd does"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: Sequence[str], status: int, complaint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    arguments = [each.replace("{}", str(tmp_path)) for each in arguments]
    if status == 2 and arguments:
        # Nothing has been done yet when usage is found wrong: it can be found so in this process.
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = subprocess.CompletedProcess(arguments, int(ended.value.code or 0), "", capfd.readouterr().err)
    else:
        said = run(*arguments)
    says(said, status, complaint.replace("{}", str(tmp_path)))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file"]


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--owner", "root"], "to user 0, group None: Operation not permitted; only root can"),
        (["--owner", ":root"], "to user None, group 0: Operation not permitted"),
        (["--user", "root"], "Operation not permitted; only root can"),
        (["--group", "root"], "Operation not permitted; only root can"),
        (["--chroot", "/"], "Operation not permitted; only root can"),
    ],
)
def test_what_only_root_can_do_is_said_and_leaves_no_socket(arguments: list[str], complaint: str, jail: Path) -> None:
    jail.chmod(0o777)
    says(started_by_nobody("--listen", jail / "s", *arguments), 1, complaint)
    assert list(jail.iterdir()) == []


@pytest.mark.needs("root")
def test_folder_that_may_be_written_to_and_not_read_is_a_warning(jail: Path) -> None:
    jail.chmod(0o733)
    ended = started_by_nobody("--listen", jail / "s", "--max-idle", "1")
    says(ended, 0, f"warning: the folder '{jail}' is not locked: Permission denied; if two servers start there at once")
    assert "listening on" in ended.stderr
    assert list(jail.iterdir()) == []


@pytest.mark.needs("root")
def test_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    (tmp_path / "f").chmod(0)
    says(started_by_nobody("--config", tmp_path / "f"), 2, "Permission denied")


@pytest.mark.parametrize("count", range(3, 8))
def test_too_few_descriptors_are_said(count: int, tmp_path: Path) -> None:
    """However few there are; with so few that the interpreter itself starts, but hardly."""
    command = [COMMAND[0], "-c", (
        "import resource, sys; from scache_fast.engine import plain; from scache_fast.process import standalone;"
        "from scache_fast.__main__ import main;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({count}, {count})); sys.exit(main())"
    )]  # fmt: skip
    ended = run("--listen", tmp_path / "s", "--max-idle", "1", command=command)
    assert "Traceback" not in ended.stderr
    assert ended.returncode == (0 if "listening on" in ended.stderr else 1), ended.stderr
    assert list(tmp_path.iterdir()) == []
    if ended.returncode:
        assert "Too many open files" in ended.stderr


@pytest.mark.parametrize("count", [13, 15, 18])
def test_server_that_could_let_nobody_in_does_not_start(count: int, tmp_path: Path) -> None:
    """Whatever so many descriptors are enough for: it ends with a line, or it serves."""
    command = [*with_descriptors(count), "--listen", str(tmp_path / "s"), "--admin", str(tmp_path / "a")]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            said = next(line for line in server.stderr if "fatal: " in line or "listening on " in line)
            if "listening on " in said:
                with Client(str(tmp_path / "s")) as client:
                    assert client.say(find_endp(b"zz")) == MISSED
            else:
                assert "no client can be served: " in said or "Too many open files" in said
                assert server.wait(PATIENCE_S) == 1
        finally:
            server.kill()


IN_A_FOLDER_THAT_IS_GONE = ("sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"')


@pytest.mark.parametrize(
    "arguments", [["--listen", "s"], ["--listen", "{}/s", "--admin", "a"], ["--takeover", "{}/a", "--listen", "s"]]
)
def test_relative_path_in_a_folder_that_is_gone_is_said(arguments: Sequence[str], tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    arguments = [each.replace("{}", str(tmp_path)) for each in arguments]
    ended = run(*arguments, command=[*IN_A_FOLDER_THAT_IS_GONE, str(folder), *COMMAND])
    says(ended, 1, "is no path: the current folder is gone (No such file or directory); give one from /")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_during_the_start_leaves_no_socket(number: int, tmp_path: Path) -> None:
    """The server has made its first socket, and waits for the lock of the folder of the second one."""
    (tmp_path / "locked").mkdir()
    first = tmp_path / "s"
    folder = os.open(tmp_path / "locked", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    command = [*COMMAND, "--listen", str(first), "--listen", str(tmp_path / "locked/s")]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as server:
        try:
            while not first.exists():
                assert server.poll() is None
            # It has the descriptor of the folder of the second socket: the first one is its own by now.
            while not any("locked" in str(each) for each in opened(server.pid)):
                assert server.poll() is None
            server.send_signal(number)
            _, said = server.communicate(timeout=PATIENCE_S)
        finally:
            server.kill()
            os.close(folder)
    assert (server.returncode, "Traceback" in said) == (0, False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["locked"]
    assert list((tmp_path / "locked").iterdir()) == []


def opened(pid: int) -> list[str]:
    """Return what a process has open."""
    found = []
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(entry.path))
        except OSError:
            pass  # It was closed meanwhile.
    return found


def test_reserve_that_leaves_nothing_is_said(tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s", command=with_descriptors(64)) as server:
        assert "nothing can be parked: of 64 descriptors 384 are kept in reserve" in server.lines[-1]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors_are_not_given_to_sockets(closed: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    read, write = os.pipe()
    with open(read, "rb") as ready:
        process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, "--listen", str(path), "--ready-fd", str(write)],
            env=environment(), pass_fds=[write], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(write)
        assert ready.read() == b"\n"
    try:
        with Client(path) as client:
            standard = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in range(3)]
            assert standard == ["/dev/null"] * 3
            assert client.say(find_endp(b"zz")) == MISSED
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("arguments", [["--nonsense"], ["--ttl-limit", "x"], []])
def test_complaint_that_cannot_be_said_is_still_a_status(closed: str, arguments: list[str]) -> None:
    assert run(*arguments, command=["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND]).returncode == 2


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--print-config"], ["--check-config"]])
def test_output_that_nobody_gets_is_a_failure(arguments: list[str]) -> None:
    ended = run(*arguments, command=["sh", "-c", 'exec "$@" > /dev/full', "sh", *COMMAND])
    says(ended, 1, "scached: error: cannot write to standard output: No space left on device")


def test_log_on_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s"
    read, write = os.pipe()
    command = ["sh", "-c", 'exec "$@" 2> /dev/full', "sh", *COMMAND]
    with open(read, "rb") as ready:
        process = subprocess.Popen(
            [*command, "--listen", str(path), "-v", "--ready-fd", str(write)], env=environment(), pass_fds=[write]
        )
        os.close(write)
        assert ready.read() == b"\n"
    try:
        with Client(path) as client:
            for _ in range(3):
                assert client.say(find_endp(b"zz")) == MISSED
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


def test_log_that_nobody_reads_holds_up_nobody_and_says_later_what_is_missing(tmp_path: Path) -> None:
    """A pipe holds 64 kB; there is a line of 150 bytes for each of 2000 requests."""
    request = find_endp(b"x" * 100)
    with running("--listen", tmp_path / "s", "-v") as server, Client(tmp_path / "s") as client:
        for _ in range(2000):
            assert client.say(request) == MISSED
        assert server.process.stderr is not None
        os.read(server.process.stderr.fileno(), 100_000)
        assert client.say(request) == MISSED
        assert int(server.line("lines of this log are lost").split()[2]) > 1000


def test_log_on_a_terminal_that_is_stopped_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "s"
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen([*COMMAND, "--listen", str(path), "-v"], env=environment(), stderr=theirs)
        try:
            assert b"listening on" in os.read(ours, 1000)
            with Client(path) as client:
                assert client.say(find_endp(b"zz")) == MISSED
                os.write(ours, b"\x13")  # ^S
                for _ in range(500):
                    assert client.say(find_endp(b"zz")) == MISSED
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(ours)
        os.close(theirs)


def test_default_shows_no_request_and_v_shows_each_with_its_labels(tmp_path: Path) -> None:
    for arguments, shown in (([], False), (["-v"], True)):
        with running("--listen", tmp_path / "s", *arguments) as server:
            with Client(tmp_path / "s") as client:
                assert client.say(find_endp(b"smtp\n1.2.3.4\x1b[2J")) == MISSED
            lines = [line for line in server.end() if "find_endp" in line]
            assert len(lines) == shown
            if shown:
                assert r": 'find_endp' 'smtp\n1.2.3.4\x1b[2J': " in lines[0]


def test_lines_have_priorities_where_journald_reads_them(tmp_path: Path) -> None:
    near, far = socket.socketpair()
    with near, far:
        status = os.fstat(far.fileno())
        process = subprocess.Popen(
            [*COMMAND, "--listen", str(tmp_path / "s")], stderr=far.fileno(),
            env=environment({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}),
        )  # fmt: skip
        try:
            near.settimeout(PATIENCE_S)
            assert near.recv(1000).startswith(b"<6>listening on ")
            with Client(tmp_path / "s") as client:
                client.say(b"request\0non\nsense\0\0")
                assert re.fullmatch(rb"<4>warning: client \d+ .*: unknown request 'non\\nsense'\n", near.recv(1000))
        finally:
            process.terminate()
            process.wait()


def test_mistake_in_the_configuration_is_an_error_where_journald_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "scached.toml"
    file.write_text("ttl_limt = 5")
    for arguments, last in (
        (["--config", str(file)], "did you mean 'ttl_limit'?"),
        (["--ttl-limt", "5"], "--ttl-limt 5"),
    ):
        with (tmp_path / "journal").open("wb") as journal:
            status = os.fstat(journal.fileno())
            variables = environment({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
            ended = subprocess.run(
                [*COMMAND, *arguments], stderr=journal, env=variables, timeout=PATIENCE_S, check=False
            )
        lines = (tmp_path / "journal").read_text().splitlines()
        assert ended.returncode == 2
        assert [line for line in lines if not line.startswith("<3>")] == []
        assert lines[-1].endswith(last)


def test_many_warnings_of_a_kind_are_few_lines(tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s") as server:
        with Client(tmp_path / "s") as client:
            for number in range(100):
                client.say(b"request\0nonsense%d\0\0" % number)
            client.say(b"request\0find_endp\0\0")
        lines = server.end()
    assert sum("unknown request '" in line for line in lines) == 10
    assert any(re.search("warning: 90 more like: client .*unknown request$", line) for line in lines)
    assert sum("bad or missing attribute" in line for line in lines) == 1


@pytest.mark.parametrize("options", [(), ("--sessions-max", "1000", "--clients-max", "50")])
def test_table_of_descriptors_has_its_full_length_at_the_start(tmp_path: Path, options: Sequence[str]) -> None:
    """A process with threads waits 10 ms for each doubling, and clients and takeovers with it. FDSize: proc(5)."""
    with running("--listen", tmp_path / "s", *options) as server:
        limit = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0]
        assert int(server.status("FDSize")) >= min(limit, 1050 if options else 101_000)
        server.end()
